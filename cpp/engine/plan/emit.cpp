// The last pass: from code, strips and places to steps with their slots.
#include <algorithm>

#include "engine/plan/plan.h"
#include "ops/matmul.h"

namespace wengert::engine::plan {
namespace {

class Emitter {
 public:
  Emitter(const Code& code, const Strips& strips, const Placement& at)
      : code_(code),
        strips_(strips),
        at_(at),
        slot_(code.values.size(), -1),
        temporary_(code.values.size(), -1),
        last_reader_(code.values.size(), 0) {}

  void emit_steps() {
    plan.steps.reserve(strips_.size());
    for (const Strip& s : strips_) {
      const Instr& c = code_.instrs[s.begin];
      std::unique_ptr<Step> step;
      if (s.is_map)
        step = dispatch(code_[c.out].dtype, [&]<class T>(T) { return map_step<T>(s); });
      else if (c.out >= 0 && is_matmul(*c.op) && code_[c.out].shape->ndim() == 2)
        step = dispatch(code_[c.out].dtype, [&]<class T>(T) { return matmul_step<T>(c); });
      else
        step = call_step(c);
      estimate(*step, s);
      plan.steps.push_back(std::move(step));
    }
  }

  // What each slot points to.
  void emit_slots() {
    std::vector<bool> is_grad_read(code_.values.size(), false);
    for (const auto& [v, leaf] : code_.grad_reads) {
      is_grad_read[index(code_.base(v))] = true;
      plan.grad_reads.emplace_back(slot_[index(code_.base(v))], leaf);
    }
    for (const Wanted& w : code_.wanted)
      plan.results.push_back({-1, code_[w.value].dtype, *code_[w.value].shape, w.leaf});
    plan.places.assign(n_slots_, -1);
    for (std::size_t v = 0; v < code_.values.size(); ++v) {
      const Val& x = code_.values[v];
      const int slot = slot_[v];
      if (x.base != static_cast<int>(v) || slot < 0) continue;
      if (x.origin == Origin::argument)
        plan.arguments.emplace_back(slot, x.argument);
      else if (x.origin != Origin::computed && !is_grad_read[v])
        plan.externals.emplace_back(slot, external(x));
      else if (x.output >= 0)
        plan.results[static_cast<std::size_t>(x.output)].slot = slot;
      else
        plan.places[static_cast<std::size_t>(slot)] = at_.offset[v];
    }
  }

  void emit_leaves() {
    std::vector<bool> seen(code_.values.size(), false);
    for (const Instr& c : code_.instrs)
      code_.for_writes(c, [&](int v) {
        if (seen[index(v)] || code_[v].origin == Origin::computed) return;
        seen[index(v)] = true;
        plan.written.push_back(external(code_[v]));
      });
    plan.grad_absent = code_.grad_absent;
    plan.grad_clears = code_.grad_clears;
    std::vector<const Value*> read;
    for (const auto& [slot, leaf] : plan.grad_reads) read.push_back(leaf.get());
    std::sort(read.begin(), read.end());
    for (Result& r : plan.results) r.adds = r.leaf && std::binary_search(read.begin(), read.end(), r.leaf.get());
  }

  Plan plan;

 private:
  static std::size_t index(int v) { return static_cast<std::size_t>(v); }

  // A value from outside, as a tensor without the recording behind it.
  static Tensor external(const Val& x) {
    const Tensor t = handle(x.node);
    return x.origin == Origin::constant && x.node->op ? create(x.dtype, *x.shape, 0, &t) : t;
  }

  int slot_of(int v) {
    if (v < 0) return -1;
    int& slot = slot_[index(code_.base(v))];
    if (slot < 0) slot = static_cast<int>(n_slots_++);
    return slot;
  }

  // Rough costs, for a profile and for when to give up the interpreter's lock.
  void estimate(Step& step, const Strip& s) {
    const auto in_memory = [&](int v) { return at_.in_strip[index(code_.base(v))] ? 0 : code_[v].bytes(); };
    for (std::size_t i = s.begin; i < s.end; ++i) {
      const Instr& c = code_.instrs[i];
      code_.for_reads(c, [&](int v) { step.bytes += static_cast<double>(in_memory(v)); });
      if (c.out >= 0) step.bytes += static_cast<double>(in_memory(c.out));
      if (step.flops == 0 && c.out >= 0) step.flops += static_cast<double>(code_[c.out].size);
    }
    plan.work += step.flops * 2e-11 + step.bytes * 1e-10 + 2e-8;
  }

