// The cache behind a compiled function: one entry for each kind of arguments that it was recorded with. What may run
// when, and change what, is not its business (engine/turns.h).
#pragma once
#include <memory>
#include <vector>

#include "bindings/structure.h"
#include "engine/program.h"

namespace wengert::bindings {

// A module that a recording asked whether it is in training mode, and what it said. Held weakly, for a module may hold
// the compiled function in turn.
struct Mode {
  py::weakref module;
  py::object training;
  bool holds() const;
};

struct Entry {
  std::vector<Signature> arguments;
  py::object names;  // of the keyword arguments, a tuple or None
  bool grad_enabled = true;
  std::vector<Mode> modes;
  Signature results;
  std::shared_ptr<engine::Program> program;
};

struct State {
  py::object function;
  std::vector<std::shared_ptr<const Entry>> entries;  // the latest used first; a call keeps its own alive
  std::size_t limit;
  bool method = false;     // the first argument is `self`, who holds this function: not a part of the key
  bool recording = false;  // the function runs to be recorded
};

struct PyCompiled {
  PyObject_HEAD vectorcallfunc vectorcall;
  State* state;
};
State& state_of(const py::object& compiled);

// As vectorcall has it.
struct CallArguments {
  PyObject* const* all;
  Py_ssize_t n_positional;
  PyObject* names;  // of those that follow; null if there are none
  Py_ssize_t size() const { return n_positional + (names ? PyTuple_GET_SIZE(names) : 0); }
};

// The entry for these arguments, moved to the front; null if there is none.
std::shared_ptr<const Entry> find(State& state, const CallArguments& args, Bound& bound);

// Replays, or records. The structure of the results is in the entry.
std::shared_ptr<const Entry> compute(State& state, const CallArguments& args, Bound& bound,
                                     std::vector<Tensor>& results);

Tensor epoch(const py::object& compiled, const std::vector<Tensor>& arrays, const Tensor& order, index_t batch_size,
             const py::object& report, double interval);

}  // namespace wengert::bindings
