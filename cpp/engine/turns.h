// Who may change a leaf, and when: the one place that knows, for all threads.
//
// Operations are done under the interpreter's lock, so one by one. What is not done in one go opens a turn: a
// recording, which runs Python, and a replay that gives up the lock, for long kernels or for the Python of a primitive.
//
// 1. Turns that change the same leaves (values or .grad) come one after the other, a recording, which may change any,
//    comes alone, and a program serves one replay at a time. An eager change of a leaf (assignment, an optimizer's
//    step, backward adding to .grad) waits for the turns that change it.
// 2. What a turn calls, the function that is recorded or the Python of a primitive, is a part of it and does not wait
//    for turns. So turns never wait for each other in a circle, and who waits holds nothing.
// 3. While kernels change leaves without the lock, nobody else looks at these leaves: `settle` waits. This holds for
//    everybody, but lasts only as long as the kernels.
//
// Who waits gives up the interpreter's lock, and goes on noticing Ctrl-C.
#pragma once
#include <atomic>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "engine/node.h"

namespace wengert::engine {

// What somebody is about to do.
struct Claim {
  std::span<const Value* const> changes;  // leaves, in the order of their addresses
  const void* program = nullptr;          // whose memory it works in
  bool python = false;                    // it runs Python, which may do anything
  bool alone = false;                     // a recording
};
inline const Claim alone{{}, nullptr, true, true};

class Turn {
 public:
  explicit Turn(const Claim& claim);  // at once: `may_begin` has just said that it may
  ~Turn();
  Turn(const Turn&) = delete;

  // Kernels that run without the interpreter's lock, and read these buffers beside what they change. With it, while
  // somebody waits for leaves: who comes back at once for the next turn would never let him have it.
  class Kernels {
   public:
    Kernels(Turn& turn, Readers readers);
    ~Kernels();
    Kernels(const Kernels&) = delete;

   private:
    Turn& turn_;
    std::optional<Unlocked> unlocked_;
  };

 private:
  friend struct Turns;
  const Claim claim_;
  const std::thread::id thread_ = std::this_thread::get_id();
  bool kernels_run_ = false;
  Turn* const outer_;
};

bool in_turn();                                       // what this thread does is a part of one
extern std::atomic<int> open_turns, kernels_running;  // while there are none, nobody has to wait

// Waits until this may be done, which also reads these leaves. False: this is a part of a turn, and the program is in
// use, by that turn or by one that may come to need what this one changes.
bool may_begin(const Claim& claim, std::span<const Value* const> reads = {});

// Waits until no kernel changes any of these.
void settle_slowly(std::span<const Tensor> tensors);
inline void settle(std::span<const Tensor> tensors) {
  if (kernels_running.load(std::memory_order_relaxed)) [[unlikely]]
    settle_slowly(tensors);
}
inline void settle(const Tensor& t) { settle({&t, 1}); }

// Waits for the right to change these at once, or their .grad.
void may_change_slowly(std::span<const Tensor> leaves);
inline void may_change(std::span<const Tensor> leaves) {
  if (open_turns.load(std::memory_order_relaxed)) [[unlikely]]
    may_change_slowly(leaves);
}

}  // namespace wengert::engine
