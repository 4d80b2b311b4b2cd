// A small thread pool. No thread exists until the first parallel call, nothing is parallel below a threshold of work,
// and results never depend on the number of threads: work is split over elements of the result, never within a sum.
//
// Callable from any number of threads at once: the pool serves one caller at a time, the others (and calls from inside
// a parallel region) run their work themselves. A forked child starts without workers and gets its own when needed.
#pragma once
#include <algorithm>
#include <memory>
#include <type_traits>

#include "kernels/table.h"

namespace wengert {

// Threads that a call from this thread may use. At first: WENGERT_NUM_THREADS, else what affinity and cgroup allow.
int get_num_threads();
// For the whole process; n >= 1.
void set_num_threads(int n);
// For this thread only, over the above; 0 removes it. Returns what was set before.
int exchange_thread_limit(int n);

// Runs f(context, task) for each task in [0, tasks) on up to get_num_threads() threads, and waits. An exception of a
// task comes to the caller.
void run_tasks(index_t tasks, void (*f)(void* context, index_t task), void* context);

// f(begin, end) on chunks of [0, n) of at least `grain` each (all of it, if n is less).
template <class F>
void parallel_for(index_t n, index_t grain, F&& f) {
  if (n <= 0) return;
  const index_t most = n / std::max<index_t>(1, grain);
  const index_t threads = most < 2 ? 1 : get_num_threads();
  if (threads < 2) return void(f(index_t{0}, n));
  struct Work {
    std::remove_reference_t<F>* f;
    index_t n, tasks;
  } work{std::addressof(f), n, std::min(most, 2 * threads)};
  run_tasks(
      work.tasks,
      [](void* context, index_t task) {
        const Work& w = *static_cast<Work*>(context);
        const index_t size = w.n / w.tasks, longer = w.n % w.tasks;
        const index_t begin = task * size + std::min(task, longer);
        (*w.f)(begin, begin + size + (task < longer));
      },
      &work);
}

// The kernel table's matmul, over blocks of rows and columns.
template <class T>
void matmul_parallel(const kernels::MatMul<T>& p);

}  // namespace wengert
