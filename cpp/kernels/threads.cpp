#include "kernels/threads.h"

#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>
#if defined(__linux__)
#include <sched.h>
#endif

namespace wengert {
namespace {

// ---- How many threads ------------------------------------------------------------------------------------------

// CPUs that the cgroup's quota amounts to, rounded up; 0 if there is none.
int cgroup_cpus() {
  const auto quotient = [](double quota, double period) {
    return quota > 0 && period > 0 ? static_cast<int>((quota + period - 1) / period) : 0;
  };
  int cpus = 0;
  std::string line, path;
  for (std::ifstream groups("/proc/self/cgroup"); std::getline(groups, line);)
    if (line.rfind("0::", 0) == 0) path = line.substr(3);
  while (true) {  // version 2: the tightest of the group and its parents
    std::ifstream max("/sys/fs/cgroup" + path + "/cpu.max");
    double quota = 0, period = 0;
    if (max >> quota >> period)
      if (const int n = quotient(quota, period); n && (!cpus || n < cpus)) cpus = n;
    if (path.empty()) break;
    path.erase(path.find_last_of('/') == std::string::npos ? 0 : path.find_last_of('/'));
  }
  double quota = 0, period = 0;  // version 1
  std::ifstream("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") >> quota;
  std::ifstream("/sys/fs/cgroup/cpu/cpu.cfs_period_us") >> period;
  if (const int n = quotient(quota, period); n && (!cpus || n < cpus)) cpus = n;
  return cpus;
}

int default_threads() {
  if (const char* wanted = std::getenv("WENGERT_NUM_THREADS"))
    if (const long n = std::strtol(wanted, nullptr, 10); n >= 1) return static_cast<int>(std::min(n, 1024L));
  int n = static_cast<int>(std::thread::hardware_concurrency());
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) n = CPU_COUNT(&set);
  if (const int quota = cgroup_cpus(); quota && quota < n) n = quota;
#endif
  return std::max(1, n);
}

std::atomic<int> global_limit{0};  // 0: not asked for yet
thread_local int own_limit = 0;

// ---- The pool --------------------------------------------------------------------------------------------------

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}
constexpr int spins = 2000;  // some tens of microseconds: the time between two kernels of a training step

struct Pool {
  // What the pool works on. A worker may look at it only between joining and leaving.
  void (*f)(void*, index_t) = nullptr;
  void* context = nullptr;
  index_t tasks = 0;
  std::atomic<index_t> next{0};

  // Number of the job, whether it is open to join (bit 16), and how many workers have joined (bits 0-15). The caller
  // closes a job when its tasks are taken, and waits for those who joined: a worker that wakes up late costs nothing.
  std::atomic<std::uint64_t> state{0};
  std::atomic<int> left{0};
  std::atomic<std::uint32_t> bell{0};  // rung for each job, and to stop
  std::atomic<int> helpers{0};         // workers that the job wants
  std::atomic<bool> stop{false};

  std::atomic_flag busy = ATOMIC_FLAG_INIT;
  std::vector<std::thread> workers;  // changed only by who holds `busy`

  static constexpr std::uint64_t open = 1u << 16, joined = open - 1;

  // The first exception of a task, for the caller; the tasks not yet begun are left out.
  std::exception_ptr error;
  std::atomic_flag failed = ATOMIC_FLAG_INIT;

  void work() noexcept {
    try {
      for (index_t t; (t = next.fetch_add(1, std::memory_order_relaxed)) < tasks;) f(context, t);
    } catch (...) {
      next.store(tasks, std::memory_order_relaxed);
      if (!failed.test_and_set(std::memory_order_relaxed)) error = std::current_exception();
    }
  }

  void serve(int index) {
    std::uint32_t heard = 0;
    while (true) {
      std::uint32_t now = bell.load(std::memory_order_acquire);
      for (int i = 0; now == heard && i < spins; ++i, now = bell.load(std::memory_order_acquire)) pause();
      if (now == heard) {
        bell.wait(heard, std::memory_order_acquire);
        continue;
      }
      heard = now;
      if (stop.load(std::memory_order_acquire)) return;
      if (index >= helpers.load(std::memory_order_relaxed)) continue;
      std::uint64_t s = state.load(std::memory_order_acquire);
      while (s & open)
        if (state.compare_exchange_weak(s, s + 1, std::memory_order_acq_rel)) {
          work();
          left.fetch_add(1, std::memory_order_release);
          break;
        }
    }
  }

  void grow(int wanted) {
    if (static_cast<int>(workers.size()) >= wanted) return;
    sigset_t all, before;  // signals are for the threads of the program, not for these
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
      while (static_cast<int>(workers.size()) < wanted)
        workers.emplace_back([this, index = static_cast<int>(workers.size())] {
          own_limit = 1;  // calls from inside a task stay on its thread
          serve(index);
        });
    } catch (const std::exception&) {  // no more threads to be had: go on with those there are
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  // The caller holds `busy`.
  void run(index_t count, void (*function)(void*, index_t), void* with, int threads) {
    grow(threads - 1);
    f = function, context = with, tasks = count;
    next.store(0, std::memory_order_relaxed);
    left.store(0, std::memory_order_relaxed);
    helpers.store(threads - 1, std::memory_order_relaxed);
    const std::uint64_t job = ((state.load(std::memory_order_relaxed) >> 17) + 1) << 17;
    state.store(job | open, std::memory_order_release);
    bell.fetch_add(1, std::memory_order_release);
    bell.notify_all();
    work();
    const int helped = static_cast<int>(state.fetch_and(~open, std::memory_order_acq_rel) & joined);
    for (int i = 0; left.load(std::memory_order_acquire) != helped; ++i)
      if (i < 20 * spins)
        pause();
      else
        std::this_thread::yield();
    if (failed.test(std::memory_order_relaxed)) {
      failed.clear(std::memory_order_relaxed);
      std::rethrow_exception(std::exchange(error, nullptr));
    }
  }

  void shut_down() {
    stop.store(true, std::memory_order_release);
    bell.fetch_add(1, std::memory_order_release);
    bell.notify_all();
    for (std::thread& t : workers) t.join();
    workers.clear();
  }
};

// Never destroyed: another thread may be in it. A forked child has none of the workers, and starts over.
std::atomic<Pool*> the_pool{nullptr}, abandoned{nullptr};

[[maybe_unused]] const bool registered = [] {
  pthread_atfork(nullptr, nullptr, [] { abandoned.store(the_pool.exchange(nullptr)); });
  return std::atexit([] {
           Pool* last = the_pool.exchange(nullptr);
           if (last && !last->busy.test_and_set(std::memory_order_acquire)) last->shut_down();
         }) == 0;
}();

Pool& pool() {
  Pool* p = the_pool.load(std::memory_order_acquire);
  if (p) return *p;
  Pool* fresh = new Pool;
  if (the_pool.compare_exchange_strong(p, fresh, std::memory_order_acq_rel)) return *fresh;
  delete fresh;
  return *p;
}

}  // namespace

