// Elementwise functions straight from the op table, and the structural ones one by one.
#include "ops/functions.h"

#include <pybind11/stl.h>

#include <array>
#include <deque>
#include <optional>
#include <utility>

#include "bindings/bindings.h"
#include "kernels/threads.h"

namespace wengert::bindings {
namespace {

using Dims = std::vector<index_t>;

constexpr std::size_t n_ops = 0
#define UNARY(...) +1
#define BINARY(...) +1
#define TERNARY(...) +1
#define PREDICATE(...) +1
#include "ops/elementwise.def"
    ;

// A builtin for each op: no argument parsing stands between Python and the kernel. Their `self` is the module, as for
// any function of a module, so that pickle and messages find them by name.
template <std::size_t k>
PyObject* call(PyObject*, PyObject* const* args, Py_ssize_t n) {
  const Elementwise& op = *elementwise_ops()[k];
  if (n != op.arity) {
    PyErr_Format(PyExc_TypeError, "%s() takes %d arguments, got %zd", op.name, op.arity, n);
    return nullptr;
  }
  try {
    return call_elementwise(op, args);
  } catch (...) {
    translate_exception();
    return nullptr;
  }
}

template <std::size_t... k>
auto builtins_of(std::index_sequence<k...>) {
  return std::array{call<k>...};
}

py::dict describe(const Elementwise& op) {
  py::dict d;
  d["name"] = op.name;
  d["doc"] = op.doc;
  d["arity"] = op.arity;
  d["formula"] = op.text;
  py::list pullbacks, domain;
  for (const ElementwisePullback& p : op.pullbacks) pullbacks.append(p.text);
  for (int k = 0; k < op.arity; ++k) domain.append(py::make_tuple(op.domain[2 * k], op.domain[2 * k + 1]));
  d["pullbacks"] = pullbacks;
  d["domain"] = domain;
  d["differentiable"] = op.differentiable;
  return d;
}

Dims axes_of(const Tensor& x, const std::optional<Dims>& axes) { return axes ? *axes : all_axes(x); }

}  // namespace

void bind_elementwise(py::module_& m) {
  static std::deque<PyMethodDef> defs;  // Python keeps pointers into these
  static std::deque<std::string> docs;
  static const auto builtins = builtins_of(std::make_index_sequence<n_ops>());
  py::list table;
  for (std::size_t k = 0; k < n_ops; ++k) {
    const Elementwise* const op = elementwise_ops()[k];
    constexpr const char* signatures[] = {"(x, /)", "(a, b, /)", "(a, b, c, /)"};
    docs.push_back(std::string(op->name) + signatures[op->arity - 1] + "\n--\n\n" + op->doc);
    defs.push_back({op->name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(builtins[k])), METH_FASTCALL,
                    docs.back().c_str()});
    m.attr(op->name) =
        py::reinterpret_steal<py::object>(PyCFunction_NewEx(&defs.back(), m.ptr(), py::str("wengert").release().ptr()));
    table.append(describe(*op));
  }
  m.attr("op_table") = table;
}

void bind_functions(py::module_& m) {
  m.def("tensor", [](py::object data, py::object dtype, bool requires_grad) {
    Tensor t = to_tensor(data.ptr());
    if (!dtype.is_none()) t = cast(t, dtype_from_python(dtype));
    if (requires_grad && !is_float(t.dtype()))
      throw TypeError(std::string("only float tensors have gradients, this is ") + name_of(t.dtype()) +
                      "; pass dtype=\"float64\"");
    if (is_tensor(data.ptr())) t = copy(t);  // like that of an array
    t.get()->requires_grad = requires_grad;
    return t;
  });
  m.def("asarray", [](py::object data, py::object dtype) {
    Tensor t = to_tensor(data.ptr(), true);
    return dtype.is_none() ? t : cast(t, dtype_from_python(dtype));
  });
  m.def("full", [](const Dims& shape, double value, py::object dtype) {
    return full(dtype_from_python(dtype), Shape(shape), value);
  });
  m.def("basis", [](const Dims& shape, py::object dtype) { return basis(dtype_from_python(dtype), Shape(shape)); });
  m.def("embed_diagonal", &embed_diagonal);
  m.def("take_diagonal", &take_diagonal);
  m.def("get_num_threads", &get_num_threads);
  m.def("set_num_threads", &set_num_threads);
  m.def("exchange_thread_limit", &exchange_thread_limit);
  m.def("matmul", &matmul, py::arg("a"), py::arg("b"), py::arg("trans_a") = false, py::arg("trans_b") = false);

#define REDUCTION(NAME)                                                              \
  m.def(#NAME, [](const Tensor& x, const std::optional<Dims>& axes, bool keepdims) { \
    return NAME(x, axes_of(x, axes), keepdims);                                      \
  })
  REDUCTION(sum);
  REDUCTION(mean);
  REDUCTION(max);
  REDUCTION(min);
  REDUCTION(logsumexp);
#undef REDUCTION
  m.def("softmax", &softmax);
  m.def("log_softmax", &log_softmax);
  m.def("layer_norm", &layer_norm);
  m.def("softmax_cross_entropy", &softmax_cross_entropy);

  m.def("cast", [](const Tensor& x, py::object dtype) { return cast(x, dtype_from_python(dtype)); });
  m.def("reshape", [](const Tensor& x, const Dims& shape) { return reshape(x, Shape(shape)); });
  m.def("broadcast_to", [](const Tensor& x, const Dims& shape) { return broadcast_to(x, Shape(shape)); });
  m.def("permute", [](const Tensor& x, const Dims& axes) { return permute(x, axes); });
  m.def("concat", [](const std::vector<Tensor>& xs, index_t axis) { return concat(xs, axis); });
  m.def("slice", [](const Tensor& x, const Dims& start, const Dims& step, const Dims& shape) {
    return slice(x, start, step, Shape(shape));
  });
  m.def("gather", [](const Tensor& x, const Tensor& indices, index_t axis) { return gather(x, indices, axis); });
  m.def("scatter_add", [](const Tensor& x, const Tensor& indices, index_t axis, index_t size) {
    return scatter_add(x, indices, axis, size);
  });
}

}  // namespace wengert::bindings
