// Passes that leave the same results with fewer operations.
#include <algorithm>
#include <typeinfo>

#include "engine/plan/passes.h"
#include "engine/plan/table.h"
#include "ops/matmul.h"

namespace wengert::engine::plan {
index_t copy_written_aliases(Code& code) {
  if (std::none_of(code.instrs.begin(), code.instrs.end(), [](const Instr& c) { return c.op->writes; })) return 0;
  std::vector<std::uint32_t> last_write(code.values.size(), 0);  // so far, of each leaf: the instruction plus one
  std::vector<int> copies;                                       // aliases to copy, by when they were made
  std::vector<int> copy_of(code.values.size(), -1);              // alias -> its copy
  const auto look = [&](int v) {
    if (v < 0 || v == code.base(v) || copy_of[static_cast<std::size_t>(v)] >= 0) return;
    if (last_write[static_cast<std::size_t>(code.base(v))] > code[v].made)
      copies.push_back(v), copy_of[static_cast<std::size_t>(v)] = 0;
  };
  for (std::size_t i = 0; i < code.instrs.size(); ++i) {
    for (int v : code.in(code.instrs[i])) look(v);
    code.for_writes(code.instrs[i],
                    [&](int v) { last_write[static_cast<std::size_t>(v)] = static_cast<std::uint32_t>(i) + 1; });
  }
  for (const Wanted& w : code.wanted) look(w.value);
  if (copies.empty()) return 0;

  std::sort(copies.begin(), copies.end(), [&](int u, int v) { return code[u].made < code[v].made; });
  std::vector<Instr> before;
  for (int v : copies) {
    before.push_back(code.copy_of(v));
    copy_of[static_cast<std::size_t>(v)] = before.back().out;
  }
  const auto replace = [&](int& v) {
    if (v >= 0 && static_cast<std::size_t>(v) < copy_of.size() && copy_of[static_cast<std::size_t>(v)] > 0)
      v = copy_of[static_cast<std::size_t>(v)];
  };
  std::vector<Instr> merged;
  std::size_t next = 0;
  for (std::size_t i = 0; i < code.instrs.size(); ++i) {
    for (; next < copies.size() && code[copies[next]].made <= i; ++next) merged.push_back(before[next]);
    for (int& v : code.in(code.instrs[i])) replace(v);
    merged.push_back(code.instrs[i]);
  }
  for (Wanted& w : code.wanted) replace(w.value);
  code.instrs = std::move(merged);
  return static_cast<index_t>(copies.size());
}

index_t fold_constants(Code& code) {
  index_t folded = 0;
  for (Instr& c : code.instrs) {
    if (c.out < 0 || c.n == 0) continue;
    const auto in = code.in(c);
    if (!std::all_of(in.begin(), in.end(),
                     [&](int v) { return v < 0 || code[code.base(v)].origin == Origin::constant; }))
      continue;
    if (!code[c.out].node || !code[c.out].node->memory) continue;
    code[c.out].origin = Origin::constant;
    c.dead = true;
    ++folded;
  }
  code.erase_dead();
  return folded;
}

index_t fold_transposes(Code& code) {
  struct Source {
    int v = -1;
    std::uint32_t version = 0;
  };
  std::vector<Source> transposed(code.values.size());
  std::vector<std::uint32_t> version(code.values.size(), 0);  // how often each leaf has been written
  const auto version_of = [&](int v) { return version[static_cast<std::size_t>(code.base(v))]; };
  index_t folded = 0;
  for (Instr& c : code.instrs) {
    const auto in = code.in(c);
    for (std::size_t k = 0; is_matmul(*c.op) && k < 2; ++k)
      while (true) {
        const Source from = transposed[static_cast<std::size_t>(in[k])];
        if (from.v < 0 || version_of(from.v) != from.version) break;
        in[k] = from.v;
        c.word = matmul_turning(c.word, k);
        ++folded;
      }
    if (c.op->turns) transposed[static_cast<std::size_t>(c.out)] = {in[0], version_of(in[0])};
    code.for_writes(c, [&](int v) { ++version[static_cast<std::size_t>(v)]; });
  }
  return folded;
}

namespace {

// Which instructions compute the same: by op, parameters, operands and how often these were written before.
class Merger {
 public:
  explicit Merger(Code& code)
      : code_(code),
        version_(code.values.size(), 0),
        same_(code.values.size(), -1),
        known_(code.instrs.size()),
        aliases_(64) {}

  // The value that stands for v: an earlier equal one, or for an alias the first like it.
  int resolve(int v) {
    if (v < 0) return v;
    if (code_.base(v) == v) return first_of(v);
    const int b = code_[v].base = first_of(code_.base(v));
    std::uint64_t h = mix(1, static_cast<std::uint64_t>(b));
    for (index_t d : *code_[v].shape) h = mix(h, static_cast<std::uint64_t>(d));
    return aliases_.find_or_add(h, v, [&](int u) { return code_.base(u) == b && *code_[u].shape == *code_[v].shape; });
  }

