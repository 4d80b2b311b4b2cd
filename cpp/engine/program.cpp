#include "engine/program.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <unordered_map>

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

constexpr double long_work = 5e-5;  // seconds from which a replay lets other threads run

Tensor cut_off(const Tensor& t) { return create(t.dtype(), t.shape(), 0, &t); }

// The leaves and constants that the recording has met and that somebody else holds.
std::vector<Value*> strangers(const Tape& recording, std::span<const Tensor> results) {
  std::unordered_map<Value*, std::uint32_t> uses;
  for (const Tensor& t : recording.operands) ++uses[t.get()];
  const auto beside = held_beside_uses(recording, results);
  std::vector<Value*> all;
  for (auto [v, n] : uses) {
    const auto other = beside.find(v);
    const std::uint32_t known = 2 * n + (other == beside.end() ? 0 : other->second);
    if (static_cast<std::uint32_t>(v->counts.load(std::memory_order_relaxed)) != known) all.push_back(v);
  }
  return all;
}

// Whether they require gradients.
std::vector<std::pair<Tensor, bool>> requires_grad_of(const Tape& recording, std::span<const Tensor> results) {
  std::vector<std::pair<Tensor, bool>> all;
  for (Value* v : strangers(recording, results))
    if (is_float(v->dtype)) all.emplace_back(handle(v), v->requires_grad);
  return all;
}
}  // namespace

Recording::Recording() : tape_(new Tape) {
  tape_->before = &current_tape();
  tape_->keep = tape_->compiling = true;
  thread_state().tape = tape_;
}

Recording::~Recording() {
  thread_state().tape = tape_->before;
  tape_->keep = tape_->compiling = false;
  for (const Tensor& leaf : tape_->grad_writes) {  // gradients outlive the recording
    Node* n = node(leaf);
    if (n->adjoint && static_cast<Node*>(n->adjoint)->op)
      n->adjoint = cut_off(Tensor(std::exchange(n->adjoint, nullptr))).take();
  }
  tape_->grad_reads.clear();
  tape_->grad_writes.clear();
  tape_->grad_written.clear();
  tape_->grad_absent.clear();
  tape_->stand_ins.clear();
  // From the last node on, so that each is freed when its turn comes.
  for (auto kept = std::exchange(tape_->kept, {}); !kept.empty();) kept.pop_back();
  tape_->operands.clear();
  tape_->release();
}

bool Recording::keeps_strangers(std::span<const Tensor> results) const {
  const auto is_changed = [](const Value* v) { return v->young && v->epoch; };
  if (std::none_of(tape_->operands.begin(), tape_->operands.end(),
                   [&](const Tensor& t) { return is_changed(t.get()); }))
    return false;  // nearly always
  const auto all = strangers(*tape_, results);
  return std::any_of(all.begin(), all.end(), is_changed);
}

std::shared_ptr<Program> Recording::freeze(std::span<const Tensor> arguments, std::span<Tensor> results) {
  std::shared_ptr<Program> program;
  if (!tape_->argument_changed) {
    auto requires_grad = requires_grad_of(*tape_, results);
    program = std::make_shared<Program>(plan::plan(*tape_, arguments, results));
    program->prepare(std::move(requires_grad));
  }
  for (Tensor& t : results) t = cut_off(t);
  return program;
}

std::string Recording::text(std::span<const Tensor> arguments, std::span<const Tensor> results,
                            std::span<const std::string> passes) const {
  return plan::text_after(passes, *tape_, arguments, results);
}

Program::Program(plan::Plan plan)
    : slots_(plan.places.size(), nullptr),
      externals_(std::move(plan.externals)),
      written_(std::move(plan.written)),
      arguments_(std::move(plan.arguments)),
      grad_reads_(std::move(plan.grad_reads)),
      grad_absent_(std::move(plan.grad_absent)),
      grad_clears_(std::move(plan.grad_clears)),
      steps_(std::move(plan.steps)),
      arena_(Buffer::create(static_cast<std::size_t>(plan.counts.arena_bytes) + 64)),
      counts_(plan.counts),
      work_(plan.work) {
  for (plan::Result& r : plan.results) outputs_.push_back({std::move(r), {}, {}});
  auto* memory = static_cast<char*>(arena_->data());
  memory += -reinterpret_cast<std::intptr_t>(memory) & 63;
  for (std::size_t slot = 0; slot < slots_.size(); ++slot)
    if (plan.places[slot] >= 0) slots_[slot] = memory + plan.places[slot];
}

