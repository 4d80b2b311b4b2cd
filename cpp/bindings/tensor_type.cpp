#include "bindings/tensor_type.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "bindings/bindings.h"
#include "bindings/transform_state.h"
#include "engine/program.h"
#include "ops/functions.h"

namespace wengert::bindings {
namespace {

PyTypeObject* base_type = nullptr;
PyTypeObject* result_type = nullptr;

// Runs f and turns a C++ exception into a Python one.
template <class R = PyObject*, class F>
R guarded(F&& f, R failure = R{}) noexcept {
  try {
    return f();
  } catch (...) {
    translate_exception();
    return failure;
  }
}

Value* value_of(PyObject* o) { return reinterpret_cast<PyTensor*>(o)->value; }

void dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  if (Value* v = value_of(self)) engine::release(v, Value::reader);
  type->tp_free(self);
  Py_DECREF(type);
}

bool whole(const Tensor& t) { return !is_float(t.dtype()); }

const Elementwise* find(const char* name) {
  for (const Elementwise* op : elementwise_ops())
    if (!std::strcmp(op->name, name)) return op;
  throw std::logic_error(name);
}

// `to_operand`, whose refusal names the operation and the operand. With `always`, what is no operand is refused, too.
bool operand(const Elementwise& op, int k, PyObject* o, Tensor& out, bool always = false) {
  try {
    if (to_operand(o, out)) return true;
    if (always) out = to_tensor(o);
    return always;
  } catch (const Inconvertible& e) {
    throw TypeError(std::string(op.name) + ": operand " + std::to_string(k) + " " + e.what());
  }
}

PyObject* binary(const Elementwise& op, PyObject* a, PyObject* b) {
  return guarded([&]() -> PyObject* {
    Tensor in[2];
    if (!operand(op, 0, a, in[0]) || !operand(op, 1, b, in[1])) Py_RETURN_NOTIMPLEMENTED;
    PyObject* args[] = {a, b};
    if ((whole(in[0]) || in[0].get()->weak) && (whole(in[1]) || in[1].get()->weak)) return call_elementwise(op, args);
    Tensor y = apply(op, in);
    return wrap(op.pullbacks.empty() ? cast(y, DType::b8) : std::move(y));
  });
}

#define UNARY_OPERATOR(SLOT, NAME)                            \
  PyObject* SLOT(PyObject* x) {                               \
    static const Elementwise& op = *find(NAME);               \
    return guarded([&] { return call_elementwise(op, &x); }); \
  }
UNARY_OPERATOR(op_negative, "negative")
UNARY_OPERATOR(op_absolute, "abs")
#undef UNARY_OPERATOR

#define OPERATOR(SLOT, NAME)                    \
  PyObject* SLOT(PyObject* a, PyObject* b) {    \
    static const Elementwise& op = *find(NAME); \
    return binary(op, a, b);                    \
  }
OPERATOR(op_add, "add")
OPERATOR(op_subtract, "subtract")
OPERATOR(op_multiply, "multiply")
OPERATOR(op_divide, "divide")
OPERATOR(op_floor_divide, "floor_divide")
OPERATOR(op_remainder, "remainder")
#undef OPERATOR

PyObject* op_divmod(PyObject* a, PyObject* b) {
  PyObject* quotient = op_floor_divide(a, b);
  if (!quotient || quotient == Py_NotImplemented) return quotient;
  PyObject* rest = op_remainder(a, b);
  return rest ? Py_BuildValue("NN", quotient, rest) : (Py_DECREF(quotient), nullptr);
}

// Of booleans, logic; of integers, NumPy's arithmetic on bits.
PyObject* on_bits(const char* sign, const char* numpy_name, const Elementwise* logical, PyObject* a, PyObject* b) {
  return guarded([&]() -> PyObject* {
    PyObject* args[] = {a, b};
    Tensor in[2];
    bool booleans = logical;
    for (int k = 0; k < 2; ++k) {
      if (!to_operand(args[k], in[k])) Py_RETURN_NOTIMPLEMENTED;
      booleans = booleans && in[k].dtype() == DType::b8;
      if (is_float(in[k].dtype()) && !PyLong_CheckExact(args[k]))
        throw TypeError(std::string(sign) + " needs integers or booleans, got " + name_of(in[k].dtype()) +
                        "; of floats, compare first, as in (x > 0)");
    }
    return booleans ? call_elementwise(*logical, args) : call_numpy(numpy_name, in, args, 2);
  });
}
#define BITS(SLOT, SIGN, NUMPY, LOGICAL)               \
  PyObject* SLOT(PyObject* a, PyObject* b) {           \
    static const Elementwise* const logical = LOGICAL; \
    return on_bits(SIGN, NUMPY, logical, a, b);        \
  }
BITS(op_and, "&", "bitwise_and", find("logical_and"))
BITS(op_or, "|", "bitwise_or", find("logical_or"))
BITS(op_xor, "^", "bitwise_xor", find("logical_xor"))
BITS(op_left_shift, "<<", "left_shift", nullptr)
BITS(op_right_shift, ">>", "right_shift", nullptr)
#undef BITS

PyObject* op_power(PyObject* a, PyObject* b, PyObject*) {
  static const Elementwise& pow_op = *find("pow");
  static const Elementwise& square_op = *find("square");
  const bool by_two =
      (PyLong_CheckExact(b) && PyLong_AsLong(b) == 2) || (PyFloat_CheckExact(b) && PyFloat_AS_DOUBLE(b) == 2);
  if (PyErr_Occurred()) PyErr_Clear();
  if (by_two && is_tensor(a) && !whole(unwrap(a)))
    return guarded([&] {
      const Tensor x = unwrap(a);
      return wrap(apply(square_op, {&x, 1}));
    });
  return binary(pow_op, a, b);
}

PyObject* op_matmul(PyObject* a, PyObject* b) {
  return guarded([&]() -> PyObject* {
    Tensor x, y;
    if (!to_operand(a, x) || !to_operand(b, y)) Py_RETURN_NOTIMPLEMENTED;
    return wrap(matmul(x, y));
  });
}

PyObject* compare(PyObject* a, PyObject* b, int how) {
  static const Elementwise* const ops[] = {find("less"),      find("less_equal"), find("equal"),
                                           find("not_equal"), find("greater"),    find("greater_equal")};
  return binary(*ops[how], a, b);
}

PyObject* op_invert(PyObject* a) {
  return guarded([&]() -> PyObject* {
    const Tensor x = unwrap(a);
    if (is_float(x.dtype())) throw TypeError(std::string("~ needs integers or booleans, got ") + name_of(x.dtype()));
    return x.dtype() == DType::b8 ? compare(a, Py_False, Py_EQ) : call_numpy("invert", &x, &a, 1);
  });
}

double only_number(PyObject* self, const char* how) {
  const Tensor t = unwrap(self);
  if (t.size() != 1) throw TypeError(std::string(how) + " needs a tensor of one element, got shape " + t.shape().str());
  refuse_escape(t, how);
  engine::settle(t);
  switch (t.dtype()) {
    case DType::f32:
      return *t.data<float>();
    case DType::f64:
      return *t.data<double>();
    case DType::i64:
      return static_cast<double>(*t.data<index_t>());
    default:
      return *t.data<bool>();
  }
}
PyObject* as_float(PyObject* self) {
  return guarded([&] { return PyFloat_FromDouble(only_number(self, "float(x)")); });
}
PyObject* as_int(PyObject* self) {
  return guarded([&] {
    const double x = only_number(self, "int(x)");
    const Tensor t = unwrap(self);
    return t.dtype() == DType::i64 ? PyLong_FromLongLong(*t.data<index_t>()) : PyLong_FromDouble(x);
  });
}
PyObject* as_index(PyObject* self) {
  return guarded([&] {
    const Tensor t = unwrap(self);
    if (t.dtype() != DType::i64 || t.size() != 1)
      throw TypeError("only an integer tensor of one element can be an index, got " + std::string(name_of(t.dtype())) +
                      " of shape " + t.shape().str());
    refuse_escape(t, "an index");
    engine::settle(t);
    return PyLong_FromLongLong(*t.data<index_t>());
  });
}
int as_bool(PyObject* self) {
  return guarded<int>(
      [&] {
        const Tensor t = unwrap(self);
        if (t.size() != 1)
          throw std::invalid_argument("the truth of a tensor of shape " + t.shape().str() +
                                      " is ambiguous; use wg.any or wg.all");
        return only_number(self, "bool(x)") != 0 ? 1 : 0;
      },
      -1);
}
Py_ssize_t length(PyObject* self) {
  const Value* v = value_of(self);
  if (v->shape.ndim() == 0) {
    PyErr_SetString(PyExc_TypeError, "len() of a 0-d tensor");
    return -1;
  }
  return v->shape[0];
}

PyObject* other_keys = nullptr;

// A key of integers, slices, None and ..., as a slice of every axis and the shape that it leaves; false for any other.
struct BasicKey {
  std::vector<index_t> start, step, sliced, shape;
  bool whole = true;

