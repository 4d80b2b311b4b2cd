// Record once, replay many: a recorded tape, frozen into a list of steps over planned memory. No code is generated; a
// step is a kernel call with its pointers already in place.
#pragma once
#include <memory>
#include <string>

#include "engine/plan/plan.h"
#include "engine/turns.h"

namespace wengert::engine {

struct StepProfile {
  std::string what;
  double seconds, flops, bytes;
};

class Program;

// While it lives, everything this thread computes is recorded. Arguments are stand-ins made by `argument_node`, results
// any tensors. Everything else that the operations read is live: parameters, optimizer state, constants.
//
//   Recording recording;
//   Tensor in[] = {argument_node(x)};
//   Tensor out[] = {tanh(in[0])};
//   std::shared_ptr<Program> program = recording.freeze(in, out);
class Recording {
 public:
  Recording();
  ~Recording();
  Recording(const Recording&) = delete;
  // Whether somebody else refers to a leaf that was made meanwhile and changed: then it is not made anew by a replay.
  bool keeps_strangers(std::span<const Tensor> results) const;
  // Cuts the results off. Null if it cannot be replayed, for an argument is a leaf that was changed in place.
  std::shared_ptr<Program> freeze(std::span<const Tensor> arguments, std::span<Tensor> results);
  // The planner's code after these passes alone (plan/plan.h).
  std::string text(std::span<const Tensor> arguments, std::span<const Tensor> results,
                   std::span<const std::string> passes) const;

 private:
  Tape* tape_;
};

// What a replay reads in the place of an argument: a tensor, or plain memory.
struct Argument {
  const Node* tensor;
  const void* data;
};

class Program {
 public:
  explicit Program(plan::Plan plan);
  ~Program();
  Program(const Program&) = delete;

  // One replay, when its turn has come. The caller has checked that the arguments have the recorded shapes and dtypes
  // and that the program `applies`, and keeps the arguments alive; tensors may be changed by other threads meanwhile. A
  // long replay gives up the lock of the interpreter. On an exception, leaves that had not been written to yet are as
  // before.
  enum class Outcome {
    done,
    no_longer_applies,  // another thread came first
    refused,            // only the plain function will do: an argument is a leaf that the program changes, or this is a
  };  // part of a turn and the program is in use
  Outcome run(std::span<const Argument> arguments, std::vector<Tensor>& results);
  // The recorded situation still holds: the same leaves require gradients and have a .grad to add to.
  bool applies() const;

  const plan::Counts& counts() const { return counts_; }
  index_t replays() const { return replays_; }
  std::string str() const;                  // the planned steps, one a line
  std::vector<const Attrs*> attrs() const;  // of its steps, if nobody else holds them
  // Times each step; all leaves are afterwards as before. The program applies.
  std::vector<StepProfile> profile(std::span<const Argument> arguments, int repeats);
  std::span<const Tensor> written() const { return written_; }  // leaves that a replay changes in place
  std::vector<Tensor> graded() const;                           // leaves whose .grad it sets or takes away

 private:
  friend class Recording;
  using Modes = std::vector<std::pair<Tensor, bool>>;
  void prepare(Modes requires_grad);
  Claim claim() const { return {changes_, this, calls_back_, false}; }
  bool may_begin(std::span<const Argument> arguments) const;
  bool changes_one_of(std::span<const Argument> arguments) const;
  void bind(std::span<const Argument> arguments, bool grads_in_place = true);
  void bind_leaves();
  void run_divided(Turn& turn, std::span<const Argument> arguments);
  void deliver(std::vector<Tensor>& results);

  // A result or gradient lives in one of a few tensors, whichever nobody outside holds any more.
  struct Output : plan::Result {
    std::vector<Tensor> pool;
    Tensor current;
  };

  std::vector<void*> slots_;                        // where each value is
  std::vector<std::pair<int, Tensor>> externals_;   // live leaves and constants
  std::vector<Tensor> written_;                     // leaves that effects change
  std::vector<std::pair<int, int>> arguments_;      // slot, argument
  std::vector<std::pair<int, Tensor>> grad_reads_;  // slot, leaf whose .grad was there before
  std::vector<Tensor> grad_absent_;                 // leaves that must have no .grad to begin with
  std::vector<Tensor> grad_clears_;
  std::vector<Output> outputs_;
  std::vector<std::unique_ptr<Step>> steps_;
  Buffer* arena_ = nullptr;
  plan::Counts counts_;
  index_t replays_ = 0;
  double work_ = 0;  // rough seconds of one replay

  std::vector<const Value*> changes_;  // see Claim
  Modes requires_grad_;                // of leaves that somebody may switch
  bool calls_back_ = false;
  bool divided_ = false;  // gives up the lock of the interpreter in the middle
};

// A stand-in for an argument: a constant with a place on the recording.
Tensor argument_node(const Tensor& x);
// What is changed when this tensor is: while recording, the argument behind a stand-in.
Tensor changeable(const Tensor& t);
// While recording: the stand-in of an argument that is this leaf shows what it has been changed to.
void follow_argument(const Tensor& leaf);
// Whether this tensor's value may differ at a replay: it must not decide anything while recording.
bool is_replayed(const Tensor& t);

}  // namespace wengert::engine