  void wrote(int v) { ++version_[static_cast<std::size_t>(v)]; }

  // The instruction's result is that of an earlier one.
  bool is_known(std::size_t i) {
    Instr& c = code_.instrs[i];
    if (c.attrs && typeid(*c.attrs) != typeid(Attrs)) return false;  // of a user's own op
    const auto fresh = static_cast<int>(known_at_.size());
    known_at_.push_back({i, note_versions(c)});
    const int found = known_.find_or_add(hash(c), fresh, [&](int other) { return same(other, fresh); });
    if (found == fresh) return false;
    known_at_.pop_back();
    same_[static_cast<std::size_t>(c.out)] = code_.instrs[known_at_[static_cast<std::size_t>(found)].instr].out;
    return true;
  }

 private:
  struct Known {
    std::size_t instr, versions;  // the latter in `seen_`, one an operand; 0 if none was ever written
  };
  std::size_t note_versions(const Instr& c) {
    const auto in = code_.in(c);
    const auto version = [&](int v) { return v < 0 ? 0 : version_[static_cast<std::size_t>(code_.base(v))]; };
    if (std::none_of(in.begin(), in.end(), version)) return 0;
    const std::size_t at = seen_.size();
    for (int v : in) seen_.push_back(version(v));
    return at;
  }
  int first_of(int v) const {
    const int s = same_[static_cast<std::size_t>(v)];
    return s < 0 ? v : s;
  }
  std::uint64_t hash(const Instr& c) const {
    std::uint64_t h = mix(reinterpret_cast<std::uintptr_t>(c.op), static_cast<std::uint64_t>(c.word));
    for (int v : code_.in(c)) h = mix(h, static_cast<std::uint64_t>(v));
    for (index_t d : *code_[c.out].shape) h = mix(h, static_cast<std::uint64_t>(d));
    if (c.attrs)
      for (index_t x : c.attrs->list) h = mix(h, static_cast<std::uint64_t>(x));
    return h;
  }
  bool same(int a, int b) const {
    const auto [i, vi] = known_at_[static_cast<std::size_t>(a)];
    const auto [j, vj] = known_at_[static_cast<std::size_t>(b)];
    const Instr &c = code_.instrs[i], &d = code_.instrs[j];
    if (c.op != d.op || c.word != d.word || c.n != d.n || code_[c.out].dtype != code_[d.out].dtype ||
        !(*code_[c.out].shape == *code_[d.out].shape))
      return false;
    const auto in = code_.in(c), other = code_.in(d);
    if (!std::equal(in.begin(), in.end(), other.begin()) || !vi != !vj) return false;
    const std::uint32_t* seen = seen_.data();
    if (vi && !std::equal(seen + vi, seen + vi + c.n, seen + vj)) return false;
    if (!c.attrs || !d.attrs) return c.attrs == d.attrs;
    return c.attrs->list == d.attrs->list && c.attrs->list2 == d.attrs->list2;
  }

  Code& code_;
  std::vector<std::uint32_t> version_;  // how often each leaf has been written
  std::vector<int> same_;
  Table known_, aliases_;
  std::vector<Known> known_at_;
  std::vector<std::uint32_t> seen_{0};
};

}  // namespace

index_t merge_equal(Code& code) {
  Merger merger(code);
  index_t merged = 0;
  for (std::size_t i = 0; i < code.instrs.size(); ++i) {
    Instr& c = code.instrs[i];
    for (int& v : code.in(c)) v = merger.resolve(v);
    if (c.out < 0)
      code.for_writes(c, [&](int v) { merger.wrote(v); });
    else if (merger.is_known(i))
      c.dead = true, ++merged;
  }
  for (Wanted& w : code.wanted) w.value = merger.resolve(w.value);
  for (auto& [v, leaf] : code.grad_reads) v = merger.resolve(v);
  code.erase_dead();
  return merged;
}

index_t drop_dead(Code& code) {
  std::vector<bool> live(code.values.size(), false);
  const auto needs = [&](int v) { live[static_cast<std::size_t>(code.base(v))] = true; };
  for (const Wanted& w : code.wanted) needs(w.value);
  index_t dropped = 0;
  for (auto c = code.instrs.rbegin(); c != code.instrs.rend(); ++c) {
    c->dead = c->out >= 0 && !live[static_cast<std::size_t>(c->out)];
    if (c->dead)
      ++dropped;
    else
      code.for_reads(*c, needs);
  }
  code.erase_dead();
  return dropped;
}

index_t give_outputs(Code& code) {
  index_t copied = 0;
  for (std::size_t i = 0; i < code.wanted.size(); ++i) {
    int v = code.base(code.wanted[i].value);
    if (code[v].origin != Origin::computed || code[v].output >= 0) {
      code.instrs.push_back(code.copy_of(code.wanted[i].value));
      v = code.instrs.back().out;
      ++copied;
    }
    code[v].output = static_cast<int>(i);
  }
  return copied;
}

}  // namespace wengert::engine::plan
