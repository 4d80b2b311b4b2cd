// The softmax family, row by row. (First version: right, not yet fast.)
#pragma once
#include "kernels/table.h"

namespace wengert::kernels {
namespace {

// max of the row and sum of exp(x - max). An infinite max is replaced by 0, so that -inf rows give -inf.
template <class T>
struct RowStats {
  T shift, total;
};
template <class T>
RowStats<T> row_stats(const T* x, index_t n) {
  T m = x[0];
  for (index_t i = 1; i < n; ++i)
    if (!(m >= x[i]) && m == m) m = x[i];
  const T shift = m - m == 0 ? m : T(0);
  double s = 0;
  for (index_t i = 0; i < n; ++i) s += __builtin_exp(static_cast<double>(x[i] - shift));
  return {shift, static_cast<T>(s)};
}
template <class T>
T log_of(T x) {
  return static_cast<T>(__builtin_log(static_cast<double>(x)));
}
template <class T>
T exp_of(T x) {
  return static_cast<T>(__builtin_exp(static_cast<double>(x)));
}

template <class T>
void logsumexp(const T* x, T* y, index_t rows, index_t n) {
  for (index_t r = 0; r < rows; ++r) {
    const RowStats<T> s = row_stats(x + r * n, n);
    y[r] = s.shift + log_of(s.total);
  }
}

template <class T>
void softmax(const T* x, T* y, index_t rows, index_t n) {
  for (index_t r = 0; r < rows; ++r) {
    const RowStats<T> s = row_stats(x + r * n, n);
    for (index_t i = 0; i < n; ++i) y[r * n + i] = exp_of(x[r * n + i] - s.shift) / s.total;
  }
}

template <class T>
void log_softmax(const T* x, T* y, index_t rows, index_t n) {
  for (index_t r = 0; r < rows; ++r) {
    const RowStats<T> s = row_stats(x + r * n, n);
    const T l = log_of(s.total);
    for (index_t i = 0; i < n; ++i) y[r * n + i] = x[r * n + i] - s.shift - l;
  }
}

template <class T>
void softmax_pullback(const T* y, const T* g, T* dx, index_t rows, index_t n) {
  for (index_t r = 0; r < rows; ++r, y += n, g += n, dx += n) {
    T s = 0;
    for (index_t i = 0; i < n; ++i) s = s + g[i] * y[i];
    for (index_t i = 0; i < n; ++i) dx[i] = y[i] * (g[i] - s);
  }
}

template <class T>
void log_softmax_pullback(const T* y, const T* g, T* dx, index_t rows, index_t n) {
  for (index_t r = 0; r < rows; ++r, y += n, g += n, dx += n) {
    T s = 0;
    for (index_t i = 0; i < n; ++i) s = s + g[i];
    for (index_t i = 0; i < n; ++i) dx[i] = g[i] - exp_of(y[i]) * s;
  }
}

template <class T>
void cross_entropy(const T* x, const index_t* label, T* loss, index_t rows, index_t n) {
  for (index_t r = 0; r < rows; ++r) {
    const RowStats<T> s = row_stats(x + r * n, n);
    loss[r] = log_of(s.total) + (s.shift - x[r * n + label[r]]);
  }
}

template <class T>
void cross_entropy_pullback(const T* x, const index_t* label, const T* g, T* dx, index_t rows, index_t n) {
  for (index_t r = 0; r < rows; ++r) {
    const RowStats<T> s = row_stats(x + r * n, n);
    for (index_t i = 0; i < n; ++i)
      dx[r * n + i] = g[r] * (exp_of(x[r * n + i] - s.shift) / s.total - (i == label[r] ? T(1) : T(0)));
  }
}

}  // namespace
}  // namespace wengert::kernels