int get_num_threads() {
  if (own_limit) return own_limit;
  int n = global_limit.load(std::memory_order_relaxed);
  if (n == 0) {
    n = default_threads();
    int unset = 0;
    if (!global_limit.compare_exchange_strong(unset, n)) n = unset;
  }
  return n;
}

void set_num_threads(int n) { global_limit.store(std::max(1, n)); }

int exchange_thread_limit(int n) {
  const int before = own_limit;
  own_limit = n;
  return before;
}

void run_tasks(index_t tasks, void (*f)(void*, index_t), void* context) {
  const int threads = static_cast<int>(std::min<index_t>(tasks, get_num_threads()));
  if (threads >= 2) {
    Pool& p = pool();
    if (!p.busy.test_and_set(std::memory_order_acquire)) {
      struct Served {
        Pool& p;
        int limit = exchange_thread_limit(1);  // calls from inside a task stay on its thread
        ~Served() {
          exchange_thread_limit(limit);
          p.busy.clear(std::memory_order_release);
        }
      } served{p};
      return p.run(tasks, f, context, threads);
    }
  }
  for (index_t t = 0; t < tasks; ++t) f(context, t);
}

// Machine facts of a product by several threads. Below some 50 us of one thread's work, in multiplications and
// additions of float32 or, for few rows, bytes of B, a second thread costs more than it brings; a large one has two
// cells a thread, so that none waits long for another. A cell has at least so many rows and columns, in whole tiles of
// so many rows.
constexpr double worth_threads = 6e6, bytes_worth_threads = 2e6, large_product = 1e8;
constexpr index_t cell_rows = 28, cell_columns = 64, cell_unit = 14;

template <class T>
void matmul_parallel(const kernels::MatMul<T>& p) {
  const double flops = 2.0 * static_cast<double>(p.m) * static_cast<double>(p.n) * static_cast<double>(p.k);
  const double bytes = static_cast<double>(p.k) * static_cast<double>(p.n) * sizeof(T);
  const bool large = flops * sizeof(T) >= 4 * worth_threads || bytes >= bytes_worth_threads;
  const index_t threads = large ? get_num_threads() : 1;
  if (threads < 2) return kernels::table<T>().matmul(p);

  // A grid of rows x columns, each cell a product of its own that packs its part of A and of B: of the grids with
  // enough cells, the one that packs least. Few columns would not do, as n decides on the order of a sum.
  const index_t cells = flops * sizeof(T) >= 4 * large_product ? 2 * threads : threads;
  const index_t most_rows = std::max<index_t>(1, p.m / cell_rows);
  const index_t most_columns = std::max<index_t>(1, p.n / cell_columns);
  struct Grid {
    const kernels::MatMul<T>* p;
    index_t rows, columns;
  } grid{&p, 1, 1};
  double least = -1;
  for (index_t r = 1; r <= std::min(cells, most_rows); ++r) {
    const index_t c = std::min(most_columns, (cells + r - 1) / r);
    const double packed = static_cast<double>(c * p.m) + static_cast<double>(r * p.n);
    const bool more = r * c > grid.rows * grid.columns && grid.rows * grid.columns < cells;
    if (least < 0 || more || (r * c >= cells && packed < least)) grid.rows = r, grid.columns = c, least = packed;
  }
  run_tasks(
      grid.rows * grid.columns,
      [](void* context, index_t task) {
        const Grid& g = *static_cast<const Grid*>(context);
        const auto bound = [](index_t n, index_t parts, index_t i, index_t unit) {
          return i == parts ? n : n * i / parts / unit * unit;
        };
        const index_t r = task / g.columns, c = task % g.columns;
        const index_t i = bound(g.p->m, g.rows, r, cell_unit), j = bound(g.p->n, g.columns, c, cell_columns);
        kernels::MatMul<T> part = *g.p;
        part.m = bound(g.p->m, g.rows, r + 1, cell_unit) - i;
        part.n = bound(g.p->n, g.columns, c + 1, cell_columns) - j;
        part.a += part.trans_a ? i : i * part.lda;
        part.b += part.trans_b ? j * part.ldb : j;
        part.c += i * part.ldc + j;
        if (part.bias) part.bias += j;
        if (part.operand) part.operand += i * part.ldc + j;
        kernels::table<T>().matmul(part);
      },
      &grid);
}
template void matmul_parallel(const kernels::MatMul<float>&);
template void matmul_parallel(const kernels::MatMul<double>&);

}  // namespace wengert