  bool read(const Shape& of, PyObject* const* parts, Py_ssize_t n) {
    int named = 0, ellipses = 0;
    for (Py_ssize_t i = 0; i < n; ++i) {
      PyObject* p = parts[i];
      if (p == Py_Ellipsis)
        ++ellipses;
      else if (PyLong_CheckExact(p) || PySlice_Check(p))
        ++named;
      else if (p != Py_None)
        return false;
    }
    if (named > of.ndim())
      throw std::out_of_range("too many indices: shape " + of.str() + " was indexed with " + std::to_string(named));
    if (ellipses > 1) throw std::out_of_range("an index may hold one ellipsis (...)");
    for (Py_ssize_t i = 0; i < n; ++i) {
      if (parts[i] == Py_Ellipsis)
        rest(of, of.ndim() - named);
      else if (parts[i] == Py_None)
        shape.push_back(1);
      else
        part(of, parts[i]);
    }
    if (!ellipses) rest(of, of.ndim() - named);
    return true;
  }

 private:
  void take(const Shape& of, index_t first, index_t by, index_t n) {
    whole = whole && by == 1 && n == of[static_cast<int>(start.size())];
    start.push_back(first);
    step.push_back(by);
    sliced.push_back(n);
  }
  void rest(const Shape& of, int axes) {
    for (; axes > 0; --axes) {
      const index_t n = of[static_cast<int>(start.size())];
      take(of, 0, 1, n);
      shape.push_back(n);
    }
  }
  void part(const Shape& of, PyObject* p) {
    const int axis = static_cast<int>(start.size());
    const index_t size = of[axis];
    if (PySlice_Check(p)) {
      Py_ssize_t first, stop, by;
      if (PySlice_Unpack(p, &first, &stop, &by) < 0) throw py::error_already_set();
      const index_t n = PySlice_AdjustIndices(size, &first, &stop, by);
      take(of, n ? first : 0, by, n);
      shape.push_back(n);
      return;
    }
    index_t at = PyLong_AsSsize_t(p);
    if (at == -1 && PyErr_Occurred()) {
      if (!PyErr_ExceptionMatches(PyExc_OverflowError)) throw py::error_already_set();
      PyErr_Clear();
      at = std::numeric_limits<index_t>::max();
    }
    if (at < -size || at >= size)
      throw std::out_of_range("index " + std::string(py::str(p)) + " is out of range for axis " + std::to_string(axis) +
                              " of size " + std::to_string(size));
    take(of, at < 0 ? at + size : at, 1, 1);
  }
};

PyObject* subscript(PyObject* self, PyObject* key) {
  return guarded([&]() -> PyObject* {
    const Tensor x = unwrap(self);
    BasicKey k;
    const bool tuple = PyTuple_CheckExact(key);
    if (!(tuple ? k.read(x.shape(), reinterpret_cast<PyTupleObject*>(key)->ob_item, PyTuple_GET_SIZE(key))
                : k.read(x.shape(), &key, 1)))
      return PyObject_CallFunctionObjArgs(other_keys, self, key, nullptr);
    const Tensor part = k.whole ? x : slice(x, k.start, k.step, Shape(k.sliced));
    return wrap(reshape(part, Shape(k.shape)));
  });
}

PyObject* get_shape(PyObject* self, void*) {
  const Shape& s = value_of(self)->shape;
  PyObject* t = PyTuple_New(s.ndim());
  if (t)
    for (int i = 0; i < s.ndim(); ++i) PyTuple_SET_ITEM(t, i, PyLong_FromLongLong(s[i]));
  return t;
}
PyObject* get_transpose(PyObject* self, void*) {
  return guarded([&] {
    const Tensor x = unwrap(self);
    if (x.ndim() == 2) return wrap(transpose(x));
    const std::vector<index_t> axes = all_axes(x);
    return wrap(permute(x, std::vector<index_t>(axes.rbegin(), axes.rend())));
  });
}
PyObject* get_ndim(PyObject* self, void*) { return PyLong_FromLong(value_of(self)->shape.ndim()); }
PyObject* get_size(PyObject* self, void*) { return PyLong_FromLongLong(value_of(self)->shape.size()); }
PyObject* get_dtype(PyObject* self, void*) {
  return guarded([&] { return numpy_dtype(value_of(self)->dtype).release().ptr(); });
}
PyObject* get_requires_grad(PyObject* self, void*) { return PyBool_FromLong(value_of(self)->requires_grad); }
int set_requires_grad(PyObject* self, PyObject* to, void*) {
  return guarded<int>(
      [&] {
        auto* n = static_cast<engine::Node*>(value_of(self));
        const int on = to ? PyObject_IsTrue(to) : 0;
        if (on < 0) throw py::error_already_set();
        if (n->op)
          throw std::runtime_error(std::string("requires_grad can only be set on leaves; this is the result of ") +
                                   n->op->name);
        if (on && !is_float(n->dtype))
          throw TypeError(std::string("only float tensors have gradients, this is ") + name_of(n->dtype));
        n->requires_grad = on;
        return 0;
      },
      -1);
}
PyObject* get_grad(PyObject* self, void*) {
  auto* n = static_cast<engine::Node*>(value_of(self));
  if (n->op) Py_RETURN_NONE;
  return guarded([&]() -> PyObject* {
    engine::settle(unwrap(self));
    if (engine::Tape* tape = engine::thread_state().tape; tape && tape->compiling) tape->meets_grad(n);
    if (!n->adjoint) Py_RETURN_NONE;
    return wrap(engine::handle(n->adjoint));
  });
}
int set_grad(PyObject* self, PyObject* to, void*) {
  return guarded<int>(
      [&] {
        auto* n = static_cast<engine::Node*>(value_of(self));
        if (n->op) throw std::runtime_error("only leaves have a .grad");
        Tensor g;
        if (to && to != Py_None) {
          g = to_tensor(to);
          if (!(g.shape() == n->shape))
            throw std::invalid_argument(".grad of a tensor of shape " + n->shape.str() + " cannot have shape " +
                                        g.shape().str());
          g = cast(g, n->dtype);
          for (Value* v = g.get(); v && !static_cast<engine::Node*>(v)->op; v = static_cast<engine::Node*>(v)->adjoint)
            if (v == n) {  // its own .grad, or that of its .grad: by value, or the two would keep each other
              g = detach(g);
              break;
            }
        }
        const Tensor leaf = unwrap(self);
        engine::may_change({&leaf, 1});
        Tensor(std::exchange(n->adjoint, g.take()));
        if (engine::Tape* tape = engine::thread_state().tape; tape && tape->compiling) tape->sets_grad(n);
        return 0;
      },
      -1);
}
PyObject* get_name(PyObject* self, void*) {
  return guarded([&] {
    const std::string s = engine::name_of(static_cast<engine::Node*>(value_of(self)));
    if (s.empty()) Py_RETURN_NONE;
    return PyUnicode_FromStringAndSize(s.data(), static_cast<Py_ssize_t>(s.size()));
  });
}
int set_name_attr(PyObject* self, PyObject* to, void*) {
  return guarded<int>(
      [&] {
        engine::set_name(static_cast<engine::Node*>(value_of(self)),
                         to && to != Py_None ? py::cast<std::string>(py::handle(to)) : "");
        return 0;
      },
      -1);
}
PyObject* get_is_leaf(PyObject* self, void*) {
  return PyBool_FromLong(static_cast<engine::Node*>(value_of(self))->op == nullptr);
}

PyObject* method_numpy(PyObject* self, PyObject*) {
  return guarded([&] {
    const Tensor t = unwrap(self);
    refuse_escape(t, "x.numpy()");
    return to_numpy(t).release().ptr();
  });
}
PyObject* method_item(PyObject* self, PyObject*) {
  return guarded([&]() -> PyObject* {
    const Tensor t = unwrap(self);
    const double x = only_number(self, "x.item()");
    if (t.dtype() == DType::i64) return PyLong_FromLongLong(*t.data<index_t>());
    if (t.dtype() == DType::b8) return PyBool_FromLong(x != 0);
    return PyFloat_FromDouble(x);
  });
}
PyObject* method_detach(PyObject* self, PyObject*) {
  return guarded([&] { return wrap(detach(unwrap(self))); });
}

PyGetSetDef getset[] = {
    {"shape", get_shape, nullptr, "The size of each axis.", nullptr},
    {"T", get_transpose, nullptr, "The transpose: axes in reverse order. A matrix's is made when it is read.", nullptr},
    {"ndim", get_ndim, nullptr, "The number of axes.", nullptr},
    {"size", get_size, nullptr, "The number of elements.", nullptr},
    {"dtype", get_dtype, nullptr, "float32, float64, int64 or bool, as a NumPy dtype.", nullptr},
    {"requires_grad", get_requires_grad, set_requires_grad, "Whether operations on it are recorded.", nullptr},
    {"grad", get_grad, set_grad, "What backward has added up for this leaf, or None.", nullptr},
    {"name", get_name, set_name_attr, "Shown by tapes and errors; None by default.", nullptr},
    {"is_leaf", get_is_leaf, nullptr, "True unless it is the recorded result of an operation.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyMethodDef methods[] = {
    {"numpy", method_numpy, METH_NOARGS,
     "numpy($self, /)\n--\n\nThe values as a read-only NumPy array, without a copy."},
    {"item", method_item, METH_NOARGS,
     "item($self, /)\n--\n\nThe value of a tensor of one element, as a Python number."},
    {"detach", method_detach, METH_NOARGS, "detach($self, /)\n--\n\nThe same values, cut from the tape."},
    {nullptr, nullptr, 0, nullptr}};

template <class F>
void* slot(F* f) {
  return reinterpret_cast<void*>(f);
}

}  // namespace

PyTypeObject* make_tensor_type() {
  static PyType_Slot slots[] = {{Py_tp_dealloc, slot(dealloc)},
                                {Py_tp_getset, getset},
                                {Py_tp_methods, methods},
                                {Py_tp_richcompare, slot(compare)},
                                {Py_tp_hash, slot(_Py_HashPointer)},
                                {Py_nb_add, slot(op_add)},
                                {Py_nb_subtract, slot(op_subtract)},
                                {Py_nb_multiply, slot(op_multiply)},
                                {Py_nb_true_divide, slot(op_divide)},
                                {Py_nb_floor_divide, slot(op_floor_divide)},
                                {Py_nb_remainder, slot(op_remainder)},
                                {Py_nb_divmod, slot(op_divmod)},
                                {Py_nb_power, slot(op_power)},
                                {Py_nb_matrix_multiply, slot(op_matmul)},
                                {Py_nb_negative, slot(op_negative)},
                                {Py_nb_absolute, slot(op_absolute)},
                                {Py_nb_invert, slot(op_invert)},
                                {Py_nb_and, slot(op_and)},
                                {Py_nb_or, slot(op_or)},
                                {Py_nb_xor, slot(op_xor)},
                                {Py_nb_lshift, slot(op_left_shift)},
                                {Py_nb_rshift, slot(op_right_shift)},
                                {Py_nb_float, slot(as_float)},
                                {Py_nb_int, slot(as_int)},
                                {Py_nb_index, slot(as_index)},
                                {Py_nb_bool, slot(as_bool)},
                                {Py_mp_length, slot(length)},
                                {Py_mp_subscript, slot(subscript)},
                                {Py_sq_length, slot(length)},
                                {0, nullptr}};
  static PyType_Spec spec = {"wengert._core.TensorBase", sizeof(PyTensor), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
  base_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&spec));
  if (!base_type) throw py::error_already_set();
  result_type = base_type;
  return base_type;
}

