// Optimizer updates in one pass over the parameters. Where an fma stands is part of the definition: it makes an update
// the same bits on every ISA that has one.
#pragma once
#include "kernels/table.h"
#include "kernels/vec.h"

namespace wengert::kernels {
namespace {

// body(i, lanes) for each register's worth of n elements.
template <class T, class Body>
WENGERT_INLINE void each_vector(index_t n, Body body) {
  constexpr int W = Vec<T>::lanes;
  index_t i = 0;
  for (; i + W <= n; i += W) body(i, [](const T* p) { return Vec<T>::load(p); }, [](Vec<T> v, T* p) { v.store(p); });
  const int rest = static_cast<int>(n - i);
  if (rest) body(i, [rest](const T* p) { return Vec<T>::load(p, rest); }, [rest](Vec<T> v, T* p) { v.store(p, rest); });
}

template <class T>
void sgd(const Sgd<T>& s) {
  const Vec<T> lr = s.lr, momentum = s.momentum, decay = s.weight_decay;
  T *const p = s.p, *const velocity = s.v;
  const T* const g = s.g;
  const bool nesterov = s.nesterov;
  each_vector<T>(s.n, [=](index_t i, auto load, auto store) {
    const Vec<T> x = load(p + i), d = fma(decay, x, load(g + i));
    Vec<T> step = d;
    if (velocity) {
      const Vec<T> v = fma(momentum, load(velocity + i), d);
      store(v, velocity + i);
      step = nesterov ? fma(momentum, v, d) : v;
    }
    store(fma(-lr, step, x), p + i);
  });
}

template <class T>
void adam(const Adam<T>& s) {
  // The corrections are moved to where they cost nothing: m / c1 into the rate, sqrt(v / c2) into a factor.
  const Vec<T> rate = -s.lr / s.correction1, root = 1.0 / __builtin_sqrt(s.correction2), eps = s.eps;
  const Vec<T> b1 = s.beta1, b2 = s.beta2, a1 = 1.0 - s.beta1, a2 = 1.0 - s.beta2;
  const Vec<T> decay = s.decoupled ? 0.0 : s.weight_decay, keep = s.decoupled ? 1.0 - s.lr * s.weight_decay : 1.0;
  T *const p = s.p, *const first = s.m, *const second = s.v;
  const T* const g = s.g;
  each_vector<T>(s.n, [=](index_t i, auto load, auto store) {
    const Vec<T> x = load(p + i), d = fma(decay, x, load(g + i));
    const Vec<T> m = fma(b1, load(first + i), a1 * d), v = fma(b2, load(second + i), a2 * (d * d));
    store(m, first + i);
    store(v, second + i);
    store(fma(rate, m / fma(sqrt(v), root, eps), keep * x), p + i);
  });
}

}  // namespace
}  // namespace wengert::kernels
