// Which instructions run together: neighbouring elementwise operations, strip by strip; everything else by itself.
#pragma once
#include <optional>

#include "engine/plan/code.h"
#include "engine/step.h"

namespace wengert::engine::plan {

// Instructions [begin, end) of one step.
struct Strip {
  std::size_t begin, end;
  bool is_map;  // elementwise
};
using Strips = std::vector<Strip>;

// Groups the instructions, in order.
Strips group(const Code&);

// How operand v of an elementwise instruction is laid over its result, if a strip can read it: element by element, as
// one number, as rows that repeat (v lacks leading axes), or as elements that repeat (v lacks trailing axes).
std::optional<StepInput> laid_over(const Code&, int v, int result);

}  // namespace wengert::engine::plan
