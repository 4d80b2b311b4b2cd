#include "engine/plan/plan.h"

#include <algorithm>
#include <stdexcept>

#include "engine/plan/passes.h"

namespace wengert::engine::plan {

bool verify_plans = false;

namespace {

struct Pass {
  const char* name;
  index_t (*run)(Code&);
  index_t Counts::* count;  // where what it found is noted
};

// In the order in which they run.
constexpr Pass passes[] = {
    {"copy_written_aliases", copy_written_aliases, nullptr},
    {"fold_constants", fold_constants, &Counts::folded},
    {"fold_transposes", fold_transposes, nullptr},
    {"merge_equal", merge_equal, &Counts::merged},
    {"drop_dead", drop_dead, &Counts::dead},
    {"fold_epilogues", fold_epilogues, &Counts::epilogues},
    {"give_outputs", give_outputs, nullptr},
};

}  // namespace

Plan plan(const Tape& recording, std::span<const Tensor> arguments, std::span<const Tensor> results) {
  Code code = read(recording, arguments, results);
  Counts counts;
  counts.recorded = code.recorded;
  for (const Pass& pass : passes) {
    const index_t found = pass.run(code);
    if (pass.count) counts.*pass.count = found;
  }
  const Strips strips = group(code);
  const Placement at = place(code, strips);
  if (verify_plans) verify(code, strips, at);
  for (const Strip& s : strips)
    if (s.end - s.begin > 1) counts.fused += static_cast<index_t>(s.end - s.begin);
  counts.in_place = at.in_place;
  counts.steps = static_cast<index_t>(strips.size());
  counts.arena_bytes = at.bytes;
  Plan plan = emit(std::move(code), strips, at);
  plan.counts = counts;
  return plan;
}

std::string text_after(std::span<const std::string> names, const Tape& recording, std::span<const Tensor> arguments,
                       std::span<const Tensor> results) {
  Code code = read(recording, arguments, results);
  for (const std::string& name : names) {
    if (name == "strips" || name == "places") {
      const Strips strips = group(code);
      const Placement at = place(code, strips);
      std::string s;
      for (const Strip& strip : strips) {
        if (strip.end - strip.begin > 1) s += "strip\n";
        for (std::size_t i = strip.begin; i < strip.end; ++i) {
          const Instr& c = code.instrs[i];
          s += (strip.end - strip.begin > 1 ? "  " : "") + code.str(c);
          if (const auto out = static_cast<std::size_t>(c.out); name == "places" && c.out >= 0 && at.offset[out] >= 0)
            s += "  at " + std::to_string(at.offset[out]);
          s += "\n";
        }
      }
      return s;
    }
    const auto pass = std::find_if(std::begin(passes), std::end(passes), [&](const Pass& p) { return p.name == name; });
    if (pass == std::end(passes)) throw std::invalid_argument("no pass is called " + name);
    pass->run(code);
  }
  return code.str();
}

}  // namespace wengert::engine::plan
