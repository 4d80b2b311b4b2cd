// Every elementwise kernel of every instruction set, straight from the kernel table: ns an element (as time per item),
// bytes a second; beside them a copy of as many bytes, the limit of what memory allows.
//   bench_kernels --benchmark_filter='avx512/float/(exp|tanh)/4096'
#include <benchmark/benchmark.h>

#include <cstring>
#include <string>
#include <vector>

#include "kernels/select.h"
#include "kernels/table.h"

namespace {

using namespace wengert;
using kernels::Table;

struct Entry {
  const char* name;
  int id, inputs;
  double low, high;  // where the op's tests sample its first operand
};

#define DOMAIN(A, B) A, B
#define DOMAIN2(A, B, ...) A, B
#define DOMAIN3(A, B, ...) A, B
const Entry entries[] = {
#define UNARY(NAME, DOC, RANGE, ...) {#NAME, map_##NAME, 1, RANGE}, {#NAME "_d0", map_##NAME##_d0, 3, RANGE},
#define BINARY(NAME, DOC, RANGE, ...) \
  {#NAME, map_##NAME, 2, RANGE}, {#NAME "_d0", map_##NAME##_d0, 4, RANGE}, {#NAME "_d1", map_##NAME##_d1, 4, RANGE},
#define TERNARY(NAME, DOC, RANGE, ...)                                                                               \
  {#NAME, map_##NAME, 3, RANGE}, {#NAME "_d0", map_##NAME##_d0, 5, RANGE}, {#NAME "_d1", map_##NAME##_d1, 5, RANGE}, \
      {#NAME "_d2", map_##NAME##_d2, 5, RANGE},
#define PREDICATE(NAME, DOC, RANGE, ...) {#NAME, map_##NAME, 2, RANGE},
#include "ops/elementwise.def"
};

template <class T>
void map_kernel(benchmark::State& state, const Table<T>* table, Entry e) {
  const auto n = static_cast<std::size_t>(state.range(0));
  std::vector<T> x[5], y(n);
  const T* in[5];
  const index_t step[5] = {1, 1, 1, 1, 1};
  unsigned seed = 1;
  for (int k = 0; k < 5; ++k) {
    x[k].resize(n);
    for (T& v : x[k]) {
      seed = seed * 1664525u + 1013904223u;
      v = static_cast<T>(e.low + (e.high - e.low) * (seed >> 8) / (1 << 24));
    }
    in[k] = x[k].data();
  }
  for (auto _ : state) {
    table->map[e.id](in, step, y.data(), state.range(0));
    benchmark::DoNotOptimize(y.data());
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
  state.SetBytesProcessed(state.iterations() * state.range(0) * static_cast<index_t>(sizeof(T)) * (e.inputs + 1));
}

void copy(benchmark::State& state) {
  const auto n = static_cast<std::size_t>(state.range(0));
  std::vector<char> x(n, 1), y(n);
  for (auto _ : state) {
    std::memcpy(y.data(), x.data(), n);
    benchmark::DoNotOptimize(y.data());
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(2 * state.iterations() * state.range(0));
}

template <class T>
void add_all(const char* isa, const char* type) {
  const Table<T>* table = kernels::table<T>(isa);
  for (const Entry& e : entries) {
    const std::string name = std::string(isa) + "/" + type + "/" + e.name;
    auto* b = benchmark::RegisterBenchmark(name.c_str(), map_kernel<T>, table, e)->Arg(4096);
    const std::string light = e.name;
    if (light == "add" || light == "multiply" || light == "relu") b->Arg(8)->Arg(1 << 24);
  }
}

const bool added = [] {
  benchmark::RegisterBenchmark("copy", copy)->Arg(16384)->Arg(1 << 26);
  for (const char* const* isa = kernels::isas(); *isa; ++isa) {
    add_all<float>(*isa, "float");
    add_all<double>(*isa, "double");
  }
  return true;
}();

}  // namespace
