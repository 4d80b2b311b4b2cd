#include "engine/program.h"

#include <algorithm>
#include <chrono>
#include <optional>

#include "engine/step.h"

namespace wengert::engine {
namespace {

struct ArgumentOp final : Op {
  ArgumentOp() : Op("argument") {
    alias = true;
    differentiable = false;
  }
  void run(const Array*, int, const Array&, Params) const override {}
  void vjp(Pullback&) const override {}
  Tensor jvp(Pushforward&) const override { return {}; }
};
const ArgumentOp argument_op;

Tensor cut_off(const Tensor& t) { return create(t.dtype(), t.shape(), 0, &t); }
}  // namespace

Recording::Recording() : tape_(new Tape), before_(thread_state().tape) {
  tape_->keep = tape_->compiling = true;
  thread_state().tape = tape_;
}

Recording::~Recording() {
  thread_state().tape = before_;
  tape_->keep = tape_->compiling = false;
  for (const Tensor& leaf : tape_->grad_writes) {  // gradients outlive the recording
    Node* n = node(leaf);
    if (n->adjoint && static_cast<Node*>(n->adjoint)->op)
      n->adjoint = cut_off(Tensor(std::exchange(n->adjoint, nullptr))).take();
  }
  tape_->grad_reads.clear();
  tape_->grad_writes.clear();
  tape_->grad_absent.clear();
  const auto kept = std::exchange(tape_->kept, {}), operands = std::exchange(tape_->operands, {});
  tape_->release();
}

std::shared_ptr<Program> Recording::freeze(std::span<const Tensor> arguments, std::span<Tensor> results) {
  auto program = std::make_shared<Program>(*tape_, arguments, results);
  for (Tensor& t : results) t = cut_off(t);
  return program;
}

Program::~Program() {
  if (arena_) arena_->release();
}

bool Program::applies() const {
  const auto has_grad = [](const Tensor& leaf) { return node(leaf)->adjoint != nullptr; };
  return std::all_of(grad_reads_.begin(), grad_reads_.end(), [&](auto& r) { return has_grad(r.second); }) &&
         std::none_of(grad_absent_.begin(), grad_absent_.end(), has_grad);
}

bool Program::sets_grad() const {
  return std::any_of(outputs_.begin(), outputs_.end(), [](const Output& o) { return bool(o.leaf); });
}

bool Program::changes_leaves() const { return !written_.empty() || !grad_clears_.empty() || sets_grad(); }

void Program::bind(const void* const* arguments) {
  for (const Tensor& leaf : written_) writable_data(leaf);
  for (auto& [slot, t] : externals_) slots_[static_cast<std::size_t>(slot)] = t.data<void>();
  for (auto [slot, k] : arguments_) slots_[static_cast<std::size_t>(slot)] = const_cast<void*>(arguments[k]);
  for (auto& [slot, leaf] : grad_reads_)
    if (slot >= 0) slots_[static_cast<std::size_t>(slot)] = handle(node(leaf)->adjoint).data<void>();
  for (Output& o : outputs_) {
    o.current = {};
    for (Tensor& t : o.pool) {
      // Nobody holds it but the pool and, for a gradient, the leaf that it will be given to again.
      const std::uint64_t holders = 1 + (o.leaf && node(o.leaf)->adjoint == t.get());
      const bool is_read = o.leaf && std::any_of(grad_reads_.begin(), grad_reads_.end(),
                                                 [&](auto& r) { return r.second.get() == o.leaf.get(); });
      if (t.get()->counts.load(std::memory_order_acquire) == holders * Value::reader && node(t)->buffer->unique() &&
          !(is_read && holders == 2)) {
        o.current = t;
        break;
      }
    }
    if (!o.current) {
      o.current = empty(o.dtype, o.shape);
      if (o.pool.size() < 3)
        o.pool.push_back(o.current);
      else
        o.pool.back() = o.current;
    }
    slots_[static_cast<std::size_t>(o.slot)] = o.current.data<void>();
  }
}

// What is not the program's own.
Readers Program::readers() const {
  Readers r;
  for (auto& [slot, t] : externals_) r.add(node(t)->buffer);
  for (auto& [slot, leaf] : grad_reads_)
    if (slot >= 0) r.add(static_cast<Node*>(node(leaf)->adjoint)->buffer);
  return r;
}

void Program::deliver(std::vector<Tensor>& results) {
  results.clear();
  for (const Tensor& leaf : grad_clears_) Tensor(std::exchange(node(leaf)->adjoint, nullptr));
  for (Output& o : outputs_) {
    Tensor t = std::move(o.current);
    if (!o.leaf)
      results.push_back(std::move(t));
    else if (node(o.leaf)->adjoint != t.get())
      Tensor(std::exchange(node(o.leaf)->adjoint, t.take()));
  }
}

void Program::run(const void* const* arguments, std::vector<Tensor>& results) {
  bind(arguments);
  {
    // Adding to a .grad is one step from reading the old one on, or another thread's share could be lost.
    const bool adds_up = sets_grad() && !(grad_reads_.empty() && grad_absent_.empty());
    std::optional<Unlocked> unlocked;
    if (work_ > 5e-5 && !adds_up) unlocked.emplace(readers());
    for (auto& step : steps_) step->run(slots_.data());
  }
  deliver(results);
  ++stats_.replays;
}

std::string Program::str() const {
  std::string s;
  for (const auto& step : steps_) s += step->str() + "\n";
  return s;
}

std::vector<StepProfile> Program::profile(const void* const* arguments, int repeats) {
  std::vector<StepProfile> rows;
  for (const auto& step : steps_) rows.push_back({step->str(), 0, step->flops, step->bytes});
  std::vector<std::vector<double>> times(steps_.size());
  for (int r = 0; r < repeats; ++r) {
    bind(arguments);
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      const auto start = std::chrono::steady_clock::now();
      steps_[i]->run(slots_.data());
      times[i].push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    std::vector<Tensor> results;
    deliver(results);
  }
  for (std::size_t i = 0; i < rows.size(); ++i) {
    std::nth_element(times[i].begin(), times[i].begin() + repeats / 2, times[i].end());
    rows[i].seconds = times[i][static_cast<std::size_t>(repeats) / 2];
  }
  return rows;
}

Tensor argument_node(const Tensor& x) {
  Tensor out = create(x.dtype(), x.shape(), 0, &x);
  record(node(out), argument_op, {});
  return out;
}

bool is_replayed(const Tensor& t) {
  const Tape* tape = thread_state().tape;
  if (!tape || !tape->compiling) return false;
  return node(t)->tape == tape || node(t)->is_leaf();
}

}  // namespace wengert::engine