Program::~Program() {
  if (arena_) arena_->release();
}

bool Program::applies() const {
  const auto has_grad = [](const Tensor& leaf) { return node(leaf)->adjoint != nullptr; };
  return std::all_of(grad_reads_.begin(), grad_reads_.end(), [&](auto& r) { return has_grad(r.second); }) &&
         std::none_of(grad_absent_.begin(), grad_absent_.end(), has_grad) &&
         std::all_of(requires_grad_.begin(), requires_grad_.end(),
                     [](auto& r) { return r.first.requires_grad() == r.second; });
}

std::vector<Tensor> Program::graded() const {
  std::vector<Tensor> all = grad_clears_;
  for (const Output& o : outputs_)
    if (o.leaf) all.push_back(o.leaf);
  return all;
}

// What is known once all steps are there.
void Program::prepare(Modes requires_grad) {
  requires_grad_ = std::move(requires_grad);
  for (const Tensor& t : written_) changes_.push_back(t.get());
  for (const Tensor& t : graded()) changes_.push_back(t.get());
  std::sort(changes_.begin(), changes_.end());
  calls_back_ = std::any_of(steps_.begin(), steps_.end(), [](auto& step) { return step->calls_back; });
  divided_ = calls_back_ || work_ > long_work;
}

bool Program::may_begin(std::span<const Argument> arguments) const {
  if (!open_turns.load(std::memory_order_relaxed)) return true;
  std::vector<const Value*> reads;
  for (auto& [slot, t] : externals_) reads.push_back(t.get());
  for (const Argument& a : arguments)
    if (a.tensor) reads.push_back(a.tensor);
  return engine::may_begin(claim(), reads);
}

bool Program::changes_one_of(std::span<const Argument> arguments) const {
  if (written_.empty()) return false;
  return std::any_of(arguments.begin(), arguments.end(), [&](const Argument& a) {
    return std::any_of(written_.begin(), written_.end(), [&](const Tensor& t) { return t.get() == a.tensor; });
  });
}

void Program::bind_leaves() {
  if (!written_.empty()) {
    const std::uint32_t now = next_epoch();
    for (const Tensor& leaf : written_) writable_data(leaf, now);
  }
  for (auto& [slot, t] : externals_) slots_[static_cast<std::size_t>(slot)] = t.data<void>();
}

