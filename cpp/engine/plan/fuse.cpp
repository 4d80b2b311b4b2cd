// Passes that join operations: epilogues into products, elementwise neighbours into strips.
#include <algorithm>
#include <optional>

#include "engine/plan/passes.h"
#include "engine/plan/strips.h"
#include "ops/matmul.h"

namespace wengert::engine::plan {
namespace {

// Folds what follows a product into its epilogue.
class EpilogueFolder {
 public:
  explicit EpilogueFolder(Code& code)
      : code_(code), uses_(code.values.size(), 0), user_(code.values.size(), 0), def_(code.values.size(), 0) {
    for (std::size_t i = 0; i < code.instrs.size(); ++i) {
      const Instr& c = code.instrs[i];
      for (int v : code.in(c))
        if (v >= 0) ++uses_[at(v)], user_[at(v)] = i;
      if (c.out >= 0) def_[at(c.out)] = i + 1;
      code.for_writes(c, [&](int v) { writes_.push_back({v, i}); });
    }
    for (const Wanted& w : code.wanted) uses_[at(w.value)] += 2;
    std::sort(writes_.begin(), writes_.end());
  }

  index_t fold(std::size_t i) {
    i_ = i;
    if (!is_matmul(*product().op) || code_[product().out].shape->ndim() != 2) return 0;
    return index_t{fold_bias()} + index_t{fold_activation()};
  }

 private:
  std::size_t at(int v) const { return static_cast<std::size_t>(code_.base(v)); }
  Instr& product() { return code_.instrs[i_]; }

  // The one instruction that reads the product, if it gives an array of the same shape.
  Instr* only_user() {
    const int z = product().out;
    if (uses_[at(z)] != 1) return nullptr;
    Instr& u = code_.instrs[user_[at(z)]];
    const bool reads_it = std::count(code_.in(u).begin(), code_.in(u).end(), z);
    return u.out >= 0 && reads_it && code_[u.out].dtype == code_[z].dtype && *code_[u.out].shape == *code_[z].shape
               ? &u
               : nullptr;
  }

  // The product may read v where `u` did: it is there already, and nothing writes to it in between.
  bool is_there(int v, const Instr& u) const {
    if (def_[at(v)] > i_) return false;
    const auto write = std::lower_bound(writes_.begin(), writes_.end(), std::pair(code_.base(v), i_));
    return write == writes_.end() || write->first != code_.base(v) || &code_.instrs[write->second] >= &u;
  }

  Epilogue& epilogue() {
    if (product().epilogue < 0) {
      product().epilogue = static_cast<int>(code_.epilogues.size());
      code_.epilogues.emplace_back();
    }
    return code_.epilogues[static_cast<std::size_t>(product().epilogue)];
  }
  bool absorb(Instr& u) {
    u.dead = true;
    product().out = u.out;
    return true;
  }

  bool fold_bias() {
    Instr* u = only_user();
    if (!u || !is_add(*u->op)) return false;
    const auto in = code_.in(*u);
    const int z = product().out, b = in[in[0] == z ? 1 : 0];
    const Shape& s = *code_[b].shape;
    const index_t n = code_[z].shape->back(0);
    if (b == z || s.ndim() < 1 || s.size() != n || s.back(0) != n || !is_there(b, *u)) return false;
    epilogue().bias = b;
    return absorb(*u);
  }

  bool fold_activation() {
    Instr* u = only_user();
    const MapOp* map = u ? as_map(*u->op) : nullptr;
    if (!map) return false;
    const auto in = code_.in(*u);
    const int z = product().out;
    Epilogue e;
    int others = 0;
    for (int k = 0; k < u->n; ++k) {
      const int v = in[static_cast<std::size_t>(k)];
      if (v == z)
        e.c_at = k;
      else if (v >= 0)
        e.operand = v, e.operand_at = k, ++others;
    }
    if (others > 1) return false;
    if (others == 1 && (!(*code_[e.operand].shape == *code_[z].shape) || code_[e.operand].dtype != code_[z].dtype ||
                        !is_there(e.operand, *u)))
      return false;
    e.activation = map;
    e.bias = epilogue().bias;
    epilogue() = e;
    return absorb(*u);
  }

