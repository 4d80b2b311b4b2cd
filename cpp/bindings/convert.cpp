// Between NumPy and tensors.
#include <pybind11/numpy.h>

#include <cstring>
#include <limits>

#include "bindings/tensor_type.h"
#include "engine/turns.h"

namespace wengert::bindings {

namespace {
// Looked up once and for all, when the module is imported: a static initialised by a call of Python would wait for the
// interpreter while others wait for the static.
struct {
  PyObject *dtypes[4], *asarray, *ascontiguousarray;
  PyTypeObject* generic;
} numpy;

// The element type that stands for a NumPy dtype: whole numbers of any width become int64.
DType dtype_of_numpy(const py::dtype& d) {
  const char kind = d.kind();
  if (kind == 'f' && d.itemsize() == 4) return DType::f32;
  if (kind == 'f' && d.itemsize() == 8) return DType::f64;
  if (kind == 'i' || kind == 'u') return DType::i64;
  if (kind == 'b') return DType::b8;
  std::string way_out = "use float32 or float64 (or integers and booleans for labels and masks)";
  if (kind == 'c') way_out = "compute with x.real and x.imag, two arrays of float64";
  if (kind == 'f') way_out = "use x.astype(np.float32) or x.astype(np.float64)";
  throw TypeError("arrays of dtype " + std::string(py::str(d)) + " are not supported: " + way_out);
}

// Whole numbers must be what they were as int64.
void refuse_beyond_int64(const py::array& a) {
  if (a.dtype().kind() != 'u' || a.itemsize() < 8 || a.size() == 0) return;
  const py::object greatest = a.attr("max")();
  if (greatest > py::int_(std::numeric_limits<index_t>::max()))
    throw TypeError("an array of dtype uint64 holds " + std::string(py::str(greatest)) +
                    ", which int64 does not: use x.astype(np.float64), or numbers below 2**63");
}

void let_go(void* owner) {
  py::gil_scoped_acquire gil;
  Py_DECREF(static_cast<PyObject*>(owner));
}

// A recording freezes the arrays that it meets, like all else that is Python's: it copies them.
Tensor from_array(py::array a, bool borrow) {
  if (const engine::Tape* tape = engine::thread_state().tape; tape && tape->compiling) borrow = false;
  const DType dtype = dtype_of_numpy(a.dtype());
  refuse_beyond_int64(a);
  py::object want = numpy_dtype(dtype);
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
    n->data = data;
    n->borrowed = true;
    return t;
  }
  Tensor t = empty(dtype, Shape(dims));
  if (bytes) std::memcpy(t.get()->data, a.data(), bytes);
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
           reinterpret_cast<PyTypeObject*>(kept(np.attr("generic")))};
}

py::object numpy_dtype(DType t) { return py::reinterpret_borrow<py::object>(numpy.dtypes[static_cast<int>(t)]); }

bool is_numpy_scalar(PyObject* o) { return PyObject_TypeCheck(o, numpy.generic); }

DType dtype_of_array(py::handle array) { return dtype_of_numpy(array.attr("dtype")); }

DType dtype_from_python(py::handle dtype) {
  const py::dtype d = py::dtype::from_args(py::reinterpret_borrow<py::object>(dtype));
  const DType t = dtype_of_numpy(d);
  if (!d.is(numpy_dtype(t)) && (size_of(t) != d.itemsize() || d.kind() == 'u'))
    throw TypeError("dtype " + std::string(py::str(d)) + " is not supported: use float32, float64, int64 or bool");
  return t;
}

Tensor to_tensor(PyObject* o, bool borrow) {
  if (is_tensor(o)) return unwrap(o);
  if (PyFloat_CheckExact(o)) return full(DType::f64, {}, PyFloat_AS_DOUBLE(o));
  const bool is_array = py::isinstance<py::array>(o);
  if (!is_array && PySequence_Check(o) && !PyUnicode_Check(o)) {
    // NumPy would take recorded tensors in a list by value and lose the gradient.
    const Py_ssize_t n = PySequence_Size(o);
    if (n < 0) PyErr_Clear();
    for (Py_ssize_t i = 0; i < n; ++i) {
      py::object item = py::reinterpret_steal<py::object>(PySequence_GetItem(o, i));
      if (!item) throw py::error_already_set();
      if (is_tensor(item.ptr()) && unwrap(item.ptr()).requires_grad())
        throw TypeError("a list of tensors that require gradients does not become a tensor: use wg.stack(list)");
    }
  }
  py::array a = py::reinterpret_borrow<py::object>(numpy.asarray)(py::handle(o));
  return from_array(std::move(a), borrow && is_array);
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
  } else if (py::isinstance<py::array>(o) || PyList_Check(o) || PyTuple_Check(o) || PyNumber_Check(o)) {
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
  static PyObject* numpy_bool = py::object(py::module_::import("numpy").attr("bool_")).release().ptr();
  if (!PyBool_Check(o) && Py_TYPE(o) != reinterpret_cast<PyTypeObject*>(numpy_bool))
    throw TypeError(std::string(op) + ": " + what + " must be True or False, got " + std::string(py::repr(o)));
  return PyObject_IsTrue(o) == 1;
}

py::object to_numpy(const Tensor& t) {
  engine::settle(t);
  // The array keeps the memory, not the node: what happened to the tensor later does not show.
  engine::Buffer* buffer = engine::node(t)->buffer;
  buffer->retain();
  py::capsule base(buffer, [](void* b) { static_cast<engine::Buffer*>(b)->release(); });
  std::vector<py::ssize_t> dims(t.shape().begin(), t.shape().end());
  py::array a(py::reinterpret_borrow<py::dtype>(numpy_dtype(t.dtype())), dims, {}, t.get()->data, base);
  py::detail::array_proxy(a.ptr())->flags &= ~py::detail::npy_api::NPY_ARRAY_WRITEABLE_;
  return a;
}

}  // namespace wengert::bindings
