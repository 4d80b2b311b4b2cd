#include "bindings/structure.h"

#include <pybind11/numpy.h>

namespace wengert::bindings {
namespace {

// A NumPy array, NumPy scalar or tensor: what becomes an argument of the program.
bool is_array(PyObject* o) {
  static auto* const generic =
      reinterpret_cast<PyTypeObject*>(py::object(py::module_::import("numpy").attr("generic")).release().ptr());
  return is_tensor(o) || py::isinstance<py::array>(o) || PyObject_TypeCheck(o, generic);
}

bool same_value(PyObject* a, PyObject* b) {
  if (a == b) return true;
  if (Py_TYPE(a) != Py_TYPE(b)) return false;
  const bool plain = PyFloat_CheckExact(a) || PyLong_CheckExact(a) || PyUnicode_CheckExact(a) || PyBytes_CheckExact(a);
  if (!plain) return false;
  const int same = PyObject_RichCompareBool(a, b, Py_EQ);
  if (same < 0) throw py::error_already_set();
  return same == 1;
}

}  // namespace

Signature describe(PyObject* o, const std::function<Tensor(PyObject*)>& visit) {
  Signature s;
  if (is_array(o)) {
    const Tensor t = visit(o);
    s.kind = Signature::array;
    s.dtype = t.dtype();
    s.shape = t.shape();
  } else if (PyTuple_Check(o) || PyList_Check(o)) {
    s.kind = Signature::sequence;
    s.object = py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(Py_TYPE(o)));
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(o); ++i)
      s.parts.push_back(describe(PySequence_Fast_GET_ITEM(o, i), visit));
  } else if (PyDict_CheckExact(o)) {
    s.kind = Signature::dict;
    py::list keys;
    for (auto [key, item] : py::reinterpret_borrow<py::dict>(o)) {
      keys.append(key);
      s.parts.push_back(describe(item.ptr(), visit));
    }
    s.object = std::move(keys);
  } else {
    s.object = py::reinterpret_borrow<py::object>(o);
  }
  return s;
}

py::object rebuild(const Signature& s, const std::function<py::object()>& next) {
  switch (s.kind) {
    case Signature::array:
      return next();
    case Signature::sequence: {
      if (s.object.ptr() == reinterpret_cast<PyObject*>(&PyTuple_Type)) {
        py::tuple t(s.parts.size());
        for (std::size_t i = 0; i < s.parts.size(); ++i)
          PyTuple_SET_ITEM(t.ptr(), static_cast<Py_ssize_t>(i), rebuild(s.parts[i], next).release().ptr());
        return t;
      }
      py::list items;
      for (const Signature& p : s.parts) items.append(rebuild(p, next));
      if (s.object.ptr() == reinterpret_cast<PyObject*>(&PyList_Type)) return items;
      if (py::hasattr(s.object, "_fields")) return s.object(*py::tuple(items));  // a named tuple
      return s.object(items);
    }
    case Signature::dict: {
      py::dict d;
      std::size_t i = 0;
      for (py::handle key : s.object) d[key] = rebuild(s.parts[i++], next);
      return d;
    }
    default:
      return s.object;
  }
}

bool matches(const Signature& s, PyObject* o, Bound& bound) {
  switch (s.kind) {
    case Signature::array: {
      if (is_tensor(o)) {
        const Value* v = reinterpret_cast<PyTensor*>(o)->value;
        if (v->dtype != s.dtype || !(v->shape == s.shape)) return false;
        bound.pointers.push_back(v->data);
        bound.readers.add(static_cast<const engine::Node*>(v)->buffer);
        return true;
      }
      if (!is_array(o)) return false;
      if (py::isinstance<py::array>(o)) {
        const auto* a = py::detail::array_proxy(o);
        if (a->nd != s.shape.ndim()) return false;
        for (int i = 0; i < a->nd; ++i)
          if (a->dimensions[i] != s.shape[i]) return false;
        if (a->descr == numpy_dtype(s.dtype).ptr() && a->flags & py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_ &&
            a->flags & py::detail::npy_api::NPY_ARRAY_ALIGNED_) {
          bound.pointers.push_back(a->data);
          return true;
        }
      }
      Tensor t = to_tensor(o);  // other strides, byte orders or integer widths
      if (t.dtype() != s.dtype || !(t.shape() == s.shape)) return false;
      bound.pointers.push_back(t.get()->data);
      bound.converted.push_back(std::move(t));
      return true;
    }
    case Signature::sequence:
      if (reinterpret_cast<PyObject*>(Py_TYPE(o)) != s.object.ptr() ||
          PySequence_Fast_GET_SIZE(o) != static_cast<Py_ssize_t>(s.parts.size()))
        return false;
      for (std::size_t i = 0; i < s.parts.size(); ++i)
        if (!matches(s.parts[i], PySequence_Fast_GET_ITEM(o, static_cast<Py_ssize_t>(i)), bound)) return false;
      return true;
    case Signature::dict: {
      if (!PyDict_CheckExact(o) || PyDict_Size(o) != static_cast<Py_ssize_t>(s.parts.size())) return false;
      PyObject *key, *item;
      Py_ssize_t at = 0;
      for (std::size_t i = 0; PyDict_Next(o, &at, &key, &item); ++i)
        if (!same_value(key, PyList_GET_ITEM(s.object.ptr(), static_cast<Py_ssize_t>(i))) ||
            !matches(s.parts[i], item, bound))
          return false;
      return true;
    }
    default:
      return !is_array(o) && same_value(s.object.ptr(), o);
  }
}

std::string str(const Signature& s) {
  if (s.kind == Signature::array) return std::string(name_of(s.dtype)) + s.shape.str();
  if (s.kind == Signature::value) return py::repr(s.object).cast<std::string>();
  std::string text = s.kind == Signature::dict ? "{" : "(";
  for (std::size_t i = 0; i < s.parts.size(); ++i)
    text += (i ? ", " : "") +
            (s.kind == Signature::dict ? py::repr(py::list(s.object)[i]).cast<std::string>() + ": " : "") +
            str(s.parts[i]);
  return text + (s.kind == Signature::dict ? "}" : ")");
}

}  // namespace wengert::bindings
