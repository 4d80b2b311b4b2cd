// Differentiation, gradient mode, tapes, and in-place updates of leaves.
#include <pybind11/stl.h>

#include <limits>
#include <optional>

#include "bindings/bindings.h"
#include "bindings/transform_state.h"
#include "engine/sweep.h"
#include "ops/functions.h"

namespace wengert::bindings {

std::uint64_t& transform_start() {
  thread_local std::uint64_t start = std::numeric_limits<std::uint64_t>::max();
  return start;
}

namespace {

void backward(const Tensor& y, const std::optional<Tensor>& grad, bool retain_tape, bool create_graph) {
  Tensor seed;
  if (grad) {
    if (!(grad->shape() == y.shape()))
      throw std::invalid_argument("backward: grad has shape " + grad->shape().str() + ", the result has " +
                                  y.shape().str());
    seed = cast(*grad, y.dtype());
  } else if (y.size() != 1) {
    throw std::invalid_argument("backward: the result has shape " + y.shape().str() +
                                ", not one number; pass grad= of that shape, or reduce it first, as with .sum()");
  } else {
    seed = full(y.dtype(), y.shape(), 1);
  }
  engine::backward(y, seed, retain_tape, create_graph);
}

// A tape made visible: while it is entered, everything this thread computes is recorded on it and stays.
class VisibleTape {
 public:
  VisibleTape() : tape_(new engine::Tape) { tape_->keep = tape_->visible = true; }
  ~VisibleTape() {
    tape_->keep = false;
    const auto adjoints = std::exchange(tape_->adjoints, {});
    const auto kept = std::exchange(tape_->kept, {}), operands = std::exchange(tape_->operands, {});
    tape_->release();
  }
  VisibleTape(const VisibleTape&) = delete;
  void enter() {
    if (entered_) throw std::runtime_error("this tape is already being recorded");
    entered_ = true;
    before_ = std::exchange(engine::thread_state().tape, tape_);
  }
  void exit() {
    engine::thread_state().tape = before_;
    entered_ = false;
  }
  std::size_t size() const { return tape_->kept.size(); }

  // Node i: (operation, its parameters as a word and two lists, result, operands), each tensor as (identity, tensor).
  py::tuple node(std::size_t i) const {
    const engine::Node* n = engine::node(tape_->kept.at(i));
    py::list operands;
    for (int k = 0; k < static_cast<int>(n->n_inputs); ++k)
      if (n->input(k)) operands.append(identified(engine::handle(n->input(k))));
    const Attrs* a = n->attrs.get();
    using List = std::vector<index_t>;
    return py::make_tuple(n->op->name, n->word, a ? a->list : List(), a ? a->list2 : List(), identified(tape_->kept[i]),
                          operands);
  }
  static py::tuple identified(const Tensor& t) { return py::make_tuple(identity(t), t); }
  static std::uintptr_t identity(const Tensor& t) { return reinterpret_cast<std::uintptr_t>(t.get()); }

  // What the last sweep found for t.
  std::optional<Tensor> adjoint(const Tensor& t) const {
    const auto found = tape_->adjoints.find(engine::node(t));
    return found == tape_->adjoints.end() ? std::nullopt : std::optional(found->second);
  }

