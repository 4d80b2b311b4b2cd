// wengert._core: a map of the extension module.
#include <unistd.h>

#include "bindings/bindings.h"
#include "kernels/select.h"

namespace wb = wengert::bindings;

namespace {

void* release_interpreter() { return PyGILState_Check() ? PyEval_SaveThread() : nullptr; }

void acquire_interpreter(void* released) {
  try {
    PyEval_RestoreThread(static_cast<PyThreadState*>(released));
  } catch (...) {
    // The interpreter is gone and ends its threads by unwinding them (no exception of C++), which frames with a
    // `noexcept` turn into an abort. Later Pythons let them hang, and so do we.
    while (true) ::pause();
  }
}

void look_for_signals() {
  if (PyGILState_Check() && PyErr_CheckSignals()) throw pybind11::error_already_set();
}

}  // namespace

PYBIND11_MODULE(_core, m) {
  wengert::kernels::check_isa();
  m.doc() = "The engine of wengert. Use the wengert package instead.";
  m.attr("version") = WENGERT_VERSION;

  pybind11::register_exception_translator([](std::exception_ptr p) {
    try {
      if (p) std::rethrow_exception(p);
    } catch (const wb::Inconvertible& e) {
      wb::set_error(e);
    } catch (const wengert::TypeError& e) {
      PyErr_SetString(PyExc_TypeError, e.what());
    }
  });

  wb::look_up_numpy();
  m.attr("TensorBase") = pybind11::handle(reinterpret_cast<PyObject*>(wb::make_tensor_type()));
  m.def("set_tensor_type", [](pybind11::type t) { wb::set_tensor_type(reinterpret_cast<PyTypeObject*>(t.ptr())); });
  m.def("set_getitem", [](pybind11::function f) { wb::set_getitem(f.ptr()); });

  wengert::engine::interpreter_lock = {release_interpreter, acquire_interpreter, look_for_signals};

  wb::bind_elementwise(m);
  wb::bind_functions(m);
  wb::bind_autodiff(m);
  wb::bind_primitive(m);
  wb::bind_compile(m);
  wb::bind_plan(m);
  wb::bind_kernels(m);
  wb::bind_refusals(m);
}
