// The Python type of tensors: a hand-written heap type, because operators through pybind11 cost several times an
// addition of eight floats. pybind11 binds all the rest, through the caster below.
#pragma once
#include <pybind11/pybind11.h>

#include "engine/node.h"
#include "ops/map.h"

namespace wengert::bindings {

namespace py = pybind11;

struct PyTensor {
  PyObject_HEAD Value* value;
};

PyTypeObject* make_tensor_type();          // wengert._core.TensorBase, once
void set_tensor_type(PyTypeObject* type);  // results are of this type: the Python class derived from TensorBase
bool is_tensor(PyObject* o);
PyObject* wrap(Tensor t);  // a new reference
inline Tensor unwrap(PyObject* o) { return engine::handle(reinterpret_cast<PyTensor*>(o)->value); }

// What cannot become a tensor, and why, as what is said of the object ("is a dict, not ..."): the message can then name
// the argument that holds it.
struct Inconvertible : TypeError {
  py::object object;
  Inconvertible(PyObject* o, const std::string& why) : TypeError(why), object(py::reinterpret_borrow<py::object>(o)) {}
};

// Numbers, nested lists, whatever becomes a NumPy array (by __array__, __dlpack__, the buffer or array interface), and
// tensors themselves. Arrays are copied unless `borrow`. Throws Inconvertible for what is not numeric.
Tensor to_tensor(PyObject* o, bool borrow = false);
// The same for operands of operators: false if it is nothing that a tensor can be combined with.
bool to_operand(PyObject* o, Tensor& out);
py::object to_numpy(const Tensor& t);  // a read-only view
py::object numpy_dtype(DType t);
bool is_numpy_scalar(PyObject* o);
DType dtype_of_array(py::handle array);     // of the tensor that an array or NumPy scalar becomes
void look_up_numpy();                       // what the above need, when the module is imported
DType dtype_from_python(py::handle dtype);  // anything that numpy.dtype accepts

// Sizes or axes, of argument `what`: an integer of Python's or NumPy's, or a sequence of them.
std::vector<index_t> integers(const char* op, const char* what, PyObject* o);
bool flag(const char* op, const char* what, PyObject* o);  // True or False, and nothing that merely counts as one

// x[key] for all keys but those of integers, slices, None and ...: a Python function.
void set_getitem(PyObject* function);

// One elementwise function on Python operands; whole-number arrays go to NumPy.
PyObject* call_elementwise(const Elementwise& op, PyObject* const* args);
// NumPy's function of that name on whole numbers and booleans, which are constants; `in` are `args` as tensors.
PyObject* call_numpy(const char* name, const Tensor* in, PyObject* const* args, int n);

// Sets the Python error for the C++ exception in flight.
void translate_exception() noexcept;

// Inside wg.grad and friends, taking a number out of a tensor that is being differentiated would cut the gradient.
void refuse_escape(const Tensor& t, const char* how);

}  // namespace wengert::bindings

namespace pybind11::detail {
template <>
struct type_caster<wengert::Tensor> {
  PYBIND11_TYPE_CASTER(wengert::Tensor, const_name("Tensor"));
  bool load(handle src, bool) {
    if (wengert::bindings::is_tensor(src.ptr())) {
      value = wengert::bindings::unwrap(src.ptr());
      return true;
    }
    if (src.is_none()) return false;
    value = wengert::bindings::to_tensor(src.ptr());
    return true;
  }
  static handle cast(wengert::Tensor t, return_value_policy, handle) { return wengert::bindings::wrap(std::move(t)); }
};
}  // namespace pybind11::detail
