// Every other kernel of every instruction set, straight from the kernel table: reductions, rows, moves of elements and
// optimizer updates, at 64 rows of 64 and 1024 of 1024. Bytes a second, beside bench_kernels' copy of as many bytes.
//   bench_kernels --benchmark_filter='avx512/float/(softmax|adam)/'
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "kernels/select.h"
#include "kernels/table.h"

namespace {

using namespace wengert;
using kernels::Table;

// What the kernels work on: n rows of n.
template <class T>
struct Operands {
  index_t n;
  std::vector<T> x, g, y, first, second;
  std::vector<index_t> index;

  explicit Operands(index_t rows) : n(rows) {
    unsigned seed = 1;
    for (std::vector<T>* v : {&x, &g, &y, &first, &second}) {
      v->resize(static_cast<std::size_t>(n * n));
      for (T& e : *v) {
        seed = seed * 1664525u + 1013904223u;
        e = static_cast<T>(seed >> 8) / static_cast<T>(1 << 24);
      }
    }
    for (index_t i = 0; i < n; ++i) index.push_back((i * 31 + 7) % n);
  }
};

template <class T>
struct Kernel {
  const char* name;
  index_t arrays;  // as large as x, that it reads and writes
  void (*run)(const Table<T>& t, Operands<T>& o);
};

template <class T>
const Kernel<T> all[] = {
    {"sum of columns", 1, [](auto& t, auto& o) { t.sum(o.x.data(), o.y.data(), 1, o.n, o.n, o.n); }},
    {"sum of rows", 1, [](auto& t, auto& o) { t.sum(o.x.data(), o.y.data(), o.n, o.n, 1, 1); }},
    {"max of columns", 1, [](auto& t, auto& o) { t.max(o.x.data(), o.y.data(), 1, o.n, o.n, o.n); }},
    {"max of rows", 1, [](auto& t, auto& o) { t.max(o.x.data(), o.y.data(), o.n, o.n, 1, 1); }},
    {"min of rows", 1, [](auto& t, auto& o) { t.min(o.x.data(), o.y.data(), o.n, o.n, 1, 1); }},
    {"logsumexp", 1, [](auto& t, auto& o) { t.logsumexp(o.x.data(), o.y.data(), o.n, o.n); }},
    {"softmax", 2, [](auto& t, auto& o) { t.softmax(o.x.data(), o.y.data(), o.n, o.n); }},
    {"softmax_d", 3, [](auto& t, auto& o) { t.softmax_pullback(o.x.data(), o.g.data(), o.y.data(), o.n, o.n); }},
    {"log_softmax", 2, [](auto& t, auto& o) { t.log_softmax(o.x.data(), o.y.data(), o.n, o.n); }},
    {"log_softmax_d", 3,
     [](auto& t, auto& o) { t.log_softmax_pullback(o.x.data(), o.g.data(), o.y.data(), o.n, o.n); }},
    {"cross_entropy", 1, [](auto& t, auto& o) { t.cross_entropy(o.x.data(), o.index.data(), o.y.data(), o.n, o.n); }},
    {"cross_entropy_d", 2,
     [](auto& t, auto& o) { t.cross_entropy_pullback(o.x.data(), o.index.data(), o.g.data(), o.y.data(), o.n, o.n); }},
    {"layer_norm", 2, [](auto& t, auto& o) { t.layer_norm(o.x.data(), o.y.data(), o.n, o.n, 1e-5); }},
    {"layer_norm_d", 3,
     [](auto& t, auto& o) { t.layer_norm_pullback(o.x.data(), o.g.data(), o.y.data(), o.n, o.n, 1e-5); }},
    {"transpose", 2, [](auto& t, auto& o) { t.transpose(o.x.data(), o.y.data(), 1, o.n, o.n); }},
    {"gather", 2, [](auto& t, auto& o) { t.gather(o.x.data(), o.index.data(), o.y.data(), o.n, o.n); }},
    {"scatter_add", 3, [](auto& t, auto& o) { t.scatter_add(o.x.data(), o.index.data(), o.y.data(), o.n, o.n); }},
    {"sgd", 5,
     [](auto& t, auto& o) { t.sgd({o.y.data(), o.g.data(), o.first.data(), o.n * o.n, 1e-9, 0.9, 0.0, false}); }},
    {"adam", 7,
     [](auto& t, auto& o) {
       t.adam({o.y.data(), o.g.data(), o.first.data(), o.second.data(), o.n * o.n, 1e-9, 0.9, 0.999, 1e-8, 0.0, 0.1,
               1e-3, false});
     }},
};

template <class T>
void row_kernel(benchmark::State& state, const Table<T>* table, Kernel<T> kernel) {
  Operands<T> operands(state.range(0));
  for (auto _ : state) {
    kernel.run(*table, operands);
    benchmark::DoNotOptimize(operands.y.data());
    benchmark::ClobberMemory();
  }
  const index_t elements = state.iterations() * state.range(0) * state.range(0);
  state.SetItemsProcessed(elements);
  state.SetBytesProcessed(elements * kernel.arrays * static_cast<index_t>(sizeof(T)));
}

template <class T>
void add_all(const char* isa, const char* type) {
  for (const Kernel<T>& kernel : all<T>) {
    const std::string name = std::string(isa) + "/" + type + "/" + kernel.name;
    benchmark::RegisterBenchmark(name.c_str(), row_kernel<T>, kernels::table<T>(isa), kernel)->Arg(64)->Arg(1024);
  }
}

const bool added = [] {
  for (const char* const* isa = kernels::isas(); *isa; ++isa) {
    add_all<float>(*isa, "float");
    add_all<double>(*isa, "double");
  }
  return true;
}();

}  // namespace
