// Elementwise functions straight from the op table, and the structural ones one by one.
#include "ops/functions.h"

#include <pybind11/stl.h>

#include <array>
#include <deque>
#include <utility>

#include "bindings/bindings.h"
#include "kernels/threads.h"

namespace wengert::bindings {
namespace {
struct Dims : std::vector<index_t> {
  using vector::vector;
  Dims(std::vector<index_t> v) : vector(std::move(v)) {}
};
}  // namespace
}  // namespace wengert::bindings

namespace pybind11::detail {
// Sizes, steps and axes: anything that is an index in Python. One beyond 64 bits is a ValueError that says so.
template <>
struct type_caster<wengert::bindings::Dims> {
  PYBIND11_TYPE_CASTER(wengert::bindings::Dims, const_name("Sequence[int]"));
  bool load(handle src, bool) {
    if (!PySequence_Check(src.ptr()) || PyUnicode_Check(src.ptr()) || PyBytes_Check(src.ptr())) return false;
    value.clear();
    for (handle item : reinterpret_borrow<sequence>(src)) {
      const auto whole = reinterpret_steal<object>(PyNumber_Index(item.ptr()));
      if (!whole) {
        PyErr_Clear();
        return false;
      }
      int overflow = 0;
      value.push_back(PyLong_AsLongLongAndOverflow(whole.ptr(), &overflow));
      if (overflow)
        throw value_error(std::string(str(whole)) + " does not fit in 64 bits: no size or axis is so large");
    }
    return true;
  }
};
}  // namespace pybind11::detail

namespace wengert::bindings {
namespace {

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

Dims axes_of(const char* op, const Tensor& x, py::handle axis) {
  return axis.is_none() ? all_axes(x) : integers(op, "axis", axis.ptr());
}
Shape shape_of(const char* op, py::handle sizes) {
  const Dims dims = integers(op, "sizes", sizes.ptr());
  for (const index_t n : dims)
    if (n < 0) throw std::invalid_argument(std::string(op) + ": sizes must not be negative, got " + Shape(dims).str());
  return Shape(dims);
}

// The sizes of a reshape, of which one may be -1: as many as there are elements for.
Shape reshaped(const Tensor& x, py::handle sizes) {
  Dims dims = integers("reshape", "sizes", sizes.ptr());
  index_t rest = 1, open = -1;
  for (std::size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] >= 0) {
      if (__builtin_mul_overflow(rest, dims[i], &rest)) rest = 0;  // more than there are elements, of whatever
    } else if (dims[i] == -1 && open < 0) {
      open = static_cast<index_t>(i);
    } else {
      throw std::invalid_argument("reshape: " + Shape(dims).str() + " may hold one -1 and no other negative size");
    }
  }
  if (open < 0) return Shape(dims);
  if (rest == 0 || x.size() % rest)
    throw std::invalid_argument("reshape: " + x.shape().str() + " has " + std::to_string(x.size()) +
                                " elements, which " + Shape(dims).str() + " does not divide");
  dims[static_cast<std::size_t>(open)] = x.size() / rest;
  return Shape(dims);
}

double number(py::handle value) {
  const double x = PyFloat_AsDouble(value.ptr());
  if (x == -1 && PyErr_Occurred()) throw py::error_already_set();
  return x;
}

// An array of one number, which does not pass through float64 if it is whole.
Tensor filled(const Shape& shape, py::handle value, DType dtype) {
  if (dtype != DType::i64 || !PyLong_Check(value.ptr()) || PyBool_Check(value.ptr()))
    return full(dtype, shape, number(value));
  const index_t whole = integers("full", "value", value.ptr()).at(0);
  Tensor t = empty(dtype, shape);
  std::fill_n(t.data<index_t>(), t.size(), whole);
  return t;
}

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
    const bool is_shared = is_tensor(data.ptr());
    if (requires_grad && !t.requires_grad() && (is_shared || engine::node(t)->op)) {
      Tensor leaf = empty(t.dtype(), t.shape());
      assign(leaf, t);  // what a recording sees: its value is computed, but it is no result
      t = std::move(leaf);
    } else if (is_shared) {
      t = copy(t);  // as an array is
    }
    t.get()->requires_grad = requires_grad;
    return t;
  });
  m.def("asarray", [](py::object data, py::object dtype) {
    Tensor t = to_tensor(data.ptr(), true);
    return dtype.is_none() ? t : cast(t, dtype_from_python(dtype));
  });
  m.def("full", [](py::handle shape, py::handle value, py::object dtype) {
    return filled(shape_of("full", shape), value, dtype_from_python(dtype));
  });
  m.def("basis", [](const Dims& shape, py::object dtype) { return basis(dtype_from_python(dtype), Shape(shape)); });
  m.def("embed_diagonal", &embed_diagonal);
  m.def("take_diagonal", &take_diagonal);
  m.def("get_num_threads", &get_num_threads);
  m.def("set_num_threads", &set_num_threads);
  m.def("exchange_thread_limit", &exchange_thread_limit);
  m.def("matmul", &matmul, py::arg("a"), py::arg("b"), py::arg("trans_a") = false, py::arg("trans_b") = false);

#define REDUCTION(NAME)                                                               \
  m.def(#NAME, [](const Tensor& x, py::handle axis, py::handle keepdims) {            \
    return NAME(x, axes_of(#NAME, x, axis), flag(#NAME, "keepdims", keepdims.ptr())); \
  })
  REDUCTION(sum);
  REDUCTION(norm);
  REDUCTION(mean);
  REDUCTION(max);
  REDUCTION(min);
  REDUCTION(logsumexp);
#undef REDUCTION
  m.def("cumulative_prod", &cumulative_prod);
  m.def("softmax", &softmax);
  m.def("log_softmax", &log_softmax);
  m.def("flag", [](const char* op, const char* what, py::handle o) { return flag(op, what, o.ptr()); });
  m.def("integers", [](const char* op, const char* what, py::handle o) { return integers(op, what, o.ptr()); });
  m.def("layer_norm", &layer_norm);
  m.def("softmax_cross_entropy", &softmax_cross_entropy);

  m.def("cast", [](const Tensor& x, py::object dtype) { return cast(x, dtype_from_python(dtype)); });
  m.def("reshape", [](const Tensor& x, py::handle sizes) { return reshape(x, reshaped(x, sizes)); });
  m.def("broadcast_to",
        [](const Tensor& x, py::handle sizes) { return broadcast_to(x, shape_of("broadcast_to", sizes)); });
  m.def("permute",
        [](const Tensor& x, py::handle axes) { return permute(x, integers("permute_dims", "axes", axes.ptr())); });
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