 private:
  engine::Tape* tape_;
  engine::Tape* before_ = nullptr;
  bool entered_ = false;
};

// A stand-in for an argument on the tape. Python whole numbers count as floats.
Tensor input_node(const char* op, const py::object& x) {
  if (PyBool_Check(x.ptr())) throw TypeError(std::string(op) + ": cannot differentiate with respect to a bool");
  const Tensor t = PyLong_CheckExact(x.ptr()) ? to_tensor(py::float_(x).ptr()) : to_tensor(x.ptr(), true);
  if (!is_float(t.dtype()))
    throw TypeError(std::string(op) + ": cannot differentiate with respect to an array of dtype " + name_of(t.dtype()) +
                    "; use floats");
  return engine::input_node(t);
}

std::vector<Tensor> gradients(const std::vector<Tensor>& outputs, const std::vector<std::optional<Tensor>>& seeds,
                              const std::vector<Tensor>& wrt, bool create_graph, index_t batch, bool linear) {
  std::vector<Tensor> s;
  for (const auto& t : seeds) s.push_back(t.value_or(Tensor()));
  return engine::gradients(outputs, s, wrt, create_graph, batch, linear);
}

}  // namespace

void bind_autodiff(py::module_& m) {
  m.def("backward", backward);
  m.def("input_node", input_node);
  m.def("ones_like", [](const Tensor& x) { return full(x.dtype(), x.shape(), 1); });
  m.def("gradients", gradients, py::arg("outputs"), py::arg("seeds"), py::arg("wrt"), py::arg("create_graph"),
        py::arg("batch") = -1, py::arg("linear") = false);
  m.def(
      "push",
      [](const std::vector<Tensor>& wrt, const std::vector<Tensor>& tangents, const std::vector<Tensor>& outputs,
         index_t batch, bool linear) { return engine::push(wrt, tangents, outputs, batch, linear); },
      py::arg("wrt"), py::arg("tangents"), py::arg("outputs"), py::arg("batch") = -1, py::arg("linear") = false);
  m.def("grad_enabled", [] { return engine::thread_state().grad_enabled; });
  m.def("set_grad_enabled", [](bool on) { return std::exchange(engine::thread_state().grad_enabled, on); });
  // Gradients are on until end_transform, which takes what this returns.
  m.def("begin_transform", [] {
    engine::ThreadState& state = engine::thread_state();
    const std::uint64_t start = engine::current_tape().recorded;
    return std::make_pair(std::exchange(state.grad_enabled, true),
                          std::exchange(transform_start(), std::min(transform_start(), start)));
  });
  m.def("end_transform", [](std::pair<bool, std::uint64_t> before) {
    engine::thread_state().grad_enabled = before.first;
    transform_start() = before.second;
  });
  // Are gradients on, and does an output or anything recorded since the input nodes depend on what came before, or on a
  // leaf?
  m.def("reaches_outside", [](const std::vector<Tensor>& inputs, const std::vector<Tensor>& outputs) {
    return engine::thread_state().grad_enabled && engine::reaches_outside(inputs, outputs);
  });
  m.def("detached_numpy", [](const Tensor& t) { return to_numpy(t); });
  // The same for a use that a recording would freeze, which is refused there by the name of `what`.
  m.def("decisive_numpy", [](const Tensor& t, const char* what) {
    refuse_escape(t, what);
    return to_numpy(t);
  });
  m.def("tape_length", [] { return engine::current_tape().length; });
  m.def("allocation_count", &engine::allocation_count);
  m.def("memory_use", [] {
    const auto use = engine::memory_use();
    return py::make_tuple(use.live, use.cached, use.blocks);
  });
  m.def("assign", &assign);
  m.def("sgd_step", [](const std::vector<std::tuple<Tensor, Tensor, std::optional<Tensor>>>& slots,
                       const Tensor& numbers, bool nesterov) {
    std::vector<SgdSlot> all;
    for (const auto& [p, g, velocity] : slots) all.push_back({p, g, velocity.value_or(Tensor())});
    sgd_step(all, numbers, nesterov);
  });
  m.def("adam_step", [](const std::vector<std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor>>& slots,
                        const Tensor& numbers, bool decoupled) {
    std::vector<AdamSlot> all;
    for (const auto& [p, g, mean, square, steps] : slots) all.push_back({p, g, mean, square, steps});
    adam_step(all, numbers, decoupled);
  });
  m.def("dropout_mask", [](const std::vector<index_t>& shape, py::object dtype, double p, const Tensor& state) {
    return dropout_mask(Shape(shape), dtype_from_python(dtype), p, state);
  });

  m.def("identity", &VisibleTape::identity);
  m.def("contributions", [](const Tensor& output, const Tensor& cotangent) {
    std::vector<std::optional<Tensor>> terms;
    for (Tensor& t : engine::contributions(output, cotangent))
      terms.push_back(t ? std::optional(std::move(t)) : std::nullopt);
    return terms;
  });
  py::class_<VisibleTape>(m, "Tape")
      .def(py::init<>())
      .def("enter", &VisibleTape::enter)
      .def("exit", &VisibleTape::exit)
      .def("node", &VisibleTape::node)
      .def("adjoint", &VisibleTape::adjoint)
      .def("__len__", &VisibleTape::size);
}

}  // namespace wengert::bindings