  template <class T>
  std::unique_ptr<Step> map_step(const Strip& s) {
    for (std::size_t i = s.begin; i < s.end; ++i)
      code_.for_reads(code_.instrs[i], [&](int v) { last_reader_[index(code_.base(v))] = i; });
    const index_t n = code_[code_.instrs[s.begin].out].size;
    std::vector<int> free;  // temporaries by linear scan: one is free again after its last reader
    int n_temporaries = 0;
    std::vector<typename MapStep<T>::Item> items;
    items.reserve(s.end - s.begin);
    for (std::size_t i = s.begin; i < s.end; ++i) {
      const Instr& c = code_.instrs[i];
      typename MapStep<T>::Item item{c.op->name, kernels::table<T>().map[as_map(*c.op)->map], {}, 0};
      for (int v : code_.in(c)) item.in.push_back(strip_input(v, c.out));
      if (at_.in_strip[index(c.out)]) {
        if (free.empty()) free.push_back(n_temporaries++);
        temporary_[index(c.out)] = free.back();
        item.out = ~free.back();
        free.pop_back();
      } else {
        item.out = slot_of(c.out);
      }
      code_.for_reads(c, [&](int v) {
        const std::size_t b = index(code_.base(v));
        if (temporary_[b] < 0 || last_reader_[b] != i) return;
        if (std::find(free.begin(), free.end(), temporary_[b]) == free.end()) free.push_back(temporary_[b]);
      });
      item.padded = is_padded(c, n);
      items.push_back(std::move(item));
    }
    for (std::size_t i = s.begin; i < s.end; ++i) temporary_[index(code_.instrs[i].out)] = -1;
    return std::make_unique<MapStep<T>>(std::move(items), n, n_temporaries);
  }

  StepInput strip_input(int v, int result) {
    if (v < 0) return {no_slot, 1};
    if (const int t = temporary_[index(code_.base(v))]; t >= 0) return {~t, 1};
    StepInput laid = laid_over(code_, v, result).value_or(StepInput{v, 1});  // there is one, or it were not in a strip
    laid.slot = slot_of(v);
    return laid;
  }

  // What it reads and writes goes on to the end of a cache line.
  bool is_padded(const Instr& c, index_t n) const {
    const auto padded = [&](int v) { return at_.offset[index(v)] >= 0 || at_.in_strip[index(v)]; };
    bool all = padded(c.out);
    code_.for_reads(c, [&](int v) { all = all && (code_[v].size != n || padded(code_.base(v))); });
    return all;
  }

  template <class T>
  std::unique_ptr<Step> matmul_step(const Instr& c) {
    const auto in = code_.in(c);
    const auto [trans_a, trans_b] = matmul_flags(c.word);
    const Shape &sa = *code_[in[0]].shape, &sb = *code_[in[1]].shape, &sc = *code_[c.out].shape;
    kernels::MatMul<T> mm{nullptr,    nullptr,    nullptr,   sc.back(1), sc.back(0), trans_a ? sa.back(1) : sa.back(0),
                          sa.back(0), sb.back(0), sc.back(0)};
    mm.trans_a = trans_a;
    mm.trans_b = trans_b;
    const Epilogue e = c.epilogue < 0 ? Epilogue{} : code_.epilogues[index(c.epilogue)];
    if (e.activation) mm.activation = kernels::table<T>().map[e.activation->map];
    mm.c_at = e.c_at;
    mm.operand_at = e.operand_at;
    auto step = std::make_unique<MatMulStep<T>>(mm, slot_of(in[0]), slot_of(in[1]), slot_of(c.out), slot_of(e.bias),
                                                e.activation ? e.activation->name : nullptr, slot_of(e.operand));
    step->flops = 2.0 * static_cast<double>(mm.m) * static_cast<double>(mm.n) * static_cast<double>(mm.k);
    return step;
  }

  std::unique_ptr<Step> call_step(const Instr& c) {
    std::vector<int> in;
    std::vector<Array> like;
    in.reserve(index(c.n));
    like.reserve(index(c.n));
    for (int v : code_.in(c)) {
      in.push_back(slot_of(v));
      like.push_back(v < 0 ? Array{nullptr, nullptr, DType::f64} : Array{nullptr, code_[v].shape, code_[v].dtype});
    }
    const Shape none{0};
    return std::make_unique<CallStep>(*c.op, std::move(in), slot_of(c.out), Params{c.word, nullptr}, c.attrs, like,
                                      c.out < 0 ? none : *code_[c.out].shape,
                                      c.out < 0 ? DType::f64 : code_[c.out].dtype);
  }

  const Code& code_;
  const Strips& strips_;
  const Placement& at_;
  std::vector<int> slot_, temporary_;  // of values; temporaries in the strip at hand
  std::vector<std::size_t> last_reader_;
  std::size_t n_slots_ = 0;
};

}  // namespace

Plan emit(Code code, const Strips& strips, const Placement& at) {
  Emitter emitter(code, strips, at);
  emitter.emit_steps();
  emitter.emit_slots();
  emitter.emit_leaves();
  return std::move(emitter.plan);
}

}  // namespace wengert::engine::plan
