#include "engine/memory.h"

#include <pthread.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <vector>

#include "kernels/pages.h"

namespace wengert::engine {
namespace {

constexpr std::size_t small_limit = 1024, small_step = 16, chunk = std::size_t{64} << 10;
constexpr std::size_t most = std::size_t{1} << 62;  // of one block: rounded up to its class it is still a size
constexpr std::size_t large_header = 64, cache_limit = std::size_t{512} << 20;

struct FreeBlock {
  FreeBlock* next;
  FreeBlock* next_list;  // in Spare::lists
};
static_assert(sizeof(FreeBlock) <= small_step);
constexpr std::size_t small_classes = small_limit / small_step + 1;

// Written by the thread they belong to, read by any.
struct Count {
  std::atomic<std::int64_t> n{0};
  std::int64_t get() const { return n.load(std::memory_order_relaxed); }
  std::int64_t add(std::int64_t more) {
    const std::int64_t sum = get() + more;
    n.store(sum, std::memory_order_relaxed);
    return sum;
  }
};

constexpr std::int64_t surplus = 4096;  // blocks that a thread keeps of what others have allocated

// Small blocks are cut from chunks that live as long as the process; a thread that ends leaves its lists to the next.
struct SmallLists {
  FreeBlock* lists[small_classes] = {};
  char* chunk_at = nullptr;
  char* chunk_end = nullptr;
  Count allocated;        // blocks of any size
  Count granted, left;    // how many it may free before it looks whether it frees more than it allocates, of these left
  std::int64_t most = 0;  // freed beyond allocated, from which it gives its lists away
  std::int64_t freed() const { return granted.get() - left.get(); }
};

struct Spare {
  std::mutex lock;
  std::vector<SmallLists*> all;            // small lists
  std::vector<SmallLists*> idle;           // of threads that ended
  FreeBlock* lists[small_classes] = {};    // given away by threads that free what others allocate
  std::atomic<bool> has[small_classes]{};  // whether there are any
  std::vector<void*> large[64 * 4];        // by size class
  std::size_t cached = 0;
  std::atomic<std::size_t> live{0};
};
Spare& spare() {
  static Spare* s = [] {
    // A fork must not copy the lock while another thread holds it.
    ::pthread_atfork([] { spare().lock.lock(); }, [] { spare().lock.unlock(); }, [] { spare().lock.unlock(); });
    return new Spare;  // never destroyed: tensors may outlive static destruction
  }();
  return *s;
}

struct Owner {
  SmallLists* lists = nullptr;
  ~Owner();
};
thread_local SmallLists* small_lists __attribute__((tls_model("initial-exec"))) = nullptr;
thread_local Owner owner;
Owner::~Owner() {
  if (!lists) return;
  std::lock_guard guard(spare().lock);
  spare().idle.push_back(lists);
  small_lists = nullptr;
}

[[gnu::noinline]] SmallLists& take_lists() {
  {
    std::lock_guard guard(spare().lock);
    if (!spare().idle.empty()) {
      small_lists = spare().idle.back();
      spare().idle.pop_back();
    }
  }
  if (!small_lists) {
    auto* const fresh = new SmallLists;
    std::lock_guard guard(spare().lock);
    spare().all.push_back(fresh);
    small_lists = fresh;
  }
  owner.lists = small_lists;
  return *small_lists;
}

inline SmallLists& my_lists() { return small_lists ? *small_lists : take_lists(); }

// A block off the front of a list.
void* pop(FreeBlock*& list) { return std::exchange(list, list->next); }

// What one thread allocates and another frees goes back to the first.
void look_at_surplus(SmallLists& mine) noexcept {
  const std::int64_t beyond = mine.freed() - mine.allocated.get();
  const bool gives = beyond > mine.most;
  if (gives) mine.most = beyond + surplus;
  const std::int64_t more = std::max(surplus, mine.most - beyond);
  mine.granted.add(more);
  mine.left.add(more);
  if (!gives) return;
  Spare& s = spare();
  std::lock_guard guard(s.lock);
  for (std::size_t k = 0; k < small_classes; ++k)
    if (FreeBlock* list = std::exchange(mine.lists[k], nullptr)) {
      list->next_list = std::exchange(s.lists[k], list);
      s.has[k].store(true, std::memory_order_relaxed);
    }
}

void* refill(SmallLists& mine, std::size_t k) {
  if (Spare& s = spare(); s.has[k].load(std::memory_order_relaxed)) {
    std::lock_guard guard(s.lock);
    if (FreeBlock* list = s.lists[k]) {
      s.lists[k] = list->next_list;
      s.has[k].store(s.lists[k] != nullptr, std::memory_order_relaxed);
      mine.lists[k] = list;
      return pop(mine.lists[k]);
    }
  }
  const std::size_t bytes = k * small_step;
  if (static_cast<std::size_t>(mine.chunk_end - mine.chunk_at) < bytes) {
    mine.chunk_at = static_cast<char*>(std::aligned_alloc(64, chunk));
    if (!mine.chunk_at) {
      mine.chunk_end = nullptr;
      throw std::bad_alloc();
    }
    mine.chunk_end = mine.chunk_at + chunk;
  }
  void* p = mine.chunk_at;
  mine.chunk_at += bytes;
  return p;
}

// Four classes per doubling: at most a quarter is wasted.
struct SizeClass {
  int index;
  std::size_t bytes;
};
SizeClass size_class(std::size_t bytes) {
  const int log = static_cast<int>(std::bit_width(bytes - 1));  // bytes <= 2^log
  const std::size_t quarter = std::size_t{1} << (log - 3);
  const std::size_t steps = (bytes + quarter - 1) / quarter;  // 5..8 quarters of 2^(log-1)
  return {log * 4 + static_cast<int>(steps) - 5, steps * quarter};
}

// Memory of which the first `used` bytes will be needed at once.
void* new_block(std::size_t bytes, std::size_t used) {
  return take_pages(bytes, (used + large_page / 2) / large_page * large_page);
}

}  // namespace

void* allocate(std::size_t bytes) {
  SmallLists& mine = my_lists();  // before the lock, which it takes too
  if (bytes <= small_limit) {
    mine.allocated.add(1);
    const std::size_t k = (bytes + small_step - 1) / small_step;
    return mine.lists[k] ? pop(mine.lists[k]) : refill(mine, k);
  }
  if (bytes > most) throw std::bad_alloc();
  const SizeClass c = size_class(bytes);
  Spare& s = spare();
  s.live.fetch_add(c.bytes, std::memory_order_relaxed);
  {
    std::lock_guard guard(s.lock);
    auto& list = s.large[c.index];
    if (!list.empty()) {
      void* p = list.back();
      list.pop_back();
      s.cached -= c.bytes;
      mine.allocated.add(1);
      return p;
    }
  }
  void* p = new_block(c.bytes, bytes);
  if (!p) {
    s.live.fetch_sub(c.bytes, std::memory_order_relaxed);
    throw std::bad_alloc();
  }
  mine.allocated.add(1);
  return p;
}

void deallocate(void* p, std::size_t bytes) noexcept {
  SmallLists& mine = my_lists();
  if (mine.left.add(-1) < 0) look_at_surplus(mine);
  if (bytes <= small_limit) {
    const std::size_t k = (bytes + small_step - 1) / small_step;
    auto* b = static_cast<FreeBlock*>(p);
    b->next = mine.lists[k];
    mine.lists[k] = b;
    return;
  }
  const SizeClass c = size_class(bytes);
  Spare& s = spare();
  s.live.fetch_sub(c.bytes, std::memory_order_relaxed);
  {
    std::lock_guard guard(s.lock);
    if (s.cached + c.bytes <= cache_limit) {
      s.large[c.index].push_back(p);
      s.cached += c.bytes;
      return;
    }
  }
  std::free(p);
}

MemoryUse memory_use() {
  std::lock_guard guard(spare().lock);
  std::int64_t blocks = 0;
  for (const SmallLists* lists : spare().all) blocks += lists->allocated.get() - lists->freed();
  return {spare().live.load(), spare().cached, static_cast<std::size_t>(blocks)};
}

std::uint64_t allocation_count() { return static_cast<std::uint64_t>(my_lists().allocated.get()); }

namespace {
constexpr std::size_t header_for(std::size_t bytes) { return bytes >= 512 ? large_header : sizeof(Buffer); }
}  // namespace

Buffer* Buffer::create(std::size_t bytes) {
  auto* b = new (allocate(bytes + header_for(bytes))) Buffer;
  b->bytes = bytes;
  return b;
}

Buffer* Buffer::borrow(void* data, std::size_t bytes, void (*release)(void*), void* owner) {
  auto* b = new (allocate(sizeof(Buffer) + sizeof(Borrowed))) Buffer;
  b->bytes = bytes;
  b->borrowed = 1;
  new (b + 1) Borrowed{data, release, owner};
  return b;
}

void* Buffer::data() { return borrowed ? lender().data : reinterpret_cast<char*>(this) + header_for(bytes); }

void Buffer::destroy() noexcept {
  if (borrowed) {
    Borrowed lent = lender();
    deallocate(this, sizeof(Buffer) + sizeof(Borrowed));
    lent.release(lent.owner);
  } else {
    deallocate(this, bytes + header_for(bytes));
  }
}

std::uint64_t fingerprint(const void* data, std::size_t bytes) {
  // Four independent multiply chains keep up with memory.
  constexpr std::uint64_t prime = 0x9E3779B97F4A7C15u;
  std::uint64_t h[4] = {1, 2, 3, 4};
  const char* p = static_cast<const char*>(data);
  for (; bytes >= 32; p += 32, bytes -= 32) {
    std::uint64_t w[4];
    std::memcpy(w, p, 32);
    for (int i = 0; i < 4; ++i) h[i] = std::rotl(h[i] ^ w[i], 23) * prime;
  }
  std::uint64_t w[4] = {};
  std::memcpy(w, p, bytes);
  std::uint64_t all = bytes;
  for (int i = 0; i < 4; ++i) all = std::rotl(all ^ (std::rotl(h[i] ^ w[i], 23) * prime), 29) * prime;
  return all;
}

}  // namespace wengert::engine