void set_tensor_type(PyTypeObject* type) {
  if (!PyType_IsSubtype(type, base_type) || type->tp_basicsize != base_type->tp_basicsize)
    throw TypeError("the tensor class must derive from TensorBase and add no fields");
  Py_INCREF(type);
  type->tp_dealloc = dealloc;  // it has nothing more to clear than the base, so skip the generic path
  result_type = type;
}

void set_getitem(PyObject* function) {
  Py_INCREF(function);
  other_keys = function;
}

bool is_tensor(PyObject* o) { return Py_TYPE(o) == result_type || PyObject_TypeCheck(o, base_type); }

PyObject* wrap(Tensor t) {
  PyObject* o = result_type->tp_alloc(result_type, 0);
  if (!o) throw py::error_already_set();
  t.get()->weak = false;
  reinterpret_cast<PyTensor*>(o)->value = t.take();
  return o;
}

namespace {
// The line of the caller's Python program, outside of this package.
std::string python_line() {
  PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<std::string> store;
  const std::string& package = store
                                   .call_once_and_store_result([] {
                                     return std::string(py::str(py::module_::import("os.path").attr("dirname")(
                                         py::module_::import("wengert").attr("__file__"))));
                                   })
                                   .get_stored();
  PyFrameObject* frame = PyEval_GetFrame();
  for (py::object f = py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(frame)); f && !f.is_none();
       f = f.attr("f_back")) {
    const std::string file = py::str(f.attr("f_code").attr("co_filename"));
    if (file.compare(0, package.size(), package) != 0)
      return " (" + file + ":" + std::string(py::str(f.attr("f_lineno"))) + ")";
  }
  return "";
}
}  // namespace

