// wg.compile: a callable that records a Python function once per kind of arguments and replays it.
//
// The common case, a call like an earlier one, must cost less than a microsecond, so it is a hand-written type: the
// arguments are compared with the signature of each program, their pointers handed over, and the results wrapped.
#include "bindings/compiled.h"

#include <pybind11/stl.h>
#include <structmember.h>

#include <cstddef>

#include "bindings/bindings.h"

namespace wengert::bindings {
namespace {

// What else a recording depends on: gradient mode, and which modules are in training mode.
std::uint64_t& module_modes() {
  static std::uint64_t modes = 0;
  return modes;
}

PyObject* wrap_results(const Signature& s, std::vector<Tensor>& results) {
  if (s.kind == Signature::array) return wrap(std::move(results[0]));
  std::size_t i = 0;
  return rebuild(s, [&] { return py::reinterpret_steal<py::object>(wrap(std::move(results[i++]))); }).release().ptr();
}

// A recording takes the .grad that it finds at its end for its own, so meanwhile no other thread may record, or replay
// what changes leaves.
std::shared_mutex& recordings() {
  static std::shared_mutex mutex;
  return mutex;
}

// Who waits for a lock must not hold the interpreter, which the lock's present owner needs to finish.
template <class Lock>
Lock locked(typename Lock::mutex_type& mutex) {
  Lock lock(mutex, std::try_to_lock);
  if (!lock) {
    const engine::Unlocked unlocked;
    lock.lock();
  }
  return lock;
}

}  // namespace

PyObject* record(State& state, PyObject* const* args, Py_ssize_t n, PyObject* names) {
  if (state.entries.size() >= state.limit) {
    std::string seen;
    for (std::size_t i = 0; i < std::min<std::size_t>(3, state.entries.size()); ++i) {
      seen += "\n  ";
      for (const Signature& s : state.entries[i]->arguments) seen += str(s) + " ";
    }
    throw std::runtime_error("compile: recorded " + std::to_string(state.limit) +
                             " times already, because its arguments keep changing; pass what changes as arrays of a "
                             "fixed shape (a Python number is frozen into the recording), or raise limit=. Latest:" +
                             seen);
  }
  const auto recorded = std::make_shared<Entry>();
  Entry& entry = *recorded;
  entry.names = names ? py::reinterpret_borrow<py::object>(names) : py::none();
  entry.grad_enabled = engine::thread_state().grad_enabled;
  entry.modes = module_modes();
  engine::Recording recording;
  std::vector<Tensor> stand_ins;
  std::vector<py::object> replaced;
  const Py_ssize_t n_names = names ? PyTuple_GET_SIZE(names) : 0;
  for (Py_ssize_t i = 0; i < n + n_names; ++i) {
    const std::size_t first = stand_ins.size();
    entry.arguments.push_back(describe(args[i], [&](PyObject* o) {
      stand_ins.push_back(engine::argument_node(to_tensor(o)));
      return stand_ins.back();
    }));
    std::size_t at = first;
    replaced.push_back(
        rebuild(entry.arguments.back(), [&] { return py::reinterpret_steal<py::object>(wrap(stand_ins[at++])); }));
  }
  std::vector<PyObject*> raw;
  for (py::object& o : replaced) raw.push_back(o.ptr());
  py::object out = py::reinterpret_steal<py::object>(
      PyObject_Vectorcall(state.function.ptr(), raw.data(), static_cast<std::size_t>(n), names));
  if (!out) throw py::error_already_set();
  std::vector<Tensor> results;
  entry.results = describe(out.ptr(), [&](PyObject* o) {
    results.push_back(to_tensor(o));
    return results.back();
  });
  entry.program = recording.freeze(stand_ins, results);
  state.entries.insert(state.entries.begin(), recorded);
  return wrap_results(entry.results, results);
}

namespace {

// How many replays this thread is in: a primitive in one may call another compiled function.
thread_local int replays_here = 0;

}  // namespace

Turn::Turn(State& state, engine::Program& program) {
  if (program.changes_leaves() && !replays_here)
    no_recording_ = locked<std::shared_lock<std::shared_mutex>>(recordings());
  program_ = locked<std::unique_lock<std::mutex>>(program.changes_leaves() ? state.writing : program.lock);
  ++replays_here;
}
Turn::~Turn() { --replays_here; }

std::unique_lock<std::shared_mutex> alone() {
  return replays_here ? std::unique_lock<std::shared_mutex>()
                      : locked<std::unique_lock<std::shared_mutex>>(recordings());
}

namespace {
bool is_recorded_result(PyObject* o) {
  return is_tensor(o) && static_cast<engine::Node*>(reinterpret_cast<PyTensor*>(o)->value)->op &&
         reinterpret_cast<PyTensor*>(o)->value->requires_grad;
}

}  // namespace

std::shared_ptr<const Entry> find(State& state, PyObject* const* args, Py_ssize_t n_all, PyObject* names,
                                  Bound& bound) {
  for (std::size_t e = 0; e < state.entries.size(); ++e) {
    const Entry& entry = *state.entries[e];
    if (entry.grad_enabled != engine::thread_state().grad_enabled || entry.modes != module_modes() ||
        static_cast<Py_ssize_t>(entry.arguments.size()) != n_all)
      continue;
    if (names ? entry.names.is_none() || !entry.names.equal(py::handle(names)) : !entry.names.is_none()) continue;
    bound.clear();
    bool same = true;
    for (Py_ssize_t i = 0; i < n_all && same; ++i)
      same = matches(entry.arguments[static_cast<std::size_t>(i)], args[i], bound);
    if (!same || !entry.program->applies()) continue;
    const auto at = state.entries.begin() + static_cast<std::ptrdiff_t>(e);
    if (e) std::rotate(state.entries.begin(), at, at + 1);
    return state.entries.front();
  }
  return nullptr;
}

namespace {

PyObject* call(PyObject* self, PyObject* const* args, std::size_t nargsf, PyObject* names) {
  try {
    const auto n = static_cast<Py_ssize_t>(PyVectorcall_NARGS(nargsf));
    const Py_ssize_t n_all = n + (names ? PyTuple_GET_SIZE(names) : 0);
    State& state = *reinterpret_cast<PyCompiled*>(self)->state;
    // Inside another recording or a transform it is the plain function.
    const engine::ThreadState& thread = engine::thread_state();
    bool plain = thread.tape && thread.tape->compiling;
    for (Py_ssize_t i = 0; i < n_all && !plain; ++i) plain = is_recorded_result(args[i]);
    if (plain) return PyObject_Vectorcall(state.function.ptr(), args, nargsf, names);

    Bound bound;
    std::vector<Tensor> results;
    for (;;) {
      while (const auto entry = find(state, args, n_all, names, bound)) {
        {
          const Turn turn(state, *entry->program);
          if (!entry->program->applies()) continue;  // while we waited, another thread has left or taken a .grad
          entry->program->run(bound.pointers.data(), results);
        }
        return wrap_results(entry->results, results);
      }
      const auto right = alone();
      // While we waited, another thread may have recorded the same.
      if (!find(state, args, n_all, names, bound)) return record(state, args, n, names);
    }
  } catch (...) {
    translate_exception();
    return nullptr;
  }
}

void dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  delete reinterpret_cast<PyCompiled*>(self)->state;
  type->tp_free(self);
  Py_DECREF(type);
}

PyMemberDef members[] = {{"__vectorcalloffset__", T_PYSSIZET, offsetof(PyCompiled, vectorcall), READONLY, nullptr},
                         {nullptr, 0, 0, 0, nullptr}};

PyTypeObject* make_compiled_type() {
  static PyType_Slot slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
                                {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
                                {Py_tp_members, members},
                                {0, nullptr}};
  static PyType_Spec spec = {
      "wengert._core.CompiledBase", sizeof(PyCompiled), 0,
      Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
  auto* type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&spec));
  if (!type) throw py::error_already_set();
  return type;
}