void Program::bind(std::span<const Argument> arguments, bool grads_in_place) {
  bind_leaves();
  for (auto [slot, k] : arguments_) {
    const Argument& a = arguments[static_cast<std::size_t>(k)];
    slots_[static_cast<std::size_t>(slot)] = a.tensor ? a.tensor->memory : const_cast<void*>(a.data);
  }
  for (auto& [slot, leaf] : grad_reads_)
    if (slot >= 0) slots_[static_cast<std::size_t>(slot)] = handle(node(leaf)->adjoint).data<void>();
  for (Output& o : outputs_) {
    o.current = {};
    for (Tensor& t : o.pool) {
      // Nobody holds it but the pool and, for a gradient, the leaf that it will be given to again.
      const std::uint64_t holders = 1 + (o.leaf && node(o.leaf)->adjoint == t.get());
      if (t.get()->counts.load(std::memory_order_acquire) == holders * Value::reader && node(t)->buffer->unique() &&
          !(holders == 2 && (o.adds || !grads_in_place))) {
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

Program::Outcome Program::run(std::span<const Argument> arguments, std::vector<Tensor>& results) {
  if (!may_begin(arguments) || changes_one_of(arguments)) return Outcome::refused;
  if (!applies()) return Outcome::no_longer_applies;
  std::optional<Turn> turn;
  if (divided_) turn.emplace(claim());
  bind(arguments);
  if (turn)
    run_divided(*turn, arguments);
  else
    for (auto& step : steps_) step->run(slots_.data());
  deliver(results);
  ++replays_;
  return Outcome::done;
}

// Kernels without the lock of the interpreter, the rest with it. Python may change any leaf.
void Program::run_divided(Turn& turn, std::span<const Argument> arguments) {
  Readers once;  // what is looked up but once
  for (const Argument& a : arguments)
    if (a.tensor) once.add(a.tensor->buffer);
  for (auto& [slot, leaf] : grad_reads_)
    if (slot >= 0) once.add(static_cast<Node*>(node(leaf)->adjoint)->buffer);
  for (auto step = steps_.begin(); step != steps_.end();) {
    const auto end = std::find_if(step, steps_.end(), [](auto& s) { return s->calls_back; });
    if (step != end) {
      Readers leaves;
      for (auto& [slot, t] : externals_) leaves.add(node(t)->buffer);
      std::optional<Turn::Kernels> without_lock;
      if (work_ > long_work) without_lock.emplace(turn, std::move(leaves));
      for (; step != end; ++step) (*step)->run(slots_.data());
    }
    if (step == steps_.end()) break;
    (*step++)->run(slots_.data());
    may_begin(arguments);
    bind_leaves();
  }
}

std::vector<const Attrs*> Program::attrs() const {
  std::vector<const Attrs*> all;
  for (const auto& step : steps_)
    if (const Attrs* a = step->attrs(); a && a->refs.load(std::memory_order_relaxed) == 1) all.push_back(a);
  return all;
}

std::string Program::str() const {
  std::string s;
  for (const auto& step : steps_) s += step->str() + "\n";
  return s;
}

std::vector<StepProfile> Program::profile(std::span<const Argument> arguments, int repeats) {
  if (!may_begin(arguments)) throw std::runtime_error("profile: this very program is running");
  std::vector<StepProfile> rows;
  for (const auto& step : steps_) rows.push_back({step->str(), 0, step->flops, step->bytes});
  std::vector<std::vector<double>> times(steps_.size());
  std::vector<std::vector<char>> before;
  for (const Tensor& leaf : written_) {
    const char* data = leaf.data<char>();
    before.emplace_back(data, data + leaf.size() * size_of(leaf.dtype()));
  }
  const Turn turn(claim());
  const auto put_back = [&] {
    for (std::size_t k = 0; k < written_.size(); ++k)
      std::copy(before[k].begin(), before[k].end(), static_cast<char*>(writable_data(written_[k])));
    for (Output& o : outputs_) o.current = {};
  };
  try {
    for (int r = 0; r < repeats; ++r) {
      bind(arguments, false);
      for (std::size_t i = 0; i < steps_.size(); ++i) {
        const auto start = std::chrono::steady_clock::now();
        steps_[i]->run(slots_.data());
        times[i].push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
        if (steps_[i]->calls_back) bind_leaves();
      }
      put_back();
    }
  } catch (...) {
    put_back();
    throw;
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
  if (!node(x)->op) thread_state().tape->stand_ins.emplace_back(out, x);
  return out;
}

Tensor changeable(const Tensor& t) {
  const Tape* tape = thread_state().tape;
  if (tape && tape->compiling && node(t)->op == &argument_op)
    for (auto& [stand_in, argument] : tape->stand_ins)
      if (stand_in.get() == t.get()) return argument;
  return t;
}

void follow_argument(const Tensor& leaf) {
  Tape* tape = thread_state().tape;
  if (!tape || !tape->compiling) return;
  for (auto& [stand_in, argument] : tape->stand_ins)
    if (argument.get() == leaf.get()) {
      Node* n = node(stand_in);
      node(leaf)->buffer->retain();
      std::exchange(n->buffer, node(leaf)->buffer)->release();
      n->memory = leaf.data<void>();
      tape->argument_changed = true;
    }
}

bool is_replayed(const Tensor& t) {
  const Tape* tape = thread_state().tape;
  if (!tape || !tape->compiling) return false;
  return node(t)->tape == tape || node(t)->is_leaf();
}

}  // namespace wengert::engine
