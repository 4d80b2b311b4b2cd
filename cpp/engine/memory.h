// Memory for nodes and arrays: size classes with free lists, so that a training loop allocates nothing new after its
// first step. Small blocks are cached per thread, large ones under a lock. Array memory is reference counted, because
// reshapes, detached tensors and NumPy views share it.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <string>
#include <utility>
#include <vector>

namespace wengert::engine {

struct OutOfMemory : std::bad_alloc {
  explicit OutOfMemory(std::string text) : text_(std::move(text)) {}
  const char* what() const noexcept override { return text_.c_str(); }

 private:
  std::string text_;
};

void* allocate(std::size_t bytes);  // throws std::bad_alloc
void deallocate(void* p, std::size_t bytes) noexcept;
// Bytes of large blocks in use and kept for reuse by this process, and blocks of any size in use.
struct MemoryUse {
  std::size_t live, cached, blocks;
};
MemoryUse memory_use();
std::uint64_t allocation_count();  // how often `allocate` has been called by this thread

// Memory that someone else owns, such as a NumPy array's.
struct Borrowed {
  void* data;
  void (*release)(void* owner);
  void* owner;
  bool fingerprinted = false;
  std::uint64_t fingerprint = 0;  // at the last recording that reads it
  std::uint32_t changed = 0;      // the epoch when a recording found other values than the one before
};

struct Buffer {
  std::atomic<std::uint32_t> refs{1};
  std::uint32_t borrowed = 0;
  std::uint64_t bytes = 0;  // of data
  // Data follows: 16 bytes on, or 64 for large arrays (whole cache lines); or a Borrowed stands there.
  static Buffer* create(std::size_t bytes);
  static Buffer* borrow(void* data, std::size_t bytes, void (*release)(void*), void* owner);
  void* data();
  Borrowed& lender() { return *reinterpret_cast<Borrowed*>(this + 1); }
  void retain() { refs.fetch_add(1, std::memory_order_relaxed); }
  void release() noexcept {
    if (refs.load(std::memory_order_acquire) == 1 || refs.fetch_sub(1, std::memory_order_acq_rel) == 1) destroy();
  }
  bool unique() const { return refs.load(std::memory_order_acquire) == 1; }

 private:
  void destroy() noexcept;
};

// Buffers that somebody reads for a while: they stay, and who wants to change a leaf in place copies it instead.
class Readers {
 public:
  Readers() = default;
  explicit Readers(Buffer* b) { add(b); }
  Readers(Readers&& o) noexcept : buffers_(std::exchange(o.buffers_, {})) {}
  ~Readers() { clear(); }
  void add(Buffer* b) {
    buffers_.push_back(b);
    b->retain();
  }
  void clear() noexcept {
    for (Buffer* b : buffers_) b->release();
    buffers_.clear();
  }

 private:
  std::vector<Buffer*> buffers_;
};

// A fast 64-bit hash of the bytes, to notice borrowed memory that was changed behind our back.
std::uint64_t fingerprint(const void* data, std::size_t bytes);

}  // namespace wengert::engine
