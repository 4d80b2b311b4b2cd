// Between NumPy and tensors.
#include <pybind11/numpy.h>

#include <cstring>

#include "bindings/tensor_type.h"

namespace wengert::bindings {

py::object numpy_dtype(DType t) {
  static PyObject* const all[] = {py::dtype::of<float>().release().ptr(), py::dtype::of<double>().release().ptr(),
                                  py::dtype::of<index_t>().release().ptr(), py::dtype::of<bool>().release().ptr()};
  return py::reinterpret_borrow<py::object>(all[static_cast<int>(t)]);
}

namespace {
// The element type that stands for a NumPy dtype: whole numbers of any width become int64.
DType dtype_of_numpy(const py::dtype& d) {
  const char kind = d.kind();
  if (kind == 'f' && d.itemsize() == 4) return DType::f32;
  if (kind == 'f' && d.itemsize() == 8) return DType::f64;
  if (kind == 'i' || kind == 'u') return DType::i64;
  if (kind == 'b') return DType::b8;
  throw TypeError("arrays of dtype " + std::string(py::str(d)) +
                  " are not supported: use float32 or float64 (or integers and booleans for labels and masks)");
}

void let_go(void* owner) {
  py::gil_scoped_acquire gil;
  Py_DECREF(static_cast<PyObject*>(owner));
}

Tensor from_array(py::array a, bool borrow) {
  const DType dtype = dtype_of_numpy(a.dtype());
  py::object want = numpy_dtype(dtype);
  std::vector<index_t> dims(a.shape(), a.shape() + a.ndim());
  const bool direct = a.dtype().is(want) && (a.flags() & py::array::c_style) &&
                      reinterpret_cast<std::uintptr_t>(a.data()) % static_cast<std::size_t>(size_of(dtype)) == 0;
  if (!direct) {
    static PyObject* ascontiguous = py::object(py::module_::import("numpy").attr("ascontiguousarray")).release().ptr();
    const auto ndim = a.ndim();
    a = py::reinterpret_borrow<py::object>(ascontiguous)(a, want);
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

DType dtype_from_python(py::handle dtype) {
  const py::dtype d = py::dtype::from_args(py::reinterpret_borrow<py::object>(dtype));
  const DType t = dtype_of_numpy(d);
  if (!d.is(numpy_dtype(t)) && size_of(t) != d.itemsize())
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
  static PyObject* asarray = py::object(py::module_::import("numpy").attr("asarray")).release().ptr();
  py::array a = py::reinterpret_borrow<py::object>(asarray)(py::handle(o));
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

py::object to_numpy(const Tensor& t) {
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
