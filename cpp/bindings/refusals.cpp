// Refusals in words. pybind11 answers an argument of a wrong type with a dump of C++ signatures. All its functions have
// one entry, the dispatcher; here it is replaced by one that has such an answer reworded. Nothing is added to a call
// that succeeds. The words themselves are in python/wengert/_refusals.py.
#include "bindings/bindings.h"

namespace wengert::bindings {
namespace {

using Dispatcher = PyObject* (*)(PyObject*, PyObject* const*, Py_ssize_t, PyObject*);
Dispatcher dispatcher = nullptr;  // pybind11's

py::module_ words() { return py::module_::import("wengert._refusals"); }

PyObject* dispatch_in_words(PyObject* self, PyObject* const* args, Py_ssize_t n, PyObject* names) {
  PyObject* const result = dispatcher(self, args, n, names);
  if (result || !PyErr_ExceptionMatches(PyExc_TypeError)) return result;
  const py::error_already_set refused;
  try {
    py::list given;
    for (Py_ssize_t i = 0; i < n; ++i) given.append(py::handle(args[i]));
    const py::object reworded = words().attr("reworded")(py::str(refused.value()), given);
    if (reworded.is_none())
      py::error_already_set(refused).restore();
    else
      PyErr_SetObject(PyExc_TypeError, reworded.ptr());
  } catch (py::error_already_set& e) {
    e.restore();
  }
  return nullptr;
}

}  // namespace

void set_error(const Inconvertible& e) {
  try {
    PyErr_SetObject(PyExc_TypeError, py::object(words().attr("named")(e.what(), e.object)).ptr());
  } catch (py::error_already_set& other) {
    other.restore();
  }
}

void bind_refusals(py::module_& m) {
  for (const auto& [name, f] : m.attr("__dict__").cast<py::dict>()) {
    if (!PyCFunction_Check(f.ptr())) continue;
    PyMethodDef* const def = reinterpret_cast<PyCFunctionObject*>(f.ptr())->m_ml;
    if (def->ml_flags != (METH_FASTCALL | METH_KEYWORDS)) continue;
    dispatcher = reinterpret_cast<Dispatcher>(reinterpret_cast<void (*)()>(def->ml_meth));
    def->ml_meth = reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(dispatch_in_words));
  }
}

}  // namespace wengert::bindings
