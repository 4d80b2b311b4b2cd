// wg.compile: a callable that records a Python function once per kind of arguments and replays it.
//
// The common case, a call like an earlier one, must cost less than a microsecond, so it is a hand-written type: the
// arguments are compared with the signature of each program, handed over, and the results wrapped.
#include "bindings/compiled.h"

#include <pybind11/stl.h>
#include <structmember.h>

#include <algorithm>
#include <cstddef>

#include "bindings/bindings.h"
#include "ops/functions.h"

namespace wengert::bindings {
namespace {

// Where the recording that this thread is in notes what modules it asks; null outside.
thread_local std::vector<Mode>* modes_met = nullptr;

PyObject* training_name = nullptr;  // "training"

py::object training_of(PyObject* module) {
  const auto dict = py::reinterpret_steal<py::object>(PyObject_GenericGetDict(module, nullptr));
  if (!dict) throw py::error_already_set();
  PyObject* mode = PyDict_GetItemWithError(dict.ptr(), training_name);
  if (!mode && PyErr_Occurred()) throw py::error_already_set();
  return py::reinterpret_borrow<py::object>(mode ? mode : Py_True);
}

py::object alive(const py::weakref& ref) {
#if PY_VERSION_HEX >= 0x030D0000
  PyObject* o = nullptr;
  if (PyWeakref_GetRef(ref.ptr(), &o) < 0) throw py::error_already_set();
  return o ? py::reinterpret_steal<py::object>(o) : py::none();
#else
  return py::reinterpret_borrow<py::object>(PyWeakref_GetObject(ref.ptr()));
#endif
}

}  // namespace

bool Mode::holds() const {
  const py::object m = alive(module);
  return !m.is_none() && same_value(training_of(m.ptr()).ptr(), training.ptr());
}

State& state_of(const py::object& compiled) { return *reinterpret_cast<PyCompiled*>(compiled.ptr())->state; }

std::shared_ptr<const Entry> find(State& state, const CallArguments& args, Bound& bound) {
  const Py_ssize_t first = state.method;
  for (std::size_t e = 0; e < state.entries.size(); ++e) {
    const Entry& entry = *state.entries[e];
    if (entry.grad_enabled != engine::thread_state().grad_enabled ||
        static_cast<Py_ssize_t>(entry.arguments.size()) != args.size() - first)
      continue;
    if (args.names ? entry.names.is_none() || !entry.names.equal(py::handle(args.names)) : !entry.names.is_none())
      continue;
    bound.clear();
    bool same = true;
    for (Py_ssize_t i = first; i < args.size() && same; ++i)
      same = matches(entry.arguments[static_cast<std::size_t>(i - first)], args.all[i], bound);
    if (!same || !entry.program->applies()) continue;
    if (!std::all_of(entry.modes.begin(), entry.modes.end(), [](const Mode& m) { return m.holds(); })) continue;
    const std::shared_ptr<const Entry> found = state.entries[e];
    const auto at = state.entries.begin() + static_cast<std::ptrdiff_t>(e);
    if (e) std::rotate(state.entries.begin(), at, at + 1);
    bound.convert();  // the last, for it may let other threads run, who change the order
    return found;
  }
  return nullptr;
}

namespace {

py::object call_function(State& state, const CallArguments& args) {
  if (!state.function) throw std::runtime_error("compile: this compiled function has been given back");
  const py::object function = state.function;
  auto out = py::reinterpret_steal<py::object>(
      PyObject_Vectorcall(function.ptr(), args.all, static_cast<std::size_t>(args.n_positional), args.names));
  if (!out) throw py::error_already_set();
  return out;
}

Signature describe_results(const py::object& out, std::vector<Tensor>& results) {
  return describe("results", out.ptr(), [&](PyObject* o) {
    results.push_back(to_tensor(o));
    return results.back();
  });
}

// Whether an object refers to a tensor of the present recording, itself or through its attributes and containers.
bool hides_recorded_tensor(PyObject* o, int depth = 0) {
  const visitproc visit = [](PyObject* part, void* with) -> int {
    if (is_tensor(part)) {
      const auto* n = static_cast<const engine::Node*>(reinterpret_cast<PyTensor*>(part)->value);
      return n->op && n->tape == engine::thread_state().tape;
    }
    const bool container = PyDict_Check(part) || PyList_Check(part) || PyTuple_Check(part) || PyAnySet_Check(part);
    return container && hides_recorded_tensor(part, *static_cast<int*>(with) + 1);
  };
  if (depth > 3 || !PyObject_IS_GC(o) || !Py_TYPE(o)->tp_traverse || PyType_Check(o) || PyModule_Check(o)) return false;
  return Py_TYPE(o)->tp_traverse(o, visit, &depth);
}

// An object among the results is returned by every replay as it is, so it must not be used up, or hold a tensor that
// was computed for this call.
void refuse_stale(const Signature& s) {
  for (const Signature& p : s.parts) refuse_stale(p);
  if (s.kind != Signature::value) return;
  PyObject* o = s.object.ptr();
  const auto refuse = [&](const char* why) {
    throw TypeError(std::string("compile: the function returned a ") + Py_TYPE(o)->tp_name + ", which " + why +
                    "; return arrays, or tuples, lists and dicts of them");
  };
  if (PyIter_Check(o) || PyAsyncGen_CheckExact(o) || PyCoro_CheckExact(o)) refuse("a replay cannot produce anew");
  if (hides_recorded_tensor(o)) refuse("holds tensors that a replay would not renew");
}

// The plain function, whose results become constants like those of a replay. Nobody else changes leaves meanwhile.
std::shared_ptr<const Entry> run_plainly(State& state, const CallArguments& args, std::vector<Tensor>& results) {
  engine::may_begin(engine::alone);
  const engine::Turn turn(engine::alone);
  const auto entry = std::make_shared<Entry>();
  entry->results = describe_results(call_function(state, args), results);
  for (Tensor& t : results) t = detach(t);
  return entry;
}

[[noreturn]] void refuse_another(const State& state) {
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

// For the time of a recording.
struct Noted {
  Noted(State& state, std::vector<Mode>& modes) : state_(state), before_(std::exchange(modes_met, &modes)) {
    state.recording = true;
  }
  ~Noted() {
    state_.recording = false;
    modes_met = before_;
  }
  Noted(const Noted&) = delete;

 private:
  State& state_;
  std::vector<Mode>* before_;
};

std::shared_ptr<const Entry> record(State& state, const CallArguments& args, std::vector<Tensor>& results) {
  if (state.entries.size() >= state.limit) refuse_another(state);
  const auto recorded = std::make_shared<Entry>();
  Entry& entry = *recorded;
  entry.names = args.names ? py::reinterpret_borrow<py::object>(args.names) : py::none();
  entry.grad_enabled = engine::thread_state().grad_enabled;
  engine::Recording recording;
  const Noted noted(state, entry.modes);
  std::vector<Tensor> stand_ins;
  std::vector<py::object> replaced;
  std::vector<PyObject*> raw;
  if (state.method) raw.push_back(args.all[0]);
  for (Py_ssize_t i = state.method; i < args.size(); ++i) {
    std::size_t at = stand_ins.size();
    entry.arguments.push_back(describe("arguments", args.all[i], [&](PyObject* o) {
      stand_ins.push_back(engine::argument_node(to_tensor(o)));
      return stand_ins.back();
    }));
    replaced.push_back(
        rebuild(entry.arguments.back(), [&] { return py::reinterpret_steal<py::object>(wrap(stand_ins[at++])); }));
    raw.push_back(replaced.back().ptr());
  }
  py::object out = call_function(state, {raw.data(), args.n_positional, args.names});
  entry.results = describe_results(out, results);
  refuse_stale(entry.results);
  out = {};  // what only the recording knows is recognised by its references
  if (recording.keeps_strangers(results)) PyGC_Collect();  // also if it was left in a cycle, as by an inner function
  std::erase_if(entry.modes, [](const Mode& m) { return alive(m.module).is_none(); });  // made anew by each call
  entry.program = recording.freeze(stand_ins, results);
  if (entry.program) state.entries.insert(state.entries.begin(), recorded);
  return recorded;
}

}  // namespace

std::shared_ptr<const Entry> compute(State& state, const CallArguments& args, Bound& bound,
                                     std::vector<Tensor>& results) {
  if (state.recording && engine::in_turn()) return run_plainly(state, args, results);  // it calls itself
  while (true) {
    while (auto entry = find(state, args, bound)) switch (entry->program->run(bound.arguments, results)) {
        case engine::Program::Outcome::done:
          return entry;
        case engine::Program::Outcome::refused:
          return run_plainly(state, args, results);
        case engine::Program::Outcome::no_longer_applies:
          break;
      }
    engine::may_begin(engine::alone);
    const engine::Turn turn(engine::alone);
    // While we waited, another thread may have recorded the same.
    if (!find(state, args, bound)) return record(state, args, results);
  }
}

namespace {

PyObject* call(PyObject* self, PyObject* const* all, std::size_t nargsf, PyObject* names) {
  try {
    const CallArguments args{all, static_cast<Py_ssize_t>(PyVectorcall_NARGS(nargsf)), names};
    State& state = *reinterpret_cast<PyCompiled*>(self)->state;
    if (state.method && args.n_positional < 1) throw TypeError("compile: a method needs its instance");
    // Inside another recording or a transform it is the plain function.
    const engine::ThreadState& thread = engine::thread_state();
    bool plain = thread.tape && thread.tape->compiling;
    for (Py_ssize_t i = state.method; i < args.size() && !plain; ++i) plain = holds_recorded_result(all[i]);
    if (plain) return call_function(state, args).release().ptr();

    Bound bound;
    std::vector<Tensor> results;
    const auto entry = compute(state, args, bound, results);
    if (entry->results.kind == Signature::array) return wrap(std::move(results[0]));
    std::size_t i = 0;
    return rebuild(entry->results, [&] { return py::reinterpret_steal<py::object>(wrap(std::move(results[i++]))); })
        .release()
        .ptr();
  } catch (...) {
    translate_exception();
    return nullptr;
  }
}

// --- the type --------------------------------------------------------------------------------------------------
// A method that was compiled for its object holds the object that holds it: the garbage collector must see through.
int traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  const State* state = reinterpret_cast<PyCompiled*>(self)->state;
  if (!state) return 0;
  Py_VISIT(state->function.ptr());
  for (const auto& entry : state->entries) {
    if (entry.use_count() != 1) continue;  // a call is using it
    for (const Signature& s : entry->arguments)
      if (const int stop = s.traverse(visit, arg)) return stop;
    if (const int stop = entry->results.traverse(visit, arg)) return stop;
    for (const Attrs* a : entry->program->attrs()) Py_VISIT(python_of(a));
  }
  return 0;
}

int clear(PyObject* self) {
  State* state = reinterpret_cast<PyCompiled*>(self)->state;
  const auto entries = std::exchange(state->entries, {});
  const auto function = std::exchange(state->function, {});
  return 0;
}

void dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  delete reinterpret_cast<PyCompiled*>(self)->state;
  type->tp_free(self);
  Py_DECREF(type);
}

PyMemberDef members[] = {{"__vectorcalloffset__", T_PYSSIZET, offsetof(PyCompiled, vectorcall), READONLY, nullptr},
                         {nullptr, 0, 0, 0, nullptr}};

PyTypeObject* make_compiled_type() {
  static PyType_Slot slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
                                {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                                {Py_tp_clear, reinterpret_cast<void*>(clear)},
                                {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
                                {Py_tp_members, members},
                                {0, nullptr}};
  static PyType_Spec spec = {"wengert._core.CompiledBase", sizeof(PyCompiled), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC |
                                 Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                             slots};
  auto* type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&spec));
  if (!type) throw py::error_already_set();
  return type;
}

