// Memory on large pages, where the system has them: a product or an optimizer step walks many pages at a time, more
// than the processor keeps the addresses of. In C alone, for kernels and engine alike.
#pragma once
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>

namespace wengert {

constexpr size_t large_page = size_t{2} << 20;

// `bytes` and more, to be given to free(): in whole cache lines, of which the first `large` stand on large pages if
// that is not 0. `bytes` becomes how many there are. Null if there is no memory.
static inline __attribute__((always_inline)) void* take_pages(size_t& bytes, size_t large) {
  const size_t alignment = large ? large_page : 64;
  if (bytes < large) bytes = large;
  bytes = (bytes + alignment - 1) / alignment * alignment;
  void* const memory = aligned_alloc(alignment, bytes);
#ifdef MADV_HUGEPAGE
  if (memory && large) madvise(memory, large, MADV_HUGEPAGE);
#endif
  return memory;
}

}  // namespace wengert
