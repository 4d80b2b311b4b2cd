// The cache behind a compiled function: one entry for each kind of arguments that it was recorded with.
#pragma once
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <vector>

#include "bindings/structure.h"
#include "engine/program.h"

namespace wengert::bindings {

struct Entry {
  std::vector<Signature> arguments;
  py::object names;  // of the keyword arguments, a tuple or None
  bool grad_enabled;
  std::uint64_t modes;
  Signature results;
  std::shared_ptr<engine::Program> program;
};

struct State {
  py::object function;
  std::vector<std::shared_ptr<const Entry>> entries;  // the latest used first; a call keeps its own alive
  std::size_t limit;
  std::mutex writing{};  // what changes leaves runs one after the other, for they may be the same
};

struct PyCompiled {
  PyObject_HEAD vectorcallfunc vectorcall;
  State* state;
};

// The right to replay.
class Turn {
 public:
  Turn(State& state, engine::Program& program);
  ~Turn();
  Turn(const Turn&) = delete;

 private:
  std::shared_lock<std::shared_mutex> no_recording_;
  std::unique_lock<std::mutex> program_;
};

// The right to record.
std::unique_lock<std::shared_mutex> alone();

// The entry for these arguments, moved to the front; null if there is none.
std::shared_ptr<const Entry> find(State& state, PyObject* const* args, Py_ssize_t n_all, PyObject* names, Bound& bound);

PyObject* record(State& state, PyObject* const* args, Py_ssize_t n, PyObject* names);

Tensor epoch(const py::object& compiled, const std::vector<Tensor>& arrays, const Tensor& order, index_t batch_size,
             const py::object& report, double interval);

}  // namespace wengert::bindings
