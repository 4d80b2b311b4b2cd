// Between NumPy and tensors. This is the one place that decides what counts as an array: nothing is wrapped around,
// dropped or cut from the tape on the way; what would be is refused, with the way out.
#include <pybind11/numpy.h>

#include <cstring>
#include <limits>
#include <memory>
#include <optional>

#include "bindings/tensor_type.h"
#include "engine/turns.h"

namespace wengert::bindings {

namespace {
// Looked up once and for all, when the module is imported: a static initialised by a call of Python would wait for the
// interpreter while others wait for the static.
struct {
  PyObject *dtypes[4], *asarray, *ascontiguousarray, *from_dlpack;
  PyTypeObject *generic, *boolean;
} numpy;

// The element type that stands for a NumPy dtype: whole numbers of any width become int64.
std::optional<DType> element_type(const py::dtype& d) {
  const char kind = d.kind();
  if (kind == 'f' && d.itemsize() == 4) return DType::f32;
  if (kind == 'f' && d.itemsize() == 8) return DType::f64;
  if (kind == 'i' || kind == 'u') return DType::i64;
  if (kind == 'b') return DType::b8;
  return std::nullopt;
}

// What is said of an object of this dtype: why it is no tensor, and what to do instead.
std::string way_out(const py::dtype& d, PyObject* from) {
  const std::string dtype = py::str(d), type = Py_TYPE(from)->tp_name;
  const auto has = [&](const char* way) { return "has dtype " + dtype + ", which tensors do not have: " + way; };
  switch (d.kind()) {
    case 'f':
      return has(d.itemsize() < 4 ? "use x.astype(\"float32\")" : "use x.astype(\"float64\")");
    case 'c':
      return has("take the real and the imaginary part apart, as x.real and x.imag");
    case 'M':
    case 'm':
      return has("make numbers of the times first, as with (x - x[0]) / np.timedelta64(1, \"s\")");
    case 'U':
    case 'S':
    case 'T':
      return has("make numbers of the text first, as with np.asarray(x, dtype=\"float64\")");
    case 'V':
      return has("take one field, as x[\"name\"]");
    default:
      return "is a " + type + ", not an array of numbers (NumPy makes dtype " + dtype +
             " of it): convert it first, as with np.asarray(x, dtype=\"float64\")";
  }
}

bool has(PyObject* o, const char* attribute) { return PyObject_HasAttrString(o, attribute) != 0; }

bool gives_array(PyObject* o) {
  return PyObject_CheckBuffer(o) || has(o, "__array__") || has(o, "__array_interface__") ||
         has(o, "__array_struct__") || has(o, "__dlpack__");
}

bool is_array(PyObject* o) { return py::isinstance<py::array>(o); }

bool is_list(PyObject* o) { return PyList_Check(o) || PyTuple_Check(o); }

void refuse_masked(PyObject* o, PyObject* whole) {
  const auto* const plain = py::detail::npy_api::get().PyArray_Type_;
  if (Py_TYPE(o) != plain && is_array(o) && has(o, "filled") &&
      py::cast<bool>(py::handle(o).attr("mask").attr("any")()))
    throw Inconvertible(
        whole, "has masked entries, which have no value: use x.filled(value), or x.compressed() to leave them out");
}

// What NumPy would take from within a list by value, though it is more: recorded tensors and masked arrays.
void look_into(PyObject* list, PyObject* whole) {
  if (Py_EnterRecursiveCall(" while converting a nested list")) throw py::error_already_set();
  const auto leave = std::unique_ptr<void, void (*)(void*)>(list, [](void*) { Py_LeaveRecursiveCall(); });
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(list); ++i) {
    PyObject* const item = PySequence_Fast_GET_ITEM(list, i);
    if (PyFloat_CheckExact(item) || PyLong_CheckExact(item)) continue;
    if (is_list(item))
      look_into(item, whole);
    else if (!is_tensor(item))
      refuse_masked(item, whole);
    else if (unwrap(item).requires_grad())
      throw Inconvertible(whole,
                          "is a list of tensors that require gradients, and would lose them: use wg.stack(list)");
  }
}

// Anything as a NumPy array, sharing its memory where it can. Whatever knows how to become an array does so at once;
// only lists, and other sequences that know nothing of arrays, are looked into. What is commonest is asked for first:
// an attribute that is not there costs as much as a small conversion.
py::array as_array(PyObject* o) {
  const auto by = [](PyObject* convert, py::handle source) -> py::array {
    return py::reinterpret_borrow<py::object>(convert)(source);
  };
  if (is_array(o)) {
    refuse_masked(o, o);
    return py::reinterpret_borrow<py::array>(o);
  }
  if (is_list(o)) {
    look_into(o, o);
    return by(numpy.asarray, o);
  }
  if (PyLong_Check(o) || PyFloat_Check(o) || PyUnicode_Check(o)) return by(numpy.asarray, o);
  if (gives_array(o)) return by(has(o, "__array__") || !has(o, "__dlpack__") ? numpy.asarray : numpy.from_dlpack, o);
  if (PySequence_Check(o) && PySequence_Size(o) >= 0) {
    if (const auto list = py::reinterpret_steal<py::object>(PySequence_List(o))) {
      look_into(list.ptr(), o);
      return by(numpy.asarray, list);
    }
  }
  PyErr_Clear();
  return by(numpy.asarray, o);
}

void let_go(void* owner) {
  py::gil_scoped_acquire gil;
  Py_DECREF(static_cast<PyObject*>(owner));
}

// A recording freezes the arrays that it meets, like all else that is Python's: it copies them.
Tensor from_array(py::array a, bool borrow, PyObject* from) {
  if (const engine::Tape* tape = engine::thread_state().tape; tape && tape->compiling) borrow = false;
  const std::optional<DType> found = element_type(a.dtype());
  if (!found) throw Inconvertible(from, way_out(a.dtype(), from));
  const DType dtype = *found;
  py::object want = numpy_dtype(dtype);
  if (a.dtype().kind() == 'u' && a.itemsize() == 8 && a.size() && py::cast<std::uint64_t>(a.attr("max")()) >> 63)
    throw Inconvertible(from, "has whole numbers of 2**63 and more, which do not fit int64: use x.astype(\"float64\")");
  std::vector<index_t> dims(a.shape(), a.shape() + a.ndim());
  const bool direct = a.dtype().is(want) && (a.flags() & py::array::c_style) &&
                      reinterpret_cast<std::uintptr_t>(a.data()) % static_cast<std::size_t>(size_of(dtype)) == 0;
  if (!direct) {
    const auto ndim = a.ndim();
    a = py::reinterpret_borrow<py::object>(numpy.ascontiguousarray)(a, want);
    if (ndim == 0) a = a.reshape(std::vector<py::ssize_t>{});
  }
  const auto bytes = static_cast<std::size_t>(a.nbytes());
  if (borrow) {
    void* data = const_cast<void*>(a.data());
    Tensor t = engine::create(dtype, Shape(dims), 0);
    engine::Node* n = engine::node(t);
    n->buffer->release();
    n->buffer = engine::Buffer::borrow(data, bytes, let_go, a.release().ptr());
    n->memory = data;
    n->borrowed = true;
    return t;
  }
  Tensor t = empty(dtype, Shape(dims));
  if (bytes) std::memcpy(t.data<void>(), a.data(), bytes);
  return t;
}
}  // namespace

