// The matrix product of every ISA that this CPU runs, in both float types, straight from the kernel table; and beside
// it what bounds it: the measured rate of fused multiply-adds, and of copying memory.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/select.h"
#include "kernels/table.h"

namespace {

using wengert::index_t;
namespace kernels = wengert::kernels;

template <class T>
constexpr const char* type_name = sizeof(T) == 4 ? "f32" : "f64";

void rates(benchmark::State& state, double flops, double bytes) {
  using benchmark::Counter;
  if (flops > 0) state.counters["FLOP/s"] = Counter(flops, Counter::kIsIterationInvariantRate);
  state.counters["bytes/s"] = Counter(bytes, Counter::kIsIterationInvariantRate);
}

struct Shape {
  index_t m, k, n;
  bool trans_a = false, trans_b = false;

  std::string name() const {
    return std::to_string(m) + "x" + std::to_string(k) + "x" + std::to_string(n) + (trans_a ? " A'" : "") +
           (trans_b ? " B'" : "");
  }
};

constexpr Shape shapes[] = {
    {1, 16, 16},
    {1, 784, 128},
    {1, 1024, 1024},
    {1, 1024, 1024, false, true},
    {8, 8, 8},
    {16, 16, 16},
    {32, 32, 32},
    {64, 64, 64},
    {128, 128, 128},
    {256, 256, 256},
    {512, 512, 512},
    {1024, 1024, 1024},
    {32, 784, 128},
    {128, 784, 256},
    {784, 32, 128, true},
    {32, 128, 784, false, true},
    {32, 128, 10},
    {256, 256, 10},
    {256, 256, 1},
    {33, 65, 17},
    {10000, 64, 64},
    {64, 64, 10000},
    {512, 512, 512, true, false},
    {512, 512, 512, false, true},
};

template <class T>
void matmul(benchmark::State& state, const kernels::Table<T>* table, Shape s) {
  const auto count = [](index_t x, index_t y) { return static_cast<std::size_t>(x * y); };
  std::vector<T> a(count(s.m, s.k), T(0.5)), b(count(s.k, s.n), T(0.25)), c(count(s.m, s.n));
  kernels::MatMul<T> p{a.data(), b.data(), c.data(), s.m, s.n, s.k, s.trans_a ? s.m : s.k, s.trans_b ? s.k : s.n, s.n};
  p.trans_a = s.trans_a;
  p.trans_b = s.trans_b;
  for (auto _ : state) {
    table->matmul(p);
    benchmark::ClobberMemory();
  }
  rates(state, 2.0 * static_cast<double>(s.m) * static_cast<double>(s.n) * static_cast<double>(s.k),
        static_cast<double>(sizeof(T) * (a.size() + b.size() + c.size())));
}

// Twelve independent chains of multiply-adds in registers.
template <class T, int bytes>
__attribute__((always_inline)) inline void chains(benchmark::State& state) {
  typedef T V __attribute__((vector_size(bytes)));
  constexpr int lanes = bytes / static_cast<int>(sizeof(T)), count = 12, steps = 1000;
  V x[count], by = V{} + T(0.999), plus = V{} + T(0.001);
  for (V& v : x) v = V{} + T(0.5);
  for (auto _ : state) {
    for (int i = 0; i < steps; ++i)
#pragma GCC unroll 12
      for (int j = 0; j < count; ++j) x[j] = x[j] * by + plus;
    benchmark::DoNotOptimize(x);
  }
  rates(state, 2.0 * count * steps * lanes, 0);
}
#if defined(__x86_64__)
template <class T>
__attribute__((target("avx512f"))) void peak_avx512(benchmark::State& state) {
  chains<T, 64>(state);
}
template <class T>
__attribute__((target("avx2,fma"))) void peak_avx2(benchmark::State& state) {
  chains<T, 32>(state);
}
#endif
template <class T>
void peak_baseline(benchmark::State& state) {
  chains<T, 16>(state);
}

void copy(benchmark::State& state) {
  const auto n = static_cast<std::size_t>(state.range(0));
  std::vector<char> from(n, 1), to(n);
  for (auto _ : state) {
    std::memcpy(to.data(), from.data(), n);
    benchmark::ClobberMemory();
  }
  rates(state, 0, 2.0 * static_cast<double>(n));
}

template <class T>
void register_all() {
  for (const char* const* isa = kernels::isas(); *isa; ++isa) {
    const kernels::Table<T>* table = kernels::table<T>(*isa);
    if (!table) continue;
    const std::string end = std::string("/") + *isa + "/" + type_name<T>;
    auto* peak = peak_baseline<T>;
#if defined(__x86_64__)
    if (std::string(*isa) == "avx512") peak = peak_avx512<T>;
    if (std::string(*isa) == "avx2") peak = peak_avx2<T>;
#endif
    benchmark::RegisterBenchmark(("fma peak" + end).c_str(), peak);
    for (const Shape& s : shapes)
      benchmark::RegisterBenchmark(("matmul " + s.name() + end).c_str(), matmul<T>, table, s);
  }
}

const bool registered = [] {
  for (int kib : {16, 256, 4096, 65536}) benchmark::RegisterBenchmark("copy", copy)->Arg(kib * 1024);
  register_all<float>();
  register_all<double>();
  return true;
}();

}  // namespace
