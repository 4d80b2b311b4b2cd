// Ops that change leaves in place: assignment, optimizer updates, and the random state behind dropout. What may vary
// from step to step (learning rate, step count, random counter) stands in small state tensors, so that a replay needs
// no Python.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/table.h"
#include "kernels/threads.h"
#include "ops/functions.h"

namespace wengert {
namespace {

struct Effect : Op {
  Effect(const char* name, unsigned w) : Op(name) {
    writes = w;
    differentiable = false;
  }
  void vjp(Pullback&) const final {}
  Tensor jvp(Pushforward&) const final { return {}; }
};

constexpr index_t grain = 32768;  // elements worth a thread

struct Assign final : Effect {
  Assign() : Effect("assign", 1) {}
  void run(const Array* in, int, const Array&, Params) const override {
    std::memmove(in[0].data, in[1].data, static_cast<std::size_t>(in[0].shape->size() * size_of(in[0].dtype)));
  }
};
const Assign assign_object;

// An update of many parameters at once. The operands are `period` for each: p, its gradient, its state.
struct Update : Effect {
  Update(const char* name, unsigned w, int n) : Effect(name, w) { period = n; }
  // Threads share the elements of all parameters: f(operands of one, begin, end).
  template <class F>
  void over_elements(const Array* in, int n, F&& f) const {
    index_t total = 0;
    for (int k = 0; k < n; k += period) total += in[k].shape->size();
    parallel_for(total, grain, [&](index_t begin, index_t end) {
      for (int k = 0; k < n && end > 0; k += period) {
        const index_t size = in[k].shape->size();
        if (begin < size) f(in + k, std::max<index_t>(begin, 0), std::min(end, size));
        begin -= size;
        end -= size;
      }
    });
  }
};

struct SgdStep final : Update {
  SgdStep() : Update("sgd", 0b101, 4) {}
  void run(const Array* in, int n, const Array&, Params params) const override {
    over_elements(in, n, [&](const Array* one, index_t i, index_t end) {
      const double* state = one[3].as<double>();
      dispatch(one[0].dtype, [&]<class T>(T) {
        const auto at = [&](int k) { return one[k].data ? one[k].as<T>() + i : nullptr; };
        kernels::table<T>().sgd({at(0), at(1), at(2), end - i, state[0], state[1], state[2], params.word != 0});
      });
    });
  }
};
const SgdStep sgd_op;

// 1 - beta^t of both moments, which most parameters of an update share.
std::pair<double, double> corrections(double beta1, double beta2, double t) {
  thread_local double known[3] = {};
  thread_local std::pair<double, double> c;
  if (known[0] != beta1 || known[1] != beta2 || known[2] != t) {
    c = {1 - std::pow(beta1, t), 1 - std::pow(beta2, t)};
    known[0] = beta1, known[1] = beta2, known[2] = t;
  }
  return c;
}

struct AdamStep final : Update {
  AdamStep() : Update("adam", 0b101101, 6) {}
  void run(const Array* in, int n, const Array&, Params params) const override {
    for (int k = 0; k < n; k += period) *in[k + 5].as<double>() += 1;
    over_elements(in, n, [&](const Array* one, index_t i, index_t end) {
      const double* state = one[4].as<double>();
      const auto [first, second] = corrections(state[1], state[2], *one[5].as<double>());
      dispatch(one[0].dtype, [&]<class T>(T) {
        const auto at = [&](int k) { return one[k].as<T>() + i; };
        kernels::table<T>().adam({at(0), at(1), at(2), at(3), end - i, state[0], state[1], state[2], state[3], state[4],
                                  first, second, params.word != 0});
      });
    });
  }
};
const AdamStep adam_op;

// The counter-based generator SplitMix64 (Steele, Lea & Flood 2014): element i of draw c under a key is a hash of the
// three, so the numbers depend neither on lanes nor on threads.
std::uint64_t mix(std::uint64_t z) {
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  return z ^ z >> 31;
}

struct DropoutMask final : Op {
  DropoutMask() : Op("dropout_mask") { differentiable = false; }
  void run(const Array* in, int, const Array& out, Params p) const override {
    const auto* state = in[0].as<std::uint64_t>();
    const std::uint64_t stream = mix(mix(state[0]) + state[1] * 0x9E3779B97F4A7C15u);
    double drop;
    std::memcpy(&drop, &p.word, sizeof drop);
    const auto limit = static_cast<std::uint64_t>(std::ldexp(drop, 53));  // the upper 53 bits are below it
    dispatch(out.dtype, [&]<class T>(T) {
      const T keep = static_cast<T>(1 / (1 - drop));
      T* y = out.as<T>();
      parallel_for(out.shape->size(), grain, [=](index_t begin, index_t end) {
        for (index_t i = begin; i < end; ++i)
          y[i] = mix(stream + static_cast<std::uint64_t>(i) * 0x9E3779B97F4A7C15u) >> 11 < limit ? T{0} : keep;
      });
    });
  }
  void vjp(Pullback&) const override {}
  Tensor jvp(Pushforward&) const override { return {}; }
};
const DropoutMask dropout_mask_op;

struct CountOn final : Effect {
  CountOn() : Effect("count_on", 1) {}
  void run(const Array* in, int, const Array&, Params) const override { ++in[0].as<std::uint64_t>()[1]; }
};
const CountOn count_on_op;

void check(const char* op, const Tensor& p, std::initializer_list<const Tensor*> others) {
  for (const Tensor* t : others)
    if (*t && (!(t->shape() == p.shape()) || t->dtype() != p.dtype()))
      throw std::invalid_argument(std::string(op) + ": the parameter is " + name_of(p.dtype()) + p.shape().str() +
                                  ", its gradient or state is " + name_of(t->dtype()) + t->shape().str());
}

void check_state(const char* op, const Tensor& state, DType dtype, index_t size) {
  if (state.dtype() != dtype || state.size() != size)
    throw TypeError(std::string(op) + ": the state must be " + name_of(dtype) + " of size " + std::to_string(size));
}

}  // namespace

const Op& assign_op() { return assign_object; }

void assign(const Tensor& leaf, const Tensor& value) {
  if (!(leaf.shape() == value.shape()))
    throw std::invalid_argument("assign: a tensor of shape " + leaf.shape().str() + " cannot take values of shape " +
                                value.shape().str());
  apply_effect(assign_object, {leaf, cast(value, leaf.dtype())});
}

void sgd_step(std::span<const SgdSlot> slots, const Tensor& numbers, bool nesterov) {
  check_state("sgd", numbers, DType::f64, 3);
  std::vector<Tensor> operands;
  for (const auto& [p, g, velocity] : slots) {
    check("sgd", p, {&g, &velocity});
    operands.insert(operands.end(), {p, g, velocity, numbers});
  }
  apply_effect(sgd_op, operands, nesterov);
}

void adam_step(std::span<const AdamSlot> slots, const Tensor& numbers, bool decoupled) {
  check_state("adam", numbers, DType::f64, 5);
  std::vector<Tensor> operands;
  for (const auto& [p, g, mean, square, steps] : slots) {
    check("adam", p, {&g, &mean, &square});
    check_state("adam", steps, DType::f64, 1);
    operands.insert(operands.end(), {p, g, mean, square, numbers, steps});
  }
  apply_effect(adam_op, operands, decoupled);
}

Tensor dropout_mask(const Shape& shape, DType dtype, double p, const Tensor& state) {
  if (!(p >= 0 && p < 1)) throw std::invalid_argument("dropout: p must be in [0, 1), got " + std::to_string(p));
  check_state("dropout", state, DType::i64, 2);
  index_t word;
  std::memcpy(&word, &p, sizeof word);
  const Tensor mask = apply(dropout_mask_op, {state}, dtype, shape, word);
  apply_effect(count_on_op, {state});
  return mask;
}

}  // namespace wengert