void look_up_numpy() {
  const py::module_ np = py::module_::import("numpy");
  const auto kept = [](py::object o) { return o.release().ptr(); };
  numpy = {{kept(py::dtype::of<float>()), kept(py::dtype::of<double>()), kept(py::dtype::of<index_t>()),
            kept(py::dtype::of<bool>())},
           kept(np.attr("asarray")),
           kept(np.attr("ascontiguousarray")),
           kept(np.attr("from_dlpack")),
           reinterpret_cast<PyTypeObject*>(kept(np.attr("generic"))),
           reinterpret_cast<PyTypeObject*>(kept(np.attr("bool_")))};
}

py::object numpy_dtype(DType t) { return py::reinterpret_borrow<py::object>(numpy.dtypes[static_cast<int>(t)]); }

bool is_numpy_scalar(PyObject* o) { return PyObject_TypeCheck(o, numpy.generic); }

DType dtype_of_array(py::handle array) {
  const py::dtype d = array.attr("dtype");
  if (const std::optional<DType> t = element_type(d)) return *t;
  throw Inconvertible(array.ptr(), way_out(d, array.ptr()));
}

DType dtype_from_python(py::handle dtype) {
  const py::dtype d = py::dtype::from_args(py::reinterpret_borrow<py::object>(dtype));
  const std::optional<DType> t = element_type(d);
  if (!t || d.kind() == 'u' || size_of(*t) != d.itemsize())
    throw TypeError("dtype " + std::string(py::str(d)) + " is not supported: use float32, float64, int64 or bool");
  return *t;
}