namespace {
py::object of_numpy(const char* name, const Tensor* in, PyObject* const* args, int n) {
  py::tuple arrays(n);
  for (int k = 0; k < n; ++k) {
    if (engine::is_replayed(in[k]))
      throw TypeError(
          name + python_line() +
          ": arithmetic on whole numbers inside a compiled function is not replayed; use x.astype(\"float32\")");
    arrays[static_cast<std::size_t>(k)] =
        is_tensor(args[k]) ? to_numpy(in[k]) : py::reinterpret_borrow<py::object>(args[k]);
  }
  return py::module_::import("numpy").attr(name)(*arrays);
}
}  // namespace

PyObject* call_numpy(const char* name, const Tensor* in, PyObject* const* args, int n) {
  return wrap(to_tensor(of_numpy(name, in, args, n).ptr()));
}

// A whole number of Python's that NumPy takes for one of 64 bits; beyond them it counts as a float.
static bool is_int64(PyObject* o) {
  if (!PyLong_CheckExact(o)) return false;
  int overflow = 0;
  PyLong_AsLongLongAndOverflow(o, &overflow);
  return !overflow;
}

PyObject* call_elementwise(const Elementwise& op, PyObject* const* args) {
  Tensor in[3];
  bool any_float = false;
  const int first = first_value(op);
  for (int k = 0; k < op.arity; ++k) {
    operand(op, k, args[k], in[k], true);
    any_float = any_float || (k >= first && is_float(in[k].dtype()) && !is_int64(args[k]));
  }
  const bool predicate = op.pullbacks.empty();
  if (!any_float) {
    bool replayed = false;
    for (int k = 0; k < op.arity; ++k) replayed = replayed || engine::is_replayed(in[k]);
    const char* name = std::strcmp(op.name, "pow") ? op.name : "power";
    if (!(replayed && predicate) && py::hasattr(py::module_::import("numpy"), name)) {
      const py::object y = of_numpy(name, in, args, op.arity);
      const bool half = py::cast<std::string>(y.attr("dtype").attr("char")) == "e";  // ours is float64
      if (!half) return wrap(to_tensor(y.ptr()));
    }
  }
  Tensor y = apply(op, {in, static_cast<std::size_t>(op.arity)});
  y.get()->weak = false;  // for NumPy, what is chosen from numbers is an array of float64
  return wrap(predicate ? cast(y, DType::b8) : std::move(y));
}

