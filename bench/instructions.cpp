// A fixed list of kernels and tape operations, each run once while callgrind counts its instructions: the counts repeat
// where times do not. bench/regress.py runs this and compares with bench/baseline.json.
#include <valgrind/callgrind.h>

#include <cstdio>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "graphs.h"
#include "kernels/table.h"

namespace wengert::bench {
namespace {

std::vector<std::pair<std::string, std::function<void()>>> cases;

void add_case(const std::string& name, std::function<void()> run) { cases.emplace_back(name, std::move(run)); }

// Between 1/4 and 5/4, where every function is defined.
template <class T>
std::vector<T> values(index_t n) {
  std::vector<T> x(static_cast<std::size_t>(n));
  fill(x.data(), n);
  for (T& v : x) v = T(0.75) + v / 2;
  return x;
}

// An elementwise kernel; a pullback takes up to five arrays, and all of them may be the same.
template <class T>
void add_map(const std::string& name, MapId id) {
  constexpr index_t n = 4096;
  add_case(name, [=, x = values<T>(n), y = values<T>(n)]() mutable {
    const T* in[] = {x.data(), x.data(), x.data(), x.data(), x.data()};
    const index_t step[] = {1, 1, 1, 1, 1};
    kernels::table<T>().map[id](in, step, y.data(), n);
  });
}

void add_matmul(index_t m, index_t k, index_t n, bool trans_a, bool trans_b) {
  const std::string name = "matmul " + std::to_string(m) + "x" + std::to_string(k) + "x" + std::to_string(n) +
                           (trans_a ? " At" : "") + (trans_b ? " Bt" : "");
  add_case(name, [=, a = values<float>(m * k), b = values<float>(k * n), c = values<float>(m * n)]() mutable {
    kernels::MatMul<float> p{a.data(), b.data(), c.data(), m, n, k, trans_a ? m : k, trans_b ? k : n, n};
    p.trans_a = trans_a;
    p.trans_b = trans_b;
    kernels::table<float>().matmul(p);
  });
}

// A kernel on rows of 10, such as a classifier's scores.
template <class F>
void add_rows(const std::string& name, F run) {
  constexpr index_t rows = 64, n = 10;
  add_case(name, [=, x = values<float>(rows * n), y = values<float>(rows * n),
                  label = std::vector<index_t>(static_cast<std::size_t>(rows), 3)]() mutable {
    run(kernels::table<float>(), x.data(), y.data(), label.data(), rows, n);
  });
}

void add_kernels() {
#define MAP(NAME) add_map<float>(#NAME, map_##NAME)
  MAP(add), MAP(multiply), MAP(divide), MAP(pow), MAP(maximum), MAP(where);
  MAP(exp), MAP(expm1), MAP(log), MAP(log1p), MAP(sqrt), MAP(sin), MAP(erf);
  MAP(tanh), MAP(sigmoid), MAP(softplus), MAP(relu), MAP(gelu), MAP(silu);
  MAP(tanh_d0), MAP(sigmoid_d0), MAP(relu_d0), MAP(gelu_d0), MAP(silu_d0);
#undef MAP
  add_map<double>("exp, double", map_exp);
  add_map<double>("log, double", map_log);
  add_map<double>("tanh, double", map_tanh);

  add_matmul(8, 8, 8, false, false);
  add_matmul(32, 784, 128, false, false);
  add_matmul(784, 32, 128, true, false);
  add_matmul(32, 128, 784, false, true);
  add_matmul(32, 128, 10, false, false);
  add_matmul(1, 1024, 1024, false, false);
  add_matmul(33, 65, 17, false, false);
  add_matmul(256, 256, 256, false, false);

  constexpr index_t n = 1 << 16;
  add_case("sum of all", [x = values<float>(n)] {
    float y = 0;
    kernels::table<float>().sum(x.data(), &y, 1, n, 1, 1);
  });
  add_case("sum of rows", [x = values<float>(n), y = values<float>(256)]() mutable {
    kernels::table<float>().sum(x.data(), y.data(), 256, 256, 1, 1);
  });
  add_case("sum of columns", [x = values<float>(n), y = values<float>(64)]() mutable {
    kernels::table<float>().sum(x.data(), y.data(), 1, n / 64, 64, 64);
  });
  add_case("max of rows", [x = values<float>(n), y = values<float>(256)]() mutable {
    kernels::table<float>().max(x.data(), y.data(), 256, 256, 1, 1);
  });
  add_rows("softmax", [](auto& k, auto* x, auto* y, auto*, auto rows, auto m) { k.softmax(x, y, rows, m); });
  add_rows("logsumexp", [](auto& k, auto* x, auto* y, auto*, auto rows, auto m) { k.logsumexp(x, y, rows, m); });
  add_rows("cross entropy",
           [](auto& k, auto* x, auto* y, auto* labels, auto rows, auto m) { k.cross_entropy(x, labels, y, rows, m); });
  add_case("transpose", [x = values<float>(128 * 784), y = values<float>(128 * 784)]() mutable {
    kernels::table<float>().transpose(x.data(), y.data(), 1, 128, 784);
  });
  add_case("adam", [p = values<float>(n), g = values<float>(n), m = values<float>(n), v = values<float>(n)]() mutable {
    kernels::table<float>().adam(
        {p.data(), g.data(), m.data(), v.data(), n, 1e-3, 0.9, 0.999, 1e-8, 0.0, 0.1, 0.001, false});
  });
}

void add_graphs() {
  add_case("add, 8 floats", [a = constant({8}), b = constant({8})] { Tensor(a + b); });
  add_case("add, 8 floats, recorded", [a = parameter({8}), b = constant({8})] { Tensor(a + b); });
  add_case("tanh chain of 100", [x = parameter({8})] { tanh_chain(x, 100); });
  for (const int n : {1000, 10000})
    add_case("plan of " + std::to_string(n),
             [n, x = constant({4, 4}), w = constant({4, 4})] { planned_chain(x, w, n); });
  add_case("worked example", [x = parameter({})] { worked_example(x); });
  add_case("loss of 4-64-64-2", [mlp = Mlp({4, 64, 64, 2}, 32)] { Tensor(mlp.loss()); });
  add_case("step of 4-64-64-2", [mlp = Mlp({4, 64, 64, 2}, 32)]() mutable { mlp.step(); });
}

}  // namespace
}  // namespace wengert::bench

int main() {
  using namespace wengert::bench;
  add_kernels();
  add_graphs();
  for (auto& [name, run] : cases) {
    for (int warm_up = 0; warm_up < 3; ++warm_up) run();
    CALLGRIND_ZERO_STATS;
    run();
    CALLGRIND_DUMP_STATS_AT(name.c_str());
    std::puts(name.c_str());
  }
}
