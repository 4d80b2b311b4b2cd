#include "engine/plan/place.h"

#include <algorithm>
#include <map>
#include <set>
#include <stdexcept>

namespace wengert::engine::plan {
namespace {

constexpr index_t line = 64;  // bytes: places are whole cache lines, as kernels may write to the end of one
index_t room(const Val& v) {
  return std::max(line, (v.bytes() + line - 1) / line * line);
}  // an empty array has one, too

// Memory that grows at its end. Free blocks, by size and by place; neighbours are one block.
class Arena {
 public:
  // The smallest free block that fits; if there is none, more memory (the last block grows).
  index_t take(index_t bytes) {
    if (const auto fit = by_size_.lower_bound({bytes, 0}); fit != by_size_.end()) {
      const auto [size, at] = *fit;
      erase(at, size);
      if (size > bytes) insert(at + bytes, size - bytes);
      return at;
    }
    index_t at = end_;
    if (!by_place_.empty() && by_place_.rbegin()->first + by_place_.rbegin()->second == end_) {
      at = by_place_.rbegin()->first;
      erase(at, end_ - at);
    }
    end_ = at + bytes;
    return at;
  }

  void give(index_t at, index_t bytes) {
    auto next = by_place_.lower_bound(at);
    if (next != by_place_.begin())
      if (const auto [before, size] = *std::prev(next); before + size == at) {
        erase(before, size);
        at = before, bytes += size;
      }
    if (next = by_place_.lower_bound(at); next != by_place_.end())
      if (const auto [after, size] = *next; at + bytes == after) {
        erase(after, size);
        bytes += size;
      }
    insert(at, bytes);
  }

  index_t bytes() const { return end_; }

 private:
  void insert(index_t at, index_t bytes) { by_place_[at] = bytes, by_size_.insert({bytes, at}); }
  void erase(index_t at, index_t bytes) { by_place_.erase(at), by_size_.erase({bytes, at}); }

  std::map<index_t, index_t> by_place_;            // offset -> bytes
  std::set<std::pair<index_t, index_t>> by_size_;  // (bytes, offset)
  index_t end_ = 0;
};

class Placer {
 public:
  Placer(const Code& code, const Strips& strips)
      : code_(code), strips_(strips), place_(code.values.size(), -1), until_(code.values.size(), -1) {
    p.def.assign(code.values.size(), -1);
    p.last.assign(code.values.size(), -1);
    p.offset.assign(code.values.size(), -1);
    p.in_strip.assign(code.values.size(), false);
  }

  void find_lifetimes() {
    for (std::size_t s = 0; s < strips_.size(); ++s)
      for (std::size_t i = strips_[s].begin; i < strips_[s].end; ++i) {
        const Instr& c = code_.instrs[i];
        code_.for_reads(c, [&](int v) { p.last[at(code_.base(v))] = static_cast<int>(s); });
        if (c.out >= 0) p.def[at(c.out)] = p.last[at(c.out)] = static_cast<int>(s);
      }
    for (const Strip& s : strips_)
      for (std::size_t i = s.begin; s.end - s.begin > 1 && i < s.end; ++i)
        if (const int v = code_.instrs[i].out; v >= 0 && p.def[at(v)] == p.last[at(v)] && code_[v].output < 0)
          p.in_strip[at(v)] = true;
    for (std::size_t v = 0; v < code_.values.size(); ++v)
      if (is_placed(static_cast<int>(v))) place_[v] = static_cast<int>(v), until_[v] = p.last[v];
  }

  // A kernel may write where it reads, element by element: a result of an elementwise step may take over the place of
  // an operand that the step reads last, if it has read each strip of it before it writes any. Exactly that place or
  // none: half over an operand, results would be written where others are still to be read.
  void share_places() {
    std::vector<int> seen(code_.values.size(), -1);
    std::vector<bool> may(code_.values.size(), false);
    std::vector<int> operands;
    for (std::size_t s = 0; s < strips_.size(); ++s) {
      const auto [begin, end, is_map] = strips_[s];
      if (!is_map) {
        if (code_.instrs[begin].op->in_place) take_over(code_.instrs[begin], static_cast<int>(s));
        continue;
      }
      const Val& y = code_[code_.instrs[begin].out];
      std::size_t first_write = begin;
      while (first_write < end && p.in_strip[at(code_.instrs[first_write].out)]) ++first_write;
      operands.clear();
      for (std::size_t i = begin; i < end; ++i)
        code_.for_reads(code_.instrs[i], [&](int v) {
          const std::size_t b = at(code_.base(v));
          if (std::exchange(seen[b], static_cast<int>(s)) != static_cast<int>(s)) {
            operands.push_back(static_cast<int>(b));
            may[b] = true;
          }
          may[b] = may[b] && i <= first_write && code_[v].size == y.size && code_[v].dtype == y.dtype;
        });
      std::erase_if(operands, [&](int v) {
        return !may[at(v)] || !is_placed(v) || p.def[at(v)] == static_cast<int>(s) ||
               p.last[at(v)] != static_cast<int>(s);
      });
      for (std::size_t i = begin; i < end && !operands.empty(); ++i) {
        const int out = code_.instrs[i].out;
        if (!is_placed(out)) continue;
        const int root = place_[at(out)] = place_[at(operands.back())];
        until_[at(root)] = p.last[at(out)];
        operands.pop_back();
        ++p.in_place;
      }
    }
  }

