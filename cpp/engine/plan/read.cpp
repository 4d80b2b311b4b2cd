// The first pass: from the nodes of a recording to code.
#include <unordered_map>

#include "engine/plan/code.h"
#include "ops/functions.h"

namespace wengert::engine::plan {
namespace {

class Reader {
 public:
  Reader(const Tape& tape, std::span<const Tensor> arguments) : tape_(tape), of_index_(tape.kept.size(), -1) {
    code.values.reserve(tape.kept.size() + tape.kept.size() / 4);
    code.instrs.reserve(tape.kept.size());
    code.operands.reserve(2 * tape.kept.size());
    for (std::size_t i = 0; i < arguments.size(); ++i) {
      Val v = described(node(arguments[i]), Origin::argument);
      v.argument = static_cast<int>(i);
      of_index_[static_cast<std::size_t>(node(arguments[i])->index)] = code.add_value(v);
    }
  }

  void add(Node* n) {
    int& id = of_index_[static_cast<std::size_t>(n->index)];
    if (id >= 0) return;  // an argument
    ++code.recorded;
    const int first = static_cast<int>(code.operands.size());
    for (std::uint32_t k = 0; k < n->n_inputs; ++k) {
      Node* x = n->input(static_cast<int>(k));
      code.operands.push_back(x ? value_of(x, true) : -1);
    }
    Val v = described(n, Origin::computed);
    if (n->op->alias) {
      const int of = code.operands[static_cast<std::size_t>(first)];
      v.base = code.base(of);
      if (of != v.base) v.made = code[of].made;  // it shows what that alias showed
      code.operands.resize(static_cast<std::size_t>(first));
      id = code.add_value(v);
      return;
    }
    if (!n->op->writes) id = code.add_value(v);
    const bool initial = n->op == &assign_op() && n->word == is_initial;
    (initial ? initial_ : code.instrs)
        .push_back({n->op, n->attrs.get(), n->word, first, static_cast<int>(n->n_inputs), id});
  }

  // The value of a node, on the recording or from outside.
  int value_of(Node* n, bool as_operand = false) {
    if (n->tape == &tape_) return of_index_[static_cast<std::size_t>(n->index)];
    // A leaf has no place on a tape, so its index is free to say where its value is; wrong if left by an earlier plan.
    int* known = n->op ? &recorded_elsewhere_.try_emplace(n, -1).first->second : nullptr;
    auto id = static_cast<int>(known ? static_cast<std::uint64_t>(*known) : n->index);
    if (id < 0 || static_cast<std::size_t>(id) >= code.values.size() || code[id].node != n) {
      id = code.add_value(described(n, Origin::leaf));
      if (known)
        *known = id;
      else
        n->index = static_cast<std::uint64_t>(id);
      code[id].argument = static_cast<int>(uses_.size());  // until all uses are counted
      uses_.emplace_back(id, 0);
    }
    if (as_operand) ++uses_[static_cast<std::size_t>(code[id].argument)].second;
    return id;
  }

  // What was made while recording and is held by nothing but the recording is constant. Unless it is written: then it
  // is a leaf that starts from the same value at each replay, and nobody sees its .grad.
  void tell_locals(std::span<const Tensor> results) {
    const auto held = held_beside_uses(tape_, results);
    for (const auto& [v, uses] : uses_) {
      code[v].argument = -1;
      const auto others = held.find(code[v].node);
      const std::uint32_t known = 2 * uses + (others == held.end() ? 0 : others->second);
      if (code[v].node->young && static_cast<std::uint32_t>(code[v].node->counts.load()) == known)
        code[v].origin = Origin::constant;
    }
    for (const Instr& c : code.instrs)
      code.for_writes(c, [&](int v) {
        if (code[v].origin == Origin::constant) code[v].origin = Origin::local;
      });
    std::erase_if(initial_, [&](const Instr& c) { return code[code.in(c)[0]].origin != Origin::local; });
    code.instrs.insert(code.instrs.begin(), initial_.begin(), initial_.end());
    for (Val& v : code.values) v.made += static_cast<std::uint32_t>(initial_.size());
  }

  bool is_local(const Tensor& leaf) {
    const Origin origin = code[value_of(node(leaf))].origin;
    return origin == Origin::local || origin == Origin::constant;
  }

  Code code;

 private:
  Val described(Node* n, Origin origin) const {
    return {.shape = &n->shape,
            .size = n->shape.size(),
            .node = n,
            .base = -1,
            .made = static_cast<std::uint32_t>(code.instrs.size()),
            .dtype = n->dtype,
            .origin = origin};
  }

  const Tape& tape_;
  std::vector<Instr> initial_;  // what gives leaves made while recording their first values
  std::vector<int> of_index_;   // values of the recording's nodes, by their index
  std::unordered_map<const Node*, int> recorded_elsewhere_;
  std::vector<std::pair<int, std::uint32_t>> uses_;  // of values from outside
};

}  // namespace

Code read(const Tape& tape, std::span<const Tensor> arguments, std::span<const Tensor> results) {
  Reader reader(tape, arguments);
  for (const Tensor& t : tape.kept) reader.add(node(t));
  reader.tell_locals(results);
  Code& code = reader.code;
  for (const Tensor& r : results) code.wanted.push_back({reader.value_of(node(r)), {}});
  for (const auto& [leaf, before] : tape.grad_reads) code.grad_reads.emplace_back(reader.value_of(node(before)), leaf);
  for (const Tensor& leaf : tape.grad_absent)
    if (!reader.is_local(leaf)) code.grad_absent.push_back(leaf);
  for (const Tensor& leaf : tape.grad_writes) {
    if (reader.is_local(leaf)) continue;
    if (Value* g = node(leaf)->adjoint)
      code.wanted.push_back({reader.value_of(static_cast<Node*>(g)), leaf});
    else
      code.grad_clears.push_back(leaf);
  }
  return std::move(code);
}

}  // namespace wengert::engine::plan
