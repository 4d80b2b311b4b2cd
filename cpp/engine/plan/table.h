// Small hash tables for passes that must stay linear: open addressing, never shrinking, entries are numbers that stand
// for what is kept elsewhere.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace wengert::engine::plan {

inline std::uint64_t mix(std::uint64_t h, std::uint64_t x) {
  h = (h ^ x) * 0x9e3779b97f4a7c15u;
  return h ^ h >> 29;
}

class Table {
 public:
  explicit Table(std::size_t expected) : entries_(std::bit_ceil(2 * expected + 8)) {}

  // The entry with this key's hash for which same(entry) holds; if there is none, `fresh` is added and returned.
  template <class Same>
  int find_or_add(std::uint64_t key, int fresh, Same&& same) {
    const auto hash = static_cast<std::uint32_t>(key >> 32);
    for (Entry* e = at(hash);; e = next(e)) {
      if (e->value < 0) {
        *e = {hash, fresh};
        if (++used_ > entries_.size() / 2) grow();
        return fresh;
      }
      if (e->hash == hash && same(e->value)) return e->value;
    }
  }

 private:
  struct Entry {
    std::uint32_t hash = 0;
    int value = -1;
  };
  Entry* at(std::uint32_t hash) { return &entries_[hash & (entries_.size() - 1)]; }
  Entry* next(Entry* e) { return e == &entries_.back() ? entries_.data() : e + 1; }
  void grow() {
    const std::vector<Entry> before = std::exchange(entries_, std::vector<Entry>(2 * entries_.size()));
    for (const Entry& old : before) {
      if (old.value < 0) continue;
      Entry* e = at(old.hash);
      while (e->value >= 0) e = next(e);
      *e = old;
    }
  }
  std::vector<Entry> entries_;
  std::size_t used_ = 0;
};

}  // namespace wengert::engine::plan