py::dict stats_of(const Entry& e) {
  const engine::plan::Counts& s = e.program->counts();
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
  d["replays"] = e.program->replays();
  return d;
}

}  // namespace

void bind_compile(py::module_& m) {
  training_name = PyUnicode_InternFromString("training");
  m.attr("CompiledBase") = py::handle(reinterpret_cast<PyObject*>(make_compiled_type()));
  // Python before 3.12 does not pass the fast way of calling on to derived classes.
  m.def("set_compiled_type",
        [](py::type t) { reinterpret_cast<PyTypeObject*>(t.ptr())->tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL; });
  m.def("compiled", [](py::type derived, py::object function, std::size_t limit, bool method) {
    auto* const of = reinterpret_cast<PyTypeObject*>(derived.ptr());
    auto* self = reinterpret_cast<PyCompiled*>(of->tp_alloc(of, 0));
    if (!self) throw py::error_already_set();
    self->vectorcall = call;
    self->state = new State{std::move(function), {}, limit, method};
    return py::reinterpret_steal<py::object>(reinterpret_cast<PyObject*>(self));
  });
  m.def("compiled_stats", [](const py::object& compiled) {
    py::list all;
    for (const auto& e : state_of(compiled).entries) all.append(stats_of(*e));
    return all;
  });
  m.def("compiled_epoch", epoch);
  // The leaves that replays change, and those whose .grad they do.
  m.def("compiled_changes", [](const py::object& compiled) {
    std::vector<Tensor> written, graded;
    for (const auto& e : state_of(compiled).entries) {
      for (const Tensor& t : e->program->written()) written.push_back(t);
      for (const Tensor& t : e->program->graded()) graded.push_back(t);
    }
    return py::make_tuple(written, graded);
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
    if (repeats < 1) throw std::invalid_argument("profile: repeats must be at least 1, got " + std::to_string(repeats));
    Bound bound;
    std::vector<PyObject*> all;
    for (py::handle o : args) all.push_back(o.ptr());
    const auto entry = find(state_of(compiled), {all.data(), static_cast<Py_ssize_t>(all.size()), nullptr}, bound);
    if (!entry)
      throw std::invalid_argument(
          "profile: nothing was recorded yet for such arguments, and for the leaves and modules as they are now (their "
          ".grad, requires_grad, training); call the compiled function first");
    py::list rows;
    for (const engine::StepProfile& p : entry->program->profile(bound.arguments, repeats))
      rows.append(py::make_tuple(p.what, p.seconds, p.flops, p.bytes));
    return rows;
  });
  m.def("recording", [] { return engine::thread_state().tape && engine::thread_state().tape->compiling; });
  // A module was asked for its mode, which is noted if this thread is recording.
  m.def("mode_met", [](const py::object& module) {
    py::object training = training_of(module.ptr());
    const auto known = [&](const Mode& m) { return alive(m.module).is(module); };
    if (modes_met && std::none_of(modes_met->begin(), modes_met->end(), known))
      modes_met->push_back({py::weakref(module), training});
    return training;
  });
}

}  // namespace wengert::bindings
