// A user's own op, written in Python: how the engine runs one, and how its rules enter a sweep. All that is not about
// the engine (rules, packing of several results, notes on exceptions) is in python/wengert/_primitive.py.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <cstring>
#include <limits>

#include "bindings/bindings.h"
#include "bindings/transform_state.h"

namespace wengert::bindings {
namespace {

// One call: the Python object with run, pull and push. It keeps the op alive that its node points to.
struct Call final : Attrs {
  PyObject* python;
  mutable Tensor value;  // of the call that told the shape, until `run` has taken it
  Call(py::object call, Tensor v) : python(call.release().ptr()), value(std::move(v)) {}
  ~Call() override {
    if (!Py_IsInitialized()) return;
    py::gil_scoped_acquire gil;
    Py_DECREF(python);
  }
};

}  // namespace

PyObject* python_of(const Attrs* a) {
  const auto* call = dynamic_cast<const Call*>(a);
  return call ? call->python : nullptr;
}

namespace {
py::handle python(Params p) { return static_cast<const Call*>(p.attrs)->python; }

class Primitive final : public Op {
 public:
  explicit Primitive(std::string name) : Op("", ~0u), text_(std::move(name)) {
    Op::name = text_.c_str();
    long_from = std::numeric_limits<index_t>::max();  // it is Python
    calls_back = true;
  }

  void run(const Array* in, int n, const Array& out, Params p) const override {
    const auto bytes = static_cast<std::size_t>(out.shape->size() * size_of(out.dtype));
    Tensor y = std::exchange(static_cast<const Call*>(p.attrs)->value, Tensor());
    py::gil_scoped_acquire gil;
    if (!y) {
      py::list arrays;  // copies: a function may keep what it is given, and a replay's memory is used again
      for (int k = 0; k < n; ++k)
        arrays.append(py::array(py::reinterpret_borrow<py::dtype>(numpy_dtype(in[k].dtype)),
                                std::vector<py::ssize_t>(in[k].shape->begin(), in[k].shape->end()), in[k].data));
      y = to_tensor(python(p).attr("run")(arrays).ptr());
      if (!(y.shape() == *out.shape) || y.dtype() != out.dtype)
        throw std::runtime_error(text_ + ": returned " + name_of(y.dtype()) + y.shape().str() +
                                 " for operands that gave " + name_of(out.dtype) + out.shape->str() +
                                 " when it was recorded");
    }
    if (bytes) std::memcpy(out.data, y.data<void>(), bytes);
  }

  void vjp(Pullback& p) const override {
    py::gil_scoped_acquire gil;
    py::list operands, needs;
    for (int k = 0; k < p.n_inputs(); ++k) {
      operands.append(p.input(k));
      needs.append(p.needs(k));
    }
    const py::list c = python(p.params()).attr("pull")(p.g(), p.output(), operands, needs, lead(p));
    for (int k = 0; k < p.n_inputs(); ++k)
      if (const py::object ck = c[static_cast<std::size_t>(k)]; !ck.is_none()) p.add(k, ck.cast<Tensor>());
  }

  Tensor jvp(Pushforward& p) const override {
    py::gil_scoped_acquire gil;
    py::list operands, tangents;
    for (int k = 0; k < p.n_inputs(); ++k) {
      operands.append(p.input(k));
      tangents.append(p.has_tangent(k) ? py::cast(p.tangent(k)) : py::none());
    }
    return python(p.params()).attr("push")(tangents, p.output(), operands, lead(p)).cast<Tensor>();
  }

 private:
  // The extra leading axis of cotangents and tangents: [] or [how many].
  template <class Rule>
  static std::vector<index_t> lead(const Rule& p) {
    const Shape s = p.batched({});
    return {s.begin(), s.end()};
  }
  std::string text_;
};

// Records that `call` made `value` of `inputs`.
Tensor record(const Primitive& op, const std::vector<Tensor>& inputs, const Tensor& value, py::object call) {
  const engine::GradMode mode(engine::thread_state().grad_enabled && is_float(value.dtype()));
  const AttrsRef attrs(new Call(std::move(call), value));
  return apply(op, inputs, value.dtype(), value.shape(), 0, attrs);
}

// Calls f as if no tape, recording or transform were under way: what the value of a primitive is computed from is none
// of their business, and numbers may be taken out of tensors there.
py::object apart(const py::function& f, const py::args& args, const py::kwargs& kwargs) {
  struct Scope {
    engine::Tape* tape = std::exchange(engine::thread_state().tape, nullptr);
    std::uint64_t start = std::exchange(transform_start(), std::numeric_limits<std::uint64_t>::max());
    ~Scope() {
      engine::thread_state().tape = tape;
      transform_start() = start;
    }
  } const scope;
  return f(*args, **kwargs);
}

}  // namespace

void bind_primitive(py::module_& m) {
  py::class_<Primitive>(m, "Primitive").def(py::init<std::string>()).def("record", record);
  m.def("apart", apart);
}

}  // namespace wengert::bindings
