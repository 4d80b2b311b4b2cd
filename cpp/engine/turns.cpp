#include "engine/turns.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <new>

namespace wengert::engine {

std::atomic<int> open_turns{0}, kernels_running{0};

namespace {
thread_local Turn* innermost = nullptr;
}

// All that are open. Its lock is never held by who waits for the interpreter's.
struct Turns {
  std::mutex lock;
  std::condition_variable changed;
  std::uint64_t changes = 0;
  std::vector<Turn*> open;
  int waiting = 0;

  static bool changes_leaf(const Turn& t, const Value* v) {
    return std::binary_search(t.claim_.changes.begin(), t.claim_.changes.end(), v);
  }
  static bool in_the_way(const Turn& t, const Claim& c) {
    const auto changes_any = [](const Claim& x) { return x.alone || x.python || !x.changes.empty(); };
    return (c.program && c.program == t.claim_.program) || (c.alone && changes_any(t.claim_)) ||
           (t.claim_.alone && changes_any(c)) ||
           std::any_of(c.changes.begin(), c.changes.end(), [&](auto* v) { return changes_leaf(t, v); });
  }
  bool any(auto&& what) const {
    return std::any_of(open.begin(), open.end(), [&](Turn* t) { return what(*t); });
  }
  bool unsettled(const Value* v) const {
    return any([&](const Turn& t) { return t.kernels_run_ && changes_leaf(t, v); });
  }

  bool in_use(const void* program) const {
    return any([&](const Turn& t) { return t.claim_.program == program; });
  }

  // The caller holds the interpreter's lock, and gets it back before anything is looked at again.
  void wait_while(auto&& blocked) {
    struct Waits {
      Turns& all;
      bool counted = false;
      ~Waits() {
        const std::lock_guard guard(all.lock);
        all.waiting -= counted;
      }
    } waits{*this};
    while (true) {
      std::uint64_t seen;
      {
        const std::lock_guard guard(lock);
        if (!blocked()) return;
        seen = changes;
        if (!std::exchange(waits.counted, true)) ++waiting;
      }
      {
        const Unlocked unlocked;
        std::unique_lock guard(lock);
        changed.wait_for(guard, std::chrono::milliseconds(50), [&] { return changes != seen; });
      }
      if (interpreter_lock.look_for_signals) interpreter_lock.look_for_signals();
    }
  }

  void open_one(Turn* t) {
    const std::lock_guard guard(lock);
    open.push_back(t);
    open_turns.store(static_cast<int>(open.size()), std::memory_order_relaxed);
  }
  void close(Turn* t) {
    const std::lock_guard guard(lock);
    std::erase(open, t);
    open_turns.store(static_cast<int>(open.size()), std::memory_order_relaxed);
    ++changes;
    changed.notify_all();
  }
  // Whether kernels may run without the interpreter's lock.
  bool begin_kernels(Turn* t) {
    if (t->claim_.changes.empty()) return true;
    const std::lock_guard guard(lock);
    if (waiting) return false;
    kernels_running.fetch_add(1, std::memory_order_relaxed);
    return t->kernels_run_ = true;
  }
  void end_kernels(Turn* t) {
    if (!t->kernels_run_) return;
    const std::lock_guard guard(lock);
    t->kernels_run_ = false;
    kernels_running.fetch_sub(1, std::memory_order_relaxed);
    ++changes;
    changed.notify_all();
  }

  // A fork waits for kernels to end, or the child would have leaves that are half written. It has only this thread, so
  // the turns of the others are over.
  void before_fork() {
    const auto kernels_run = [this] { return any([](const Turn& t) { return t.kernels_run_; }); };
    lock.lock();
    ++waiting;
    while (kernels_run()) {
      lock.unlock();
      {
        const Unlocked unlocked;
        std::unique_lock guard(lock);
        changed.wait(guard, [&] { return !kernels_run(); });
      }
      lock.lock();
    }
    --waiting;
  }
  void in_child() {
    new (&lock) std::mutex;
    new (&changed) std::condition_variable;
    waiting = 0;
    std::erase_if(open, [](const Turn* t) { return t->thread_ != std::this_thread::get_id(); });
    open_turns.store(static_cast<int>(open.size()), std::memory_order_relaxed);
  }
};

namespace {

// Never destroyed: another thread may be in it.
Turns& turns() {
  static Turns* all = [] {
    memory_use();  // its lock is to be taken after ours, for kernels take it: handlers run in reverse order
    ::pthread_atfork([] { turns().before_fork(); }, [] { turns().lock.unlock(); }, [] { turns().in_child(); });
    return new Turns;
  }();
  return *all;
}
[[maybe_unused]] const Turns& made_at_once = turns();

}  // namespace

bool in_turn() { return innermost; }

Turn::Turn(const Claim& claim) : claim_(claim), outer_(innermost) {
  turns().open_one(this);
  innermost = this;
}

Turn::~Turn() {
  innermost = outer_;
  turns().close(this);
}

Turn::Kernels::Kernels(Turn& turn, Readers readers) : turn_(turn) {
  if (turns().begin_kernels(&turn_)) unlocked_.emplace(std::move(readers));
}

Turn::Kernels::~Kernels() {
  unlocked_.reset();
  turns().end_kernels(&turn_);
}

bool may_begin(const Claim& claim, std::span<const Value* const> reads) {
  Turns& all = turns();
  const bool part = innermost;
  bool in_use = false;
  all.wait_while([&] {
    in_use = part && claim.program && all.in_use(claim.program);
    if (in_use) return false;
    if (!part && all.any([&](const Turn& t) { return Turns::in_the_way(t, claim); })) return true;
    return std::any_of(claim.changes.begin(), claim.changes.end(), [&](auto* v) { return all.unsettled(v); }) ||
           std::any_of(reads.begin(), reads.end(), [&](auto* v) { return all.unsettled(v); });
  });
  return !in_use;
}

void settle_slowly(std::span<const Tensor> tensors) {
  if (!thread_state().may_unlock) return;  // settled when it became undivided
  turns().wait_while([&] {
    return std::any_of(tensors.begin(), tensors.end(), [](const Tensor& t) { return t && turns().unsettled(t.get()); });
  });
}

void may_change_slowly(std::span<const Tensor> leaves) {
  std::vector<const Value*> changes;
  for (const Tensor& t : leaves)
    if (t) changes.push_back(t.get());
  may_begin({changes});
}

}  // namespace wengert::engine
