// Record once, replay many: a recorded tape, frozen into a list of steps over planned memory. No code is generated; a
// step is a kernel call with its pointers already in place.
#pragma once
#include <memory>
#include <mutex>
#include <string>

#include "engine/node.h"
#include "engine/plan/plan.h"

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
  std::shared_ptr<Program> freeze(std::span<const Tensor> arguments,
                                  std::span<Tensor> results);  // cuts the results off
  // The planner's code after these passes alone (plan/plan.h).
  std::string text(std::span<const Tensor> arguments, std::span<const Tensor> results,
                   std::span<const std::string> passes) const;

 private:
  Tape* tape_;
  Tape* before_;
};

class Program {
 public:
  explicit Program(plan::Plan plan);
  ~Program();
  Program(const Program&) = delete;

  // One replay. The caller has checked that the arguments have the recorded shapes and dtypes, sees to it that they
  // stay as they are, and holds `lock`. A long replay gives up the lock of the interpreter meanwhile.
  // On an exception, leaves that had not been written to yet are as before.
  void run(const void* const* arguments, std::vector<Tensor>& results);
  // The recorded situation still holds: the same leaves have a .grad to add to as at the recording.
  bool applies() const;

  const plan::Counts& counts() const { return counts_; }
  index_t replays() const { return replays_; }
  std::string str() const;  // the planned steps, one a line
  std::vector<StepProfile> profile(const void* const* arguments, int repeats);
  std::span<const Tensor> written() const { return written_; }  // leaves that a replay changes in place
  bool changes_leaves() const;                                  // these, or their .grad
  std::mutex lock;

 private:
  void bind(const void* const* arguments);
  Readers readers() const;
  bool sets_grad() const;
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
  std::size_t n_results_ = 0;
  std::vector<std::unique_ptr<Step>> steps_;
  Buffer* arena_ = nullptr;
  plan::Counts counts_;
  index_t replays_ = 0;
  double work_ = 0;  // rough seconds of one replay
};

// A stand-in for an argument: a constant with a place on the recording.
Tensor argument_node(const Tensor& x);
// Whether this tensor's value may differ at a replay: it must not decide anything while recording.
bool is_replayed(const Tensor& t);

}  // namespace wengert::engine