State& state_of(const py::object& compiled) { return *reinterpret_cast<PyCompiled*>(compiled.ptr())->state; }

py::dict stats_of(const Entry& e) {
  const engine::ProgramStats& s = e.program->stats();
  std::string arguments;
  for (const Signature& a : e.arguments) arguments += (arguments.empty() ? "" : ", ") + str(a);
  py::dict d;
  d["arguments"] = arguments;
  d["recorded"] = s.recorded;
  d["dead"] = s.dead;
  d["merged"] = s.merged;
  d["folded"] = s.folded;
  d["epilogues"] = s.epilogues;
  d["fused"] = s.fused;
  d["in_place"] = s.in_place;
  d["steps"] = s.steps;
  d["arena_bytes"] = s.arena_bytes;
  d["replays"] = s.replays;
  return d;
}

}  // namespace

void bind_compile(py::module_& m) {
  static PyTypeObject* const type = make_compiled_type();
  m.attr("CompiledBase") = py::handle(reinterpret_cast<PyObject*>(type));
  // Python before 3.12 does not pass the fast way of calling on to derived classes.
  m.def("set_compiled_type",
        [](py::type t) { reinterpret_cast<PyTypeObject*>(t.ptr())->tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL; });
  m.def("compiled", [](py::type derived, py::object function, std::size_t limit) {
    auto* const of = reinterpret_cast<PyTypeObject*>(derived.ptr());
    auto* self = reinterpret_cast<PyCompiled*>(of->tp_alloc(of, 0));
    if (!self) throw py::error_already_set();
    self->vectorcall = call;
    self->state = new State{std::move(function), {}, limit};
    return py::reinterpret_steal<py::object>(reinterpret_cast<PyObject*>(self));
  });
  m.def("compiled_stats", [](const py::object& compiled) {
    py::list all;
    for (const auto& e : state_of(compiled).entries) all.append(stats_of(*e));
    return all;
  });
  m.def("compiled_epoch", epoch);
  // The leaves that replays change.
  m.def("compiled_written", [](const py::object& compiled) {
    std::vector<Tensor> all;
    for (const auto& e : state_of(compiled).entries)
      for (const Tensor& t : e->program->written()) all.push_back(t);
    return all;
  });
  m.def("compiled_str", [](const py::object& compiled) {
    std::string s;
    for (const auto& e : state_of(compiled).entries) {
      s += "for";
      for (const Signature& a : e->arguments) s += " " + str(a);
      s += ":\n" + e->program->str();
    }
    return s;
  });
  // Times each step of the program that these arguments select, as (step, seconds, flops, bytes).
  m.def("compiled_profile", [](const py::object& compiled, const py::tuple& args, int repeats) {
    Bound bound;
    State& state = state_of(compiled);
    for (const auto& e : std::vector(state.entries)) {
      bound.clear();
      bool same = e->arguments.size() == args.size();
      for (std::size_t i = 0; i < args.size() && same; ++i)
        same = matches(e->arguments[i], py::object(args[i]).ptr(), bound);
      if (!same) continue;
      py::list rows;
      const Turn turn(state, *e->program);
      for (const engine::StepProfile& p : e->program->profile(bound.pointers.data(), repeats))
        rows.append(py::make_tuple(p.what, p.seconds, p.flops, p.bytes));
      return rows;
    }
    throw std::invalid_argument(
        "profile: nothing was recorded yet for such arguments; call the compiled function first");
  });
  m.def("recording", [] { return engine::thread_state().tape && engine::thread_state().tape->compiling; });
  m.def("flip_module_mode", [](std::uint64_t key) { module_modes() ^= key; });
}

}  // namespace wengert::bindings
