#include <chrono>
#include <cstring>

#include "bindings/compiled.h"
#include "ops/functions.h"

namespace wengert::bindings {

// One pass over the rows of `arrays` in the given order, batch by batch, without coming back to Python but to record a
// new batch size, to report, and to look for Ctrl-C. Returns the first result of each batch, which is one number.
Tensor epoch(const py::object& compiled, const std::vector<Tensor>& arrays, const Tensor& order, index_t batch_size,
             const py::object& report, double interval) {
  using Clock = std::chrono::steady_clock;
  State& state = state_of(compiled);
  const index_t rows = order.size(), batches = (rows + batch_size - 1) / batch_size;
  for (const Tensor& a : arrays)
    if (a.ndim() == 0) throw std::invalid_argument("fit: data need rows, got a 0-d array");
  for (index_t i = 0; i < rows; ++i)
    for (const Tensor& a : arrays)
      if (const index_t row = order.data<index_t>()[i]; row < 0 || row >= a.shape()[0])
        throw std::out_of_range("fit: row " + std::to_string(row) + " of " + std::to_string(a.shape()[0]));
  Tensor losses = empty(DType::f64, {batches});
  std::vector<Tensor> batch;
  std::vector<py::object> wrapped;
  Bound bound;
  auto last_report = Clock::now(), last_look = last_report;
  for (index_t b = 0; b < batches; ++b) {
    const index_t first = b * batch_size, n = std::min(batch_size, rows - first);
    if (batch.empty() || batch[0].shape()[0] != n) {
      batch.clear();
      wrapped.clear();
      for (const Tensor& a : arrays) {
        Shape shape = a.shape();
        shape[0] = n;
        batch.push_back(empty(a.dtype(), shape));
        wrapped.push_back(py::reinterpret_steal<py::object>(wrap(batch.back())));
      }
    }
    engine::settle(arrays);
    for (std::size_t k = 0; k < arrays.size(); ++k) {
      const auto width = static_cast<std::size_t>(batch[k].size() / n * size_of(batch[k].dtype()));
      for (index_t i = 0; i < n; ++i)
        std::memcpy(batch[k].data<char>() + static_cast<std::size_t>(i) * width,
                    arrays[k].data<char>() + static_cast<std::size_t>(order.data<index_t>()[first + i]) * width, width);
    }
    std::vector<PyObject*> args;
    for (const py::object& o : wrapped) args.push_back(o.ptr());
    std::vector<Tensor> results;
    compute(state, {args.data(), static_cast<Py_ssize_t>(args.size()), nullptr}, bound, results);
    if (results.empty() || results[0].size() != 1)
      throw std::invalid_argument("fit: a training step must return its loss, one number");
    losses.data<double>()[b] = *cast(results[0], DType::f64).data<double>();
    {
      const engine::Unlocked turn;
    }  // for other threads, whatever the length of a step
    const auto now = Clock::now();
    if (now - last_look > std::chrono::milliseconds(50)) {
      last_look = now;
      if (PyErr_CheckSignals()) throw py::error_already_set();
    }
    if (!report.is_none() && std::chrono::duration<double>(now - last_report).count() >= interval) {
      last_report = now;
      report(b + 1, batches, losses.data<double>()[b]);
    }
  }
  return losses;
}

}  // namespace wengert::bindings
