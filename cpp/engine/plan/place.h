// Where values live while a program runs: the only passes that know of lifetimes and offsets.
#pragma once
#include "engine/plan/code.h"
#include "engine/plan/strips.h"

namespace wengert::engine::plan {

struct Placement {
  std::vector<int> def, last;   // of each value: the steps that compute it and that read it last; -1
  std::vector<index_t> offset;  // its place in the arena; -1: it has none
  std::vector<bool> in_strip;   // used nowhere but in the strip that computes it, whose temporary it is
  index_t bytes = 0;            // of the arena
  index_t in_place = 0;         // values that take over the place of an operand
};

// Finds the lifetimes, lets results take over their operands' places, and gives every other value a free place.
Placement place(const Code&, const Strips&);

// For tests: walks through the steps and sees whether each read finds the value that was written. std::logic_error
// names the value whose memory another has taken meanwhile.
void verify(const Code&, const Strips&, const Placement&);

}  // namespace wengert::engine::plan
