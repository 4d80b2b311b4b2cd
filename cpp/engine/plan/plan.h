// From a recording to what a Program runs: the passes, one after the other.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "engine/node.h"
#include "engine/plan/code.h"
#include "engine/plan/place.h"
#include "engine/plan/strips.h"
#include "engine/step.h"

namespace wengert::engine::plan {

// What the passes did, and what is left to run.
struct Counts {
  index_t recorded = 0;   // operations on the tape
  index_t dead = 0;       // nobody needs their result
  index_t merged = 0;     // equal to an earlier one
  index_t folded = 0;     // of constants only
  index_t epilogues = 0;  // biases and activations that a matmul applies itself
  index_t fused = 0;      // elementwise operations that share a strip with others
  index_t in_place = 0;   // values that take over the place of an operand
  index_t steps = 0;
  index_t arena_bytes = 0;
};

// A result, or with a leaf the gradient that becomes its .grad.
struct Result {
  int slot;
  DType dtype;
  Shape shape;
  Tensor leaf;
  bool adds = false;  // it is computed from the .grad that the leaf had before
};

// Steps over a table of pointers, and what each pointer is.
struct Plan {
  std::vector<std::unique_ptr<Step>> steps;
  std::vector<index_t> places;                     // of each slot: an offset in the arena, or -1
  std::vector<std::pair<int, Tensor>> externals;   // slots of live leaves and constants
  std::vector<std::pair<int, int>> arguments;      // slot, argument
  std::vector<std::pair<int, Tensor>> grad_reads;  // slot, leaf whose .grad was there before
  std::vector<Tensor> grad_absent;                 // leaves that must have no .grad to begin with
  std::vector<Tensor> grad_clears;                 // leaves that have none in the end
  std::vector<Tensor> written;                     // leaves that effects change
  std::vector<Result> results;
  double work = 0;  // rough seconds of one replay
  Counts counts;
};

Plan plan(const Tape& recording, std::span<const Tensor> arguments, std::span<const Tensor> results);

// The code after the named passes alone, in that order, as text; an unknown name is std::invalid_argument. "strips" and
// "places" come last and show what runs together and where values live.
std::string text_after(std::span<const std::string> passes, const Tape& recording, std::span<const Tensor> arguments,
                       std::span<const Tensor> results);

// Whether every plan is verified (see place.h): for tests.
extern bool verify_plans;

// From code with its strips and places to steps.
Plan emit(Code code, const Strips& strips, const Placement& at);

}  // namespace wengert::engine::plan
