// Reductions of the middle axis. (First version: right, not yet fast.)
#pragma once
#include "kernels/table.h"

namespace wengert::kernels {
namespace {

template <class T>
void sum(const T* x, T* y, index_t outer, index_t n, index_t inner) {
  for (index_t o = 0; o < outer; ++o)
    for (index_t i = 0; i < inner; ++i) {
      double s = 0;
      for (index_t k = 0; k < n; ++k) s += static_cast<double>(x[(o * n + k) * inner + i]);
      y[o * inner + i] = static_cast<T>(s);
    }
}

template <bool is_max, class T>
void extremum(const T* x, T* y, index_t outer, index_t n, index_t inner) {
  for (index_t o = 0; o < outer; ++o)
    for (index_t i = 0; i < inner; ++i) {
      T s = x[o * n * inner + i];
      for (index_t k = 1; k < n; ++k) {
        const T v = x[(o * n + k) * inner + i];
        if (!(is_max ? s >= v : s <= v) && s == s) s = v;
      }
      y[o * inner + i] = s;
    }
}
template <class T>
void max(const T* x, T* y, index_t outer, index_t n, index_t inner) {
  extremum<true>(x, y, outer, n, inner);
}
template <class T>
void min(const T* x, T* y, index_t outer, index_t n, index_t inner) {
  extremum<false>(x, y, outer, n, inner);
}

}  // namespace
}  // namespace wengert::kernels