  Code& code_;
  std::size_t i_ = 0;
  std::vector<int> uses_;
  std::vector<std::size_t> user_, def_;
  std::vector<std::pair<int, std::size_t>> writes_;  // (leaf, instruction), in order
};

}  // namespace

index_t fold_epilogues(Code& code) {
  EpilogueFolder folder(code);
  index_t folded = 0;
  for (std::size_t i = 0; i < code.instrs.size(); ++i)
    if (!code.instrs[i].dead && code.instrs[i].out >= 0) folded += folder.fold(i);
  code.erase_dead();
  return folded;
}

std::optional<StepInput> laid_over(const Code& code, int v, int result) {
  const Val &x = code[v], &y = code[result];
  if (x.size == y.size) return StepInput{v, 1};
  if (x.size == 1) return StepInput{v, 0};
  const Shape &sx = *x.shape, &sy = *y.shape;
  int i = 0;
  index_t same = 1, repeated = 1;
  const auto axis = [&](int k) { return k < sx.ndim() ? sx.back(k) : 1; };
  for (; i < sy.ndim() && axis(i) == 1; ++i) repeated *= sy.back(i);
  for (; i < sy.ndim() && axis(i) == sy.back(i); ++i) same *= sy.back(i);
  if (same != x.size) return {};  // an axis in the middle
  if (repeated == 1) return StepInput{v, 1, same};
  if (same * repeated != y.size) return {};
  return StepInput{v, 0, repeated};
}

namespace {

constexpr std::size_t longest = 64;  // instructions of a strip

// Elementwise, in a way that strips can do.
bool fits_strip(const Code& code, const Instr& c) {
  if (c.out < 0 || c.epilogue >= 0 || !as_map(*c.op) || code[c.out].size == 0) return false;
  const auto in = code.in(c);
  return std::all_of(in.begin(), in.end(),
                     [&](int v) { return v < 0 || (code[v].dtype == code[c.out].dtype && laid_over(code, v, c.out)); });
}

// A strip that grows by one instruction after another.
class Growing {
 public:
  Growing(const Code& code, std::size_t begin) : code_(code), begin_(begin) { fits_periods(code.instrs[begin]); }

  bool takes(std::size_t i) {
    const Instr &c = code_.instrs[i], &first = code_.instrs[begin_];
    return i - begin_ < longest && fits_strip(code_, c) && code_[c.out].size == code_[first.out].size &&
           code_[c.out].dtype == code_[first.out].dtype && !reads_as_scalar(c, i) && fits_periods(c);
  }

 private:
  // Of any two periods of a strip one divides the other.
  bool fits_periods(const Instr& c) {
    const std::size_t before = periods_.size();
    for (int v : code_.in(c))
      if (const auto laid = v < 0 ? std::nullopt : laid_over(code_, v, c.out); laid && laid->period)
        periods_.push_back(laid->period);
    for (std::size_t a = before; a < periods_.size(); ++a)
      for (std::size_t b = 0; b < a; ++b)
        if (periods_[a] % periods_[b] && periods_[b] % periods_[a]) {
          periods_.resize(before);
          return false;
        }
    std::sort(periods_.begin(), periods_.end());
    periods_.erase(std::unique(periods_.begin(), periods_.end()), periods_.end());
    return true;
  }

  // A strip cannot read the only element of an array that the strip itself computes, unless that is all there is.
  bool reads_as_scalar(const Instr& c, std::size_t end) const {
    if (code_[c.out].size == 1) return false;
    for (int v : code_.in(c))
      for (std::size_t j = begin_; v >= 0 && code_[v].size == 1 && j < end; ++j)
        if (code_.instrs[j].out == code_.base(v)) return true;
    return false;
  }

  const Code& code_;
  std::size_t begin_;
  std::vector<index_t> periods_;
};

}  // namespace

Strips group(const Code& code) {
  Strips strips;
  for (std::size_t i = 0; i < code.instrs.size();) {
    Strip s{i, i + 1, fits_strip(code, code.instrs[i])};
    if (s.is_map) {
      Growing strip(code, i);
      while (s.end < code.instrs.size() && strip.takes(s.end)) ++s.end;
    }
    strips.push_back(s);
    i = s.end;
  }
  return strips;
}

}  // namespace wengert::engine::plan