  // The result of an operation that may run in place takes over the place of operand 0, if this is its last use.
  void take_over(const Instr& c, int step) {
    const int v = code_.base(code_.in(c)[0]);
    if (!is_placed(v) || !is_placed(c.out) || p.def[at(v)] >= step || p.last[at(v)] != step) return;
    const auto in = code_.in(c);
    if (std::count_if(in.begin(), in.end(), [&](int u) { return u >= 0 && code_.base(u) == v; }) != 1) return;
    place_[at(c.out)] = place_[at(v)];
    until_[at(place_[at(v)])] = p.last[at(c.out)];
    ++p.in_place;
  }

  // Step by step: what the step computes gets a place, then what it has read last gives up its own.
  void place_in_arena() {
    std::vector<int> ends(strips_.size(), -1), next(code_.values.size(), -1);  // lists of the places that a step frees
    Arena arena;
    for (std::size_t s = 0; s < strips_.size(); ++s) {
      for (std::size_t i = strips_[s].begin; i < strips_[s].end; ++i) {
        const int v = code_.instrs[i].out;
        if (v < 0 || place_[at(v)] < 0) continue;
        const int root = place_[at(v)];
        if (root == v) {
          p.offset[at(v)] = arena.take(room(code_[v]));
          next[at(v)] = std::exchange(ends[at(until_[at(v)])], v);
        }
        p.offset[at(v)] = p.offset[at(root)];
      }
      for (int v = ends[s]; v >= 0; v = next[at(v)]) arena.give(p.offset[at(v)], room(code_[v]));
    }
    p.bytes = arena.bytes();
  }

  Placement p;

 private:
  static std::size_t at(int v) { return static_cast<std::size_t>(v); }
  bool is_placed(int v) const {
    return code_.base(v) == v && p.def[at(v)] >= 0 && code_[v].output < 0 && !p.in_strip[at(v)];
  }

  const Code& code_;
  const Strips& strips_;
  std::vector<int> place_, until_;  // whose place a value has; when that place is free again
};

}  // namespace

Placement place(const Code& code, const Strips& strips) {
  Placer placer(code, strips);
  placer.find_lifetimes();
  placer.share_places();
  placer.place_in_arena();
  return std::move(placer.p);
}

namespace {

// What stands where: the owner of each byte of the arena, and who may still be read.
class Shadow {
 public:
  Shadow(const Code& code, const Placement& p) : code_(code), p_(p) {}

  void read(int v, const Instr& by) const {
    const int b = code_.base(v);
    if (code_[b].origin != Origin::computed || code_[b].output >= 0 || p_.in_strip[static_cast<std::size_t>(b)]) return;
    const auto at = owners_.find(offset(b));
    if (at == owners_.end() || at->second != b) fail(b, by, "has no place or another value's");
  }

  // In a strip, later elements of what it reads are still to be read when the first are written.
  void write(const Instr& c, const Strip& s, std::size_t i) {
    if (c.out < 0 || p_.offset[static_cast<std::size_t>(c.out)] < 0) return;
    const index_t begin = offset(c.out), end = begin + code_[c.out].bytes();
    for (std::size_t j = s.begin; j < s.end; ++j)
      code_.for_reads(code_.instrs[j], [&](int v) {
        const int b = code_.base(v);
        if (b == c.out || p_.offset[static_cast<std::size_t>(b)] < 0) return;
        const index_t from = offset(b), to = from + code_[b].bytes();
        if (from >= end || to <= begin) return;
        const auto laid = s.is_map ? laid_over(code_, v, code_.instrs[j].out) : std::nullopt;
        const bool over_operand_0 = c.op->in_place && b == code_.base(code_.in(c)[0]);
        const bool element_by_element = laid && laid->step == 1 && !laid->period && j <= i;
        if (from != begin || to != end || !(over_operand_0 || element_by_element))
          fail(b, c, "is overwritten while it is read");
      });
    auto next = owners_.lower_bound(begin);
    if (next != owners_.begin())
      if (auto before = std::prev(next); before->first + code_[before->second].bytes() > begin) next = before;
    while (next != owners_.end() && next->first < end) next = owners_.erase(next);
    owners_[begin] = c.out;
  }

 private:
  index_t offset(int v) const { return p_.offset[static_cast<std::size_t>(v)]; }
  [[noreturn]] void fail(int v, const Instr& by, const char* what) const {
    throw std::logic_error("plan: value " + std::to_string(v) + " " + what + " in " + code_.str(by));
  }
  const Code& code_;
  const Placement& p_;
  std::map<index_t, int> owners_;  // offset -> value
};

}  // namespace

void verify(const Code& code, const Strips& strips, const Placement& p) {
  Shadow shadow(code, p);
  for (const Strip& s : strips)
    for (std::size_t i = s.begin; i < s.end; ++i) {
      const Instr& c = code.instrs[i];
      code.for_reads(c, [&](int v) { shadow.read(v, c); });
      shadow.write(c, s, i);
    }
}

}  // namespace wengert::engine::plan
