#include <chrono>
#include <cstring>

#include "bindings/compiled.h"
#include "kernels/table.h"
#include "ops/functions.h"

namespace wengert::bindings {

namespace {

// The n rows of `from` that `index` names, one after the other. Their elements are only moved, so those of 8 bytes may
// be taken for doubles.
void gather_rows(const Tensor& from, const index_t* index, index_t n, const Tensor& to) {
  const index_t width = to.size() / n, bytes = size_of(to.dtype());
  if (bytes == 4) return kernels::table<float>().gather(from.data<float>(), index, to.data<float>(), n, width);
  if (bytes == 8) return kernels::table<double>().gather(from.data<double>(), index, to.data<double>(), n, width);
  for (index_t i = 0; i < n; ++i)
    std::memcpy(to.data<char>() + i * width * bytes, from.data<char>() + index[i] * width * bytes,
                static_cast<std::size_t>(width * bytes));
}

double loss_of(const std::vector<Tensor>& results) {
  if (results.empty() || results[0].size() != 1)
    throw std::invalid_argument("fit: a training step must return its loss, one number");
  const Tensor& t = results[0];
  return t.dtype() == DType::f32 ? double{*t.data<float>()} : *cast(t, DType::f64).data<double>();
}

}  // namespace

// One pass over the rows of `arrays` in the given order, batch by batch, without coming back to Python but to record a
// new batch size, to report, and to look for Ctrl-C. Returns the first result of each batch, which is one number.
Tensor epoch(const py::object& compiled, const std::vector<Tensor>& arrays, const Tensor& order, index_t batch_size,
             const py::object& report, double interval) {
  using Clock = std::chrono::steady_clock;
  State& state = state_of(compiled);
  const index_t* const at = order.data<index_t>();
  const index_t rows = order.size(), batches = (rows + batch_size - 1) / batch_size;
  for (const Tensor& a : arrays)
    if (a.ndim() == 0) throw std::invalid_argument("fit: data need rows, got a 0-d array");
  for (index_t i = 0; i < rows; ++i)
    for (const Tensor& a : arrays)
      if (const index_t row = at[i]; row < 0 || row >= a.shape()[0])
        throw std::out_of_range("fit: row " + std::to_string(row) + " of " + std::to_string(a.shape()[0]));
  Tensor losses = empty(DType::f64, {batches});
  std::vector<Tensor> batch, results;
  std::vector<py::object> wrapped;
  std::vector<PyObject*> args;
  Bound bound;
  auto last_report = Clock::now(), last_look = last_report;
  for (index_t b = 0; b < batches; ++b) {
    const index_t first = b * batch_size, n = std::min(batch_size, rows - first);
    if (batch.empty() || batch[0].shape()[0] != n) {
      batch.clear();
      wrapped.clear();
      args.clear();
      for (const Tensor& a : arrays) {
        Shape shape = a.shape();
        shape[0] = n;
        batch.push_back(empty(a.dtype(), shape));
        wrapped.push_back(py::reinterpret_steal<py::object>(wrap(batch.back())));
        args.push_back(wrapped.back().ptr());
      }
    }
    engine::settle(arrays);
    for (std::size_t k = 0; k < arrays.size(); ++k) gather_rows(arrays[k], at + first, n, batch[k]);
    results.clear();
    compute(state, {args.data(), static_cast<Py_ssize_t>(args.size()), nullptr}, bound, results);
    losses.data<double>()[b] = loss_of(results);
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
