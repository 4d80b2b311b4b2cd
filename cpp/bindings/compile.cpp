// wg.compile: a callable that records a Python function once per kind of arguments and replays it.
//
// The common case, a call like an earlier one, must cost less than a microsecond, so it is a hand-written type: the
// arguments are compared with the signature of each program, their pointers handed over, and the results wrapped.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>
#include <structmember.h>

#include <chrono>
#include <cstddef>
#include <cstring>
#include <shared_mutex>

#include "bindings/bindings.h"
#include "engine/program.h"
#include "ops/functions.h"

namespace wengert::bindings {
namespace {

// The structure of arguments or results: arrays by dtype and shape, everything else by value.
struct Signature {
  enum Kind { array, sequence, dict, value } kind = value;
  DType dtype = DType::f64;
  Shape shape;
  py::object object;  // the type of a sequence; the keys of a dict, in order; a value
  std::vector<Signature> parts;
};

// A NumPy array, NumPy scalar or tensor: what becomes an argument of the program.
bool is_array(PyObject* o) {
  static auto* const generic =
      reinterpret_cast<PyTypeObject*>(py::object(py::module_::import("numpy").attr("generic")).release().ptr());
  return is_tensor(o) || py::isinstance<py::array>(o) || PyObject_TypeCheck(o, generic);
}

// Walks Python structures; visit(object) is called for each array.
template <class Visit>
Signature describe(PyObject* o, Visit&& visit) {
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

// The structure again, with next() in the place of each array.
template <class Next>
py::object rebuild(const Signature& s, Next&& next) {
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

bool same_value(PyObject* a, PyObject* b) {
  if (a == b) return true;
  if (Py_TYPE(a) != Py_TYPE(b)) return false;
  const bool plain = PyFloat_CheckExact(a) || PyLong_CheckExact(a) || PyUnicode_CheckExact(a) || PyBytes_CheckExact(a);
  if (!plain) return false;
  const int same = PyObject_RichCompareBool(a, b, Py_EQ);
  if (same < 0) throw py::error_already_set();
  return same == 1;
}

struct Bound {
  std::vector<const void*> pointers;
  std::vector<Tensor> converted;  // keeps alive what had to be copied
  engine::Readers readers;
  void clear() {
    pointers.clear();
    converted.clear();
    readers.clear();
  }
};

// Compares arguments with a signature and collects their pointers; false at the first difference.
bool matches(const Signature& s, PyObject* o, Bound& bound) {
  switch (s.kind) {
    case Signature::array: {
      if (is_tensor(o)) {
        const Value* v = reinterpret_cast<PyTensor*>(o)->value;
        if (v->dtype != s.dtype || !(v->shape == s.shape)) return false;
        bound.pointers.push_back(unwrap(o).data<void>());
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
      bound.pointers.push_back(t.data<void>());
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

// What else a recording depends on: gradient mode, and which modules are in training mode.
std::uint64_t& module_modes() {
  static std::uint64_t modes = 0;
  return modes;
}

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

// How many replays this thread is in: a primitive in one may call another compiled function.
thread_local int replays_here = 0;

// The right to replay.
class Turn {
 public:
  Turn(State& state, engine::Program& program) {
    if (program.changes_leaves() && !replays_here)
      no_recording_ = locked<std::shared_lock<std::shared_mutex>>(recordings());
    program_ = locked<std::unique_lock<std::mutex>>(program.changes_leaves() ? state.writing : program.lock);
    ++replays_here;
  }
  ~Turn() { --replays_here; }
  Turn(const Turn&) = delete;

 private:
  std::shared_lock<std::shared_mutex> no_recording_;
  std::unique_lock<std::mutex> program_;
};

// The right to record.
std::unique_lock<std::shared_mutex> alone() {
  return replays_here ? std::unique_lock<std::shared_mutex>()
                      : locked<std::unique_lock<std::shared_mutex>>(recordings());
}

bool is_recorded_result(PyObject* o) {
  return is_tensor(o) && static_cast<engine::Node*>(reinterpret_cast<PyTensor*>(o)->value)->op &&
         reinterpret_cast<PyTensor*>(o)->value->requires_grad;
}

// The entry for these arguments, moved to the front; null if there is none.
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

// The n rows of `from` that `index` names, one after the other. Their elements are only moved, so those of 8 bytes may
// be taken for doubles.
void gather_rows(const Tensor& from, const index_t* index, index_t n, const Tensor& to) {
  const index_t width = to.size() / n, bytes = size_of(to.dtype());
  if (bytes == 4) return kernels::table<float>().gather(from.data<float>(), index, to.data<float>(), n, width);
  if (bytes == 8) return kernels::table<double>().gather(from.data<double>(), index, to.data<double>(), n, width);
  for (index_t i = 0; i < n; ++i)
    std::memcpy(to.data<char>() + i * width * bytes, from.data<char>() + index[i] * width * bytes,
                static_cast<std::size_t>(width * bytes));
}

double loss_of(const std::vector<Tensor>& results) {
  if (results.empty() || results[0].size() != 1)
    throw std::invalid_argument("fit: a training step must return its loss, one number");
  const Tensor& t = results[0];
  return t.dtype() == DType::f32 ? double{*t.data<float>()} : *cast(t, DType::f64).data<double>();
}

// One pass over the rows of `arrays` in the given order, batch by batch, without coming back to Python but to record a
// new batch size, to report, and to look for Ctrl-C. Returns the first result of each batch, which is one number.
Tensor epoch(const py::object& compiled, const std::vector<Tensor>& arrays, const Tensor& order, index_t batch_size,
             const py::object& report, double interval) {
  using Clock = std::chrono::steady_clock;
  State& state = *reinterpret_cast<PyCompiled*>(compiled.ptr())->state;
  const index_t* const at = order.data<index_t>();
  const index_t rows = order.size(), batches = (rows + batch_size - 1) / batch_size;
  for (const Tensor& a : arrays)
    if (a.ndim() == 0) throw std::invalid_argument("fit: data need rows, got a 0-d array");
  for (index_t i = 0; i < rows; ++i)
    for (const Tensor& a : arrays)
      if (const index_t row = at[i]; row < 0 || row >= a.shape()[0])
        throw std::out_of_range("fit: row " + std::to_string(row) + " of " + std::to_string(a.shape()[0]));
  Tensor losses = empty(DType::f64, {batches});
  std::vector<Tensor> batch, results;
  std::vector<py::object> wrapped;
  std::vector<PyObject*> args;
  Bound bound;
  std::shared_ptr<engine::Program> program;
  const auto next_batch = [&](index_t b) {
    for (std::size_t k = 0; k < arrays.size(); ++k)
      gather_rows(arrays[k], at + b * batch_size, batch[k].shape()[0], batch[k]);
  };
  auto last_report = Clock::now(), last_look = last_report, now = last_report;
  for (index_t b = 0; b < batches;) {
    const index_t n = std::min(batch_size, rows - b * batch_size);
    if (batch.empty() || batch[0].shape()[0] != n) {
      batch.clear();
      wrapped.clear();
      args.clear();
      program = nullptr;
      for (const Tensor& a : arrays) {
        Shape shape = a.shape();
        shape[0] = n;
        batch.push_back(empty(a.dtype(), shape));
        wrapped.push_back(py::reinterpret_steal<py::object>(wrap(batch.back())));
        args.push_back(wrapped.back().ptr());
      }
    }
    const auto n_args = static_cast<Py_ssize_t>(args.size());
    if (!program)
      if (const auto entry = find(state, args.data(), n_args, nullptr, bound)) program = entry->program;
    if (program) {
      // A turn is worth some short steps, unless a report is due earlier.
      const Turn turn(state, *program);
      const index_t last = n == batch_size ? rows / batch_size : batches;
      const auto end = now + std::chrono::duration<double>(report.is_none() ? 5e-5 : std::min(5e-5, interval));
      do {
        next_batch(b);
        program->run(bound.pointers.data(), results);
        losses.data<double>()[b] = loss_of(results);
        now = Clock::now();
      } while (++b < last && now < end);
    } else {
      next_batch(b);
      const auto right = alone();
      py::object out = py::reinterpret_steal<py::object>(record(state, args.data(), n_args, nullptr));
      results.clear();
      describe(out.ptr(), [&](PyObject* o) {
        results.push_back(unwrap(o));
        return results.back();
      });
      losses.data<double>()[b] = loss_of(results);
      ++b;
      now = Clock::now();
    }
    {
      const engine::Unlocked turn;
    }  // for other threads, whatever the length of a step
    if (now - last_look > std::chrono::milliseconds(50)) {
      last_look = now;
      if (PyErr_CheckSignals()) throw py::error_already_set();
    }
    if (!report.is_none() && std::chrono::duration<double>(now - last_report).count() >= interval) {
      last_report = now;
      report(b, batches, losses.data<double>()[b - 1]);
    }
  }
  return losses;
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
