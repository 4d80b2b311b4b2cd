#include "bindings/structure.h"

#include <pybind11/numpy.h>

#include <bit>
#include <cstdint>

namespace wengert::bindings {
namespace {

constexpr int deepest = 100;

// A NumPy array, NumPy scalar or tensor: what becomes an argument of the program.
bool is_array(PyObject* o) { return is_tensor(o) || py::isinstance<py::array>(o) || is_numpy_scalar(o); }

bool same_bits(double x, double y) { return std::bit_cast<std::uint64_t>(x) == std::bit_cast<std::uint64_t>(y); }

}  // namespace

bool same_value(PyObject* a, PyObject* b) {
  if (a == b) return true;
  if (Py_TYPE(a) != Py_TYPE(b)) return false;
  // Not by ==, for which 0.0 is -0.0 and no NaN is itself.
  if (PyFloat_CheckExact(a)) return same_bits(PyFloat_AS_DOUBLE(a), PyFloat_AS_DOUBLE(b));
  if (PyComplex_CheckExact(a)) {
    const Py_complex x = PyComplex_AsCComplex(a), y = PyComplex_AsCComplex(b);
    return same_bits(x.real, y.real) && same_bits(x.imag, y.imag);
  }
  if (PyTuple_CheckExact(a)) {
    if (PyTuple_GET_SIZE(a) != PyTuple_GET_SIZE(b)) return false;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(a); ++i)
      if (!same_value(PyTuple_GET_ITEM(a, i), PyTuple_GET_ITEM(b, i))) return false;
    return true;
  }
  if (PySlice_Check(a)) {
    const auto *x = reinterpret_cast<PySliceObject*>(a), *y = reinterpret_cast<PySliceObject*>(b);
    return same_value(x->start, y->start) && same_value(x->stop, y->stop) && same_value(x->step, y->step);
  }
  if (!PyLong_CheckExact(a) && !PyUnicode_CheckExact(a) && !PyBytes_CheckExact(a)) return false;
  const int same = PyObject_RichCompareBool(a, b, Py_EQ);
  if (same < 0) throw py::error_already_set();
  return same == 1;
}

int Signature::traverse(visitproc visit, void* arg) const {
  Py_VISIT(object.ptr());
  for (const Signature& p : parts)
    if (const int stop = p.traverse(visit, arg)) return stop;
  return 0;
}

Signature describe(const char* what, PyObject* o, const std::function<Tensor(PyObject*)>& visit, int depth) {
  if (depth > deepest)
    throw std::invalid_argument(std::string("compile: the ") + what + " are nested more than " +
                                std::to_string(deepest) + " deep, or contain themselves");
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
      s.parts.push_back(describe(what, PySequence_Fast_GET_ITEM(o, i), visit, depth + 1));
  } else if (PyDict_CheckExact(o)) {
    s.kind = Signature::dict;
    py::list keys;
    for (auto [key, item] : py::reinterpret_borrow<py::dict>(o)) {
      keys.append(key);
      s.parts.push_back(describe(what, item.ptr(), visit, depth + 1));
    }
    s.object = std::move(keys);
  } else {
    s.object = py::reinterpret_borrow<py::object>(o);
  }
  return s;
}

bool holds_recorded_result(PyObject* o, int depth) {
  if (is_tensor(o)) {
    const auto* n = static_cast<const engine::Node*>(reinterpret_cast<PyTensor*>(o)->value);
    return n->op && n->requires_grad;
  }
  if (depth > deepest) return false;  // `describe` will say so
  if (PyTuple_Check(o) || PyList_Check(o)) {
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(o); ++i)
      if (holds_recorded_result(PySequence_Fast_GET_ITEM(o, i), depth + 1)) return true;
  } else if (PyDict_CheckExact(o)) {
    PyObject *key, *item;
    for (Py_ssize_t at = 0; PyDict_Next(o, &at, &key, &item);)
      if (holds_recorded_result(item, depth + 1)) return true;
  }
  return false;
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

void Bound::convert() {
  for (auto& [k, o] : to_convert) {
    converted.push_back(to_tensor(o.ptr()));
    arguments[k] = {engine::node(converted.back()), nullptr};
  }
}

bool matches(const Signature& s, PyObject* o, Bound& bound) {
  switch (s.kind) {
    case Signature::array: {
      if (is_tensor(o)) {
        auto* n = static_cast<engine::Node*>(reinterpret_cast<PyTensor*>(o)->value);
        if (n->dtype != s.dtype || !(n->shape == s.shape)) return false;
        if (n->turned) engine::lay_out(n);
        bound.arguments.push_back({n, nullptr});
        return true;
      }
      if (py::isinstance<py::array>(o)) {
        const auto* a = py::detail::array_proxy(o);
        if (a->nd != s.shape.ndim()) return false;
        for (int i = 0; i < a->nd; ++i)
          if (a->dimensions[i] != s.shape[i]) return false;
        const bool direct = a->descr == numpy_dtype(s.dtype).ptr() &&
                            a->flags & py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_ &&
                            a->flags & py::detail::npy_api::NPY_ARRAY_ALIGNED_;
        if (!direct && dtype_of_array(o) != s.dtype) return false;
        if (!direct) bound.to_convert.emplace_back(bound.arguments.size(), py::reinterpret_borrow<py::object>(o));
        bound.arguments.push_back({nullptr, direct ? a->data : nullptr});
        return true;
      }
      if (s.shape.ndim() != 0 || !is_numpy_scalar(o) || dtype_of_array(o) != s.dtype) return false;
      bound.to_convert.emplace_back(bound.arguments.size(), py::reinterpret_borrow<py::object>(o));
      bound.arguments.push_back({nullptr, nullptr});
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
