// Optimizer updates in one pass. (First version: right, not yet fast.)
#pragma once
#include "kernels/table.h"

namespace wengert::kernels {
namespace {

template <class T>
void sgd(const Sgd<T>& s) {
  const T lr = static_cast<T>(s.lr), mu = static_cast<T>(s.momentum), wd = static_cast<T>(s.weight_decay);
  for (index_t i = 0; i < s.n; ++i) {
    const T d = s.g[i] + wd * s.p[i];
    T step = d;
    if (s.v) {
      s.v[i] = mu * s.v[i] + d;
      step = s.nesterov ? d + mu * s.v[i] : s.v[i];
    }
    s.p[i] = s.p[i] - lr * step;
  }
}

template <class T>
void adam(const Adam<T>& s) {
  const T b1 = static_cast<T>(s.beta1), b2 = static_cast<T>(s.beta2), eps = static_cast<T>(s.eps);
  const T c1 = static_cast<T>(1 - s.beta1), c2 = static_cast<T>(1 - s.beta2);
  const T lr = static_cast<T>(s.lr / s.correction1), scale = static_cast<T>(1 / __builtin_sqrt(s.correction2));
  const T l2 = static_cast<T>(s.decoupled ? 0 : s.weight_decay);
  const T keep = static_cast<T>(s.decoupled ? 1 - s.lr * s.weight_decay : 1);
  for (index_t i = 0; i < s.n; ++i) {
    const T g = s.g[i] + l2 * s.p[i];
    s.m[i] = b1 * s.m[i] + c1 * g;
    s.v[i] = b2 * s.v[i] + c2 * (g * g);
    const T root = static_cast<T>(__builtin_sqrt(static_cast<double>(s.v[i])));
    s.p[i] = keep * s.p[i] - lr * s.m[i] / (root * scale + eps);
  }
}

}  // namespace
}  // namespace wengert::kernels
