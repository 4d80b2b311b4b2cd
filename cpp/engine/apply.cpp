// Eager execution: compute, and record what a gradient or a visible tape asks for.
#include <algorithm>
#include <cstring>
#include <optional>

#include "engine/program.h"
#include "engine/turns.h"
#include "ops/functions.h"

namespace wengert {
namespace {

engine::Readers readers_of(std::span<const Tensor> inputs) {
  engine::Readers readers;
  for (const Tensor& t : inputs)
    if (t && engine::node(t)->buffer) readers.add(engine::node(t)->buffer);
  return readers;
}

// Few ops read turned matrices as they lie.
void lay_out(const Op& op, std::span<const Tensor> inputs) {
  for (const Tensor& t : inputs)
    if (t && t.get()->turned) {
      engine::Node* n = engine::node(t);
      const bool is_long = 2 * static_cast<index_t>(n->buffer->bytes) >= op.long_from;
      engine::lay_out(n, is_long && engine::thread_state().may_unlock);
    }
}

}  // namespace

Tensor apply(const Op& op, std::span<const Tensor> inputs, DType dtype, Shape shape, index_t word, AttrsRef attrs) {
  engine::settle(inputs);
  const engine::ThreadState& state = engine::thread_state();
  bool differentiate = false;
  if (state.grad_enabled && op.differentiable)
    for (const Tensor& t : inputs) differentiate |= t && t.requires_grad();
  const bool on_tape = differentiate || (state.tape && state.tape->keep);
  if (!op.takes_turned && !op.turns) lay_out(op, inputs);

  const bool in_place = op.in_place && !on_tape && engine::is_unique(inputs[0]);
  // Borrowed memory may change before somebody reads the transpose.
  const bool turns = op.turns && !inputs[0].get()->borrowed;
  const bool shares = op.alias || turns;
  Tensor out =
      in_place ? inputs[0]
               : engine::create(dtype, std::move(shape), on_tape ? inputs.size() : 0, shares ? &inputs[0] : nullptr);
  engine::Node* n = engine::node(out);
  n->basis = false;
  const std::uint32_t before = engine::epoch();
  bool stale = false;
  if (turns) {
    n->turned = !inputs[0].get()->turned && n->shape[0] > 1 && n->shape[1] > 1;
  } else if (!op.alias) {
    constexpr std::size_t few = 5;
    Array on_stack[few];
    std::vector<Array> on_heap;
    Array* in = on_stack;
    if (inputs.size() > few) on_heap.resize(inputs.size()), in = on_heap.data();
    auto bytes = in_place ? 0 : static_cast<index_t>(n->buffer->bytes);
    for (std::size_t k = 0; k < inputs.size(); ++k) {
      const engine::Node* v = engine::node(inputs[k]);
      in[k] = v ? Array{v->memory, &v->shape, v->dtype, v->turned} : Array{nullptr, nullptr, dtype};
      if (v && v->buffer && v != n) bytes += static_cast<index_t>(v->buffer->bytes);
    }
    const bool unlock = bytes >= op.long_from && state.may_unlock;
    {
      std::optional<engine::Unlocked> unlocked;
      if (unlock) unlocked.emplace(readers_of(inputs));
      op.run(in, static_cast<int>(inputs.size()), {n->memory, &n->shape, dtype}, {word, attrs.get()});
    }
    // Another thread has changed what was read here: a sweep must not take the new values for the ones used.
    stale = unlock && std::any_of(inputs.begin(), inputs.end(), [before](const Tensor& t) {
              return t && !engine::node(t)->op && t.get()->epoch > before;
            });
  }
  if (on_tape) {
    n->requires_grad = differentiate;
    n->word = word;
    n->attrs = std::move(attrs);
    engine::record(n, op, inputs);
    if (stale) n->epoch = before;
  }
  return out;
}

namespace {

void record_effect(const Op& op, std::span<const Tensor> in, index_t word) {
  Tensor out = engine::create(DType::f64, Shape{0}, in.size());
  engine::node(out)->word = word;
  engine::record(engine::node(out), op, in);
}

// A leaf made while recording is a new one at each replay, if the recording alone knows it: it starts from the same
// value again.
void record_initial_value(const Tensor& leaf) {
  const engine::Tape* tape = engine::thread_state().tape;
  if (!tape || !tape->compiling || !leaf.get()->young || leaf.get()->epoch) return;
  const Tensor value = empty(leaf.dtype(), leaf.shape());
  std::memcpy(value.data<void>(), leaf.data<void>(), static_cast<std::size_t>(leaf.size() * size_of(leaf.dtype())));
  const Tensor in[] = {leaf, value};
  record_effect(assign_op(), in, is_initial);
}

}  // namespace

void apply_effect(const Op& op, std::span<const Tensor> operands, index_t word) {
  std::vector<Tensor> in(operands.begin(), operands.end());
  for (std::size_t k = 0; k < in.size(); ++k)
    if (op.writes_to(k) && in[k]) in[k] = engine::changeable(in[k]);
  const auto is_changed = [&](std::size_t k) { return op.writes_to(k) && in[k]; };
  for (std::size_t k = 0; k < in.size(); ++k)
    if (is_changed(k) && engine::node(in[k])->op)
      throw std::runtime_error(std::string(op.name) + ": only leaves can be changed in place, operand " +
                               std::to_string(k) + " is the result of " + engine::node(in[k])->op->name);
  engine::may_change(in);  // what is only read may be one that another thread is about to change
  for (std::size_t k = 0; k < in.size(); ++k)
    if (is_changed(k)) {
      record_initial_value(in[k]);
      engine::writable_data(in[k]);
      engine::follow_argument(in[k]);
    }
  std::vector<Array> arrays;
  for (const Tensor& t : in)
    arrays.push_back(t ? Array{t.data<void>(), &t.shape(), t.dtype()} : Array{nullptr, nullptr, DType::f64});
  const Shape none{0};
  op.run(arrays.data(), static_cast<int>(in.size()), {nullptr, &none, DType::f64}, {word, nullptr});
  const engine::ThreadState& state = engine::thread_state();
  if (state.tape && state.tape->keep) {
    record_effect(op, in, word);
  }
}

}  // namespace wengert
