// What the tape costs: recording, sweeping and freeing small graphs, timed by google-benchmark.
#include <benchmark/benchmark.h>

#include "graphs.h"

namespace wengert::bench {
namespace {

// a + b of n floats; recorded: with a gradient asked for.
void add_constants(benchmark::State& state) {
  const Tensor a = constant({state.range(0)}), b = constant({state.range(0)});
  for (auto _ : state) benchmark::DoNotOptimize((a + b).get());
}
BENCHMARK(add_constants)->Arg(8)->Arg(4096);

void add_recorded(benchmark::State& state) {
  const Tensor a = parameter({state.range(0)}), b = constant({state.range(0)});
  for (auto _ : state) benchmark::DoNotOptimize((a + b).get());
}
BENCHMARK(add_recorded)->Arg(8)->Arg(4096);

// Time per item is time per tanh, forward and backward.
void tanh_chain(benchmark::State& state) {
  const Tensor x = parameter({state.range(0)});
  constexpr int length = 1000;
  for (auto _ : state) bench::tanh_chain(x, length);
  state.SetItemsProcessed(state.iterations() * length);
}
BENCHMARK(tanh_chain)->Arg(1)->Arg(8)->Arg(1024);

void worked_example(benchmark::State& state) {
  const Tensor x = parameter({});
  for (auto _ : state) benchmark::DoNotOptimize(bench::worked_example(x).get());
}
BENCHMARK(worked_example);

// A network's loss alone, and a whole training step; their ratio bounds what differentiation costs.
void mlp_loss(benchmark::State& state) {
  const Mlp mlp({4, 64, 64, 2}, 32);
  const engine::GradMode off(false);
  for (auto _ : state) benchmark::DoNotOptimize(mlp.loss().get());
}
BENCHMARK(mlp_loss);

void mlp_step(benchmark::State& state) {
  Mlp mlp({4, 64, 64, 2}, 32);
  for (auto _ : state) mlp.step();
}
BENCHMARK(mlp_step);

void mlp_step_replayed(benchmark::State& state) {
  Mlp mlp({4, 64, 64, 2}, 32);
  const auto program = mlp.compile();
  const engine::Argument batch = mlp.batch();
  std::vector<Tensor> results;
  for (auto _ : state) program->run({&batch, 1}, results);
}
BENCHMARK(mlp_step_replayed);

void mlp_step_784_128_10(benchmark::State& state) {
  Mlp mlp({784, 128, 10}, 64);
  for (auto _ : state) mlp.step();
}
BENCHMARK(mlp_step_784_128_10);

}  // namespace
}  // namespace wengert::bench