Tensor to_tensor(PyObject* o, bool borrow) {
  if (is_tensor(o)) return unwrap(o);
  if (PyFloat_CheckExact(o)) return full(DType::f64, {}, PyFloat_AS_DOUBLE(o));
  return from_array(as_array(o), borrow && !is_list(o), o);
}

bool to_operand(PyObject* o, Tensor& out) {
  if (is_tensor(o)) {
    out = unwrap(o);
  } else if (PyFloat_CheckExact(o)) {
    out = Tensor(PyFloat_AS_DOUBLE(o));
  } else if (PyLong_CheckExact(o)) {
    const double d = PyLong_AsDouble(o);
    if (d == -1 && PyErr_Occurred()) throw py::error_already_set();
    out = Tensor(d);
  } else if (PyBool_Check(o)) {
    out = full(DType::b8, {}, o == Py_True);
  } else if (py::isinstance<py::array>(o) || is_list(o) || PyNumber_Check(o) || gives_array(o)) {
    out = to_tensor(o);
  } else {
    return false;
  }
  return true;
}

std::vector<index_t> integers(const char* op, const char* what, PyObject* o) {
  std::vector<index_t> found;
  const auto add = [&](PyObject* x) {
    py::object i = py::reinterpret_steal<py::object>(PyBool_Check(x) ? nullptr : PyNumber_Index(x));
    if (!i && is_tensor(x)) throw py::error_already_set();
    if (!i) {
      PyErr_Clear();
      throw TypeError(std::string(op) + ": " + what + " must be integers, got " + std::string(py::repr(o)));
    }
    int overflow = 0;
    found.push_back(PyLong_AsLongLongAndOverflow(i.ptr(), &overflow));
    if (overflow)
      throw std::invalid_argument(std::string(op) + ": " + what + ": " + std::string(py::str(i)) +
                                  " does not fit in 64 bits");
  };
  const auto is_number = [](PyObject* x) {  // arrays and tensors have a length unless they are one number
    if (PyTuple_CheckExact(x) || PyList_CheckExact(x)) return false;
    if (PyLong_Check(x) || PyObject_Size(x) < 0) return PyErr_Clear(), true;
    return false;
  };
  if (is_number(o)) {
    add(o);
    return found;
  }
  const py::object items = py::reinterpret_steal<py::object>(PySequence_Fast(o, "not a sequence"));
  if (!items) throw py::error_already_set();
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(items.ptr()); ++i) add(PySequence_Fast_GET_ITEM(items.ptr(), i));
  return found;
}

bool flag(const char* op, const char* what, PyObject* o) {
  if (!PyBool_Check(o) && Py_TYPE(o) != numpy.boolean)
    throw TypeError(std::string(op) + ": " + what + " must be True or False, got " + std::string(py::repr(o)));
  return PyObject_IsTrue(o) == 1;
}

py::object to_numpy(const Tensor& t) {
  engine::settle(t);
  // The array keeps the memory, not the node: what happened to the tensor later does not show.
  void* const data = t.data<void>();
  engine::Buffer* buffer = engine::node(t)->buffer;
  buffer->retain();
  py::capsule base(buffer, [](void* b) { static_cast<engine::Buffer*>(b)->release(); });
  std::vector<py::ssize_t> dims(t.shape().begin(), t.shape().end());
  py::array a(py::reinterpret_borrow<py::dtype>(numpy_dtype(t.dtype())), dims, {}, data, base);
  py::detail::array_proxy(a.ptr())->flags &= ~py::detail::npy_api::NPY_ARRAY_WRITEABLE_;
  return a;
}

}  // namespace wengert::bindings