void refuse_escape(const Tensor& t, const char* how) {
  if (engine::is_replayed(t))
    throw TypeError(std::string(how) + python_line() +
                    " inside a compiled function would freeze this call's value into every replay; compute with wg "
                    "functions (wg.where instead of `if`), or return the tensor and look at it outside");
  const engine::Node* n = engine::node(t);
  if (n->op && n->requires_grad && n->index >= transform_start())
    throw TypeError(std::string(how) +
                    " inside a function that is being differentiated would cut the gradient; "
                    "compute with wg functions, or say wg.stop_gradient(x) first if the cut is meant");
}

void translate_exception() noexcept {
  try {
    throw;
  } catch (py::error_already_set& e) {
    e.restore();
  } catch (const Inconvertible& e) {
    set_error(e);
  } catch (const TypeError& e) {
    PyErr_SetString(PyExc_TypeError, e.what());
  } catch (const std::out_of_range& e) {
    PyErr_SetString(PyExc_IndexError, e.what());
  } catch (const std::invalid_argument& e) {
    PyErr_SetString(PyExc_ValueError, e.what());
  } catch (const std::bad_alloc& e) {
    PyErr_SetString(PyExc_MemoryError, e.what());
  } catch (const std::exception& e) {
    PyErr_SetString(PyExc_RuntimeError, e.what());
  }
}

}  // namespace wengert::bindings
