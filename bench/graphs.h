// Small graphs through the engine, in plain C++: what tape.cpp times and instructions.cpp counts. Also the example of
// how to use the engine without Python: functions of ops/functions.h on tensors, engine::backward, gradients in the
// leaves, and a whole training step recorded and replayed (Mlp::compile).
#pragma once
#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "engine/node.h"
#include "engine/program.h"
#include "engine/sweep.h"
#include "ops/functions.h"

namespace wengert::bench {

// Values between -1 and 1, the same on every machine.
template <class T>
void fill(T* x, index_t n) {
  std::uint64_t state = 1;
  for (index_t i = 0; i < n; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    x[i] = static_cast<T>(static_cast<double>(state >> 40) / (1 << 23) - 1);
  }
}

inline Tensor constant(const Shape& shape) {
  Tensor t = empty(DType::f32, shape);
  fill(t.data<float>(), t.size());
  return t;
}

// A leaf: backward leaves its gradient in it.
inline Tensor parameter(const Shape& shape) {
  Tensor t = constant(shape);
  t.get()->requires_grad = true;
  return t;
}

inline Tensor total(const Tensor& x) { return sum(x, all_axes(x)); }

inline void backward(const Tensor& loss) {
  engine::backward(loss, full(loss.dtype(), loss.shape(), 1), /*retain_tape=*/false, /*create_graph=*/false);
}

// The gradient that backward left, taken out of the leaf.
inline Tensor take_gradient(const Tensor& leaf) { return Tensor(std::exchange(engine::node(leaf)->adjoint, nullptr)); }

// y = tanh(tanh(...tanh(x))): recorded, swept, freed.
inline void tanh_chain(const Tensor& x, int length) {
  Tensor y = x;
  for (int i = 0; i < length; ++i) y = tanh(y);
  backward(total(y));
  take_gradient(x);
}

// A chain of products and activations, recorded and planned: the first call of a compiled function.
inline std::shared_ptr<engine::Program> planned_chain(const Tensor& x, const Tensor& w, int length) {
  engine::Recording recording;
  const Tensor in[] = {engine::argument_node(x)};
  Tensor y = in[0];
  for (int i = 0; i < length; i += 4) y = tanh(matmul(y, w) + x) * 0.5;
  Tensor out[] = {y};
  return recording.freeze(in, out);
}

// f(x) = sqrt(x^2 + exp(x^2)) + cos(x^2 + exp(x^2)), and its derivative.
inline Tensor worked_example(const Tensor& x) {
  const Tensor a = x * x;
  const Tensor c = a + exp(a);
  backward(sqrt(c) + cos(c));
  return take_gradient(x);
}

// A network with tanh between its layers, trained by Adam on the mean squared error of one batch.
class Mlp {
 public:
  Mlp(const std::vector<index_t>& sizes, index_t batch)
      : x_(constant({batch, sizes.front()})), target_(constant({batch, sizes.back()})) {
    for (std::size_t i = 0; i + 1 < sizes.size(); ++i) {
      const Shape weight{sizes[i], sizes[i + 1]}, bias{sizes[i + 1]};
      for (const Shape& s : {weight, bias})
        parameters_.push_back({parameter(s), full(DType::f32, s, 0), full(DType::f32, s, 0), full(DType::f64, {}, 0)});
    }
    const double adam[] = {1e-3, 0.9, 0.999, 1e-8, 0.0};  // lr, beta1, beta2, eps, weight_decay
    std::copy_n(adam, 5, numbers_.data<double>());
  }

  Tensor loss() const { return loss(x_); }

  Tensor step() { return step(x_); }

  // The same step, recorded once to be replayed: `program->run({&batch, 1}, results)`.
  std::shared_ptr<engine::Program> compile() {
    engine::Recording recording;
    const Tensor in[] = {engine::argument_node(x_)};
    Tensor out[] = {step(in[0])};
    return recording.freeze(in, out);
  }
  engine::Argument batch() const { return {engine::node(x_), nullptr}; }

 private:
  Tensor loss(const Tensor& x) const {
    Tensor f = x;
    for (std::size_t i = 0; i < parameters_.size(); i += 2) {
      f = matmul(f, parameters_[i].value) + parameters_[i + 1].value;
      if (i + 2 < parameters_.size()) f = tanh(f);
    }
    const Tensor squares = square(f - target_);
    return mean(squares, all_axes(squares));
  }

  Tensor step(const Tensor& x) {
    const Tensor value = loss(x);
    backward(value);
    std::vector<AdamSlot> slots;
    for (Parameter& p : parameters_) slots.push_back({p.value, take_gradient(p.value), p.mean, p.square, p.steps});
    adam_step(slots, numbers_, /*decoupled=*/false);
    return value;
  }

  struct Parameter {
    Tensor value, mean, square, steps;
  };
  Tensor x_, target_, numbers_ = full(DType::f64, {5}, 0);
  std::vector<Parameter> parameters_;
};

}  // namespace wengert::bench
