// Small graphs through the engine, in plain C++: what tape.cpp times and instructions.cpp counts. Also the example of
// how to use the engine without Python: functions of ops/functions.h on tensors, engine::backward, gradients in the
// leaves.
#pragma once
#include <cmath>
#include <utility>
#include <vector>

#include "engine/node.h"
#include "engine/sweep.h"
#include "kernels/table.h"
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
        parameters_.push_back({parameter(s), full(DType::f32, s, 0), full(DType::f32, s, 0)});
    }
  }

  Tensor loss() const {
    Tensor f = x_;
    for (std::size_t i = 0; i < parameters_.size(); i += 2) {
      f = matmul(f, parameters_[i].value) + parameters_[i + 1].value;
      if (i + 2 < parameters_.size()) f = tanh(f);
    }
    const Tensor squares = square(f - target_);
    return mean(squares, all_axes(squares));
  }

  void step() {
    backward(loss());
    ++t_;
    for (Parameter& p : parameters_) {
      const Tensor g = take_gradient(p.value);
      kernels::table<float>().adam({static_cast<float*>(engine::writable_data(p.value)), g.data<float>(),
                                    p.mean.data<float>(), p.square.data<float>(), g.size(), 1e-3, 0.9, 0.999, 1e-8, 0.0,
                                    1 - std::pow(0.9, t_), 1 - std::pow(0.999, t_), false});
    }
  }

 private:
  struct Parameter {
    Tensor value, mean, square;
  };
  Tensor x_, target_;
  std::vector<Parameter> parameters_;
  double t_ = 0;
};

}  // namespace wengert::bench
