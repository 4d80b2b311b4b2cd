// Eager execution: compute, and record what a gradient or a visible tape asks for.
#include "engine/node.h"

namespace wengert {

Tensor apply(const Op& op, std::span<const Tensor> inputs, DType dtype, Shape shape, index_t word, AttrsRef attrs) {
  const engine::ThreadState& state = engine::thread_state();
  bool differentiate = false;
  if (state.grad_enabled && op.differentiable)
    for (const Tensor& t : inputs) differentiate |= t && t.requires_grad();
  const bool on_tape = differentiate || (state.tape && state.tape->keep);

  Tensor out = engine::create(dtype, std::move(shape), on_tape ? inputs.size() : 0, op.alias ? &inputs[0] : nullptr);
  engine::Node* n = engine::node(out);
  n->word = word;
  n->attrs = std::move(attrs);
  if (!op.alias) {
    constexpr std::size_t few = 8;
    Array on_stack[few];
    std::vector<Array> on_heap;
    Array* in = on_stack;
    if (inputs.size() > few) on_heap.resize(inputs.size()), in = on_heap.data();
    for (std::size_t k = 0; k < inputs.size(); ++k) {
      const Value* v = inputs[k].get();
      in[k] = v ? Array{v->data, &v->shape, v->dtype} : Array{nullptr, nullptr, dtype};
    }
    op.run(in, static_cast<int>(inputs.size()), {n->data, &n->shape, dtype}, {word, n->attrs.get()});
  }
  if (on_tape) {
    n->requires_grad = differentiate;
    engine::record(n, op, inputs);
  }
  return out;
}

void apply_effect(const Op& op, std::initializer_list<Tensor> inputs, index_t word) {
  const std::span in(inputs.begin(), inputs.size());
  for (std::size_t k = 0; k < in.size(); ++k)
    if (op.writes >> k & 1 && in[k]) {
      if (engine::node(in[k])->op)
        throw std::runtime_error(std::string(op.name) + ": only leaves can be changed in place, operand " +
                                 std::to_string(k) + " is the result of " + engine::node(in[k])->op->name);
      engine::writable_data(in[k]);
    }
  std::vector<Array> arrays;
  for (const Tensor& t : in)
    arrays.push_back(t ? Array{t.get()->data, &t.shape(), t.dtype()} : Array{nullptr, nullptr, DType::f64});
  const Shape none{0};
  op.run(arrays.data(), static_cast<int>(in.size()), {nullptr, &none, DType::f64}, {word, nullptr});
  const engine::ThreadState& state = engine::thread_state();
  if (state.tape && state.tape->keep) {
    Tensor out = engine::create(DType::f64, none, in.size());
    engine::node(out)->word = word;
    engine::record(engine::node(out), op, in);
  }
}

}  // namespace wengert
