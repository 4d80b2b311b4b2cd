// The parts of the extension module.
#pragma once
#include "bindings/tensor_type.h"

namespace wengert::bindings {
void set_error(const Inconvertible& e);  // the Python exception for it, which names function and argument
void bind_elementwise(py::module_& m);   // one function per line of the page of derivatives, and the op table
void bind_functions(py::module_& m);     // matmul, reductions, shapes, indexing
void bind_autodiff(py::module_& m);      // sweeps, tapes, updates in place
void bind_primitive(py::module_& m);     // ops written in Python
void bind_compile(py::module_& m);       // recordings to replay
void bind_plan(py::module_& m);          // the planner's passes, one by one
PyObject* python_of(const Attrs* a);     // what a primitive keeps there; null if these are not a primitive's
void bind_kernels(py::module_& m);       // single kernels of a chosen ISA, for tests and benchmarks
void bind_refusals(py::module_& m);      // last: refusals of arguments by all the above, in words
}  // namespace wengert::bindings
