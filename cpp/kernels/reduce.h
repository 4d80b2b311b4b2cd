// Sums, norms, maxima and minima over the middle axis of x[outer, n, stride], for `inner` columns of it.
//
// The same bits on every ISA: a sum over contiguous elements is 256 bytes of virtual lanes side by side, added by
// halving at the end; along rows (stride > 1) each column is its own lane. In a lane, blocks of 32 terms are added in
// order, and the blocks' sums with the rounding errors kept and added back, so that a long float sum is good to about
// half an ulp at the speed of memory. A norm is such a sum of squares, taken again of scaled elements where the squares
// leave the range. Maxima and minima do not depend on the order at all.
#pragma once
#include "kernels/math.h"
#include "kernels/shuffle.h"
#include "kernels/table.h"
#include "kernels/vec.h"

namespace wengert::kernels {
namespace {

constexpr index_t sum_block = 32;

WENGERT_INLINE int lanes_left(index_t left, index_t most) {
  return static_cast<int>(left < 0 ? 0 : left < most ? left : most);
}

// Sums of NV vectors side by side: term k of vector v is load(k, v), for k < n; then, if `more`, one term rest(v).
template <int NV, class T, class Load, class Rest>
WENGERT_INLINE void sum_terms(index_t n, bool more, Vec<T> (&total)[NV], Load load, Rest rest) {
  Vec<T> lost[NV];
  for (int v = 0; v < NV; ++v) total[v] = lost[v] = 0.0;
  for (index_t k0 = 0; k0 < n + more; k0 += sum_block) {
    const index_t k1 = k0 + sum_block < n ? k0 + sum_block : n;
    Vec<T> sum[NV];
    for (int v = 0; v < NV; ++v) sum[v] = 0.0;
    for (index_t k = k0; k < k1; ++k)
#pragma GCC unroll 16
      for (int v = 0; v < NV; ++v) sum[v] = sum[v] + load(k, v);
    if (more && k0 + sum_block > n)
      for (int v = 0; v < NV; ++v) sum[v] = sum[v] + rest(v);
    for (int v = 0; v < NV; ++v) {  // Knuth's two-sum: now + error is total + sum exactly
      const Vec<T> now = total[v] + sum[v], part = now - total[v];
      lost[v] = lost[v] + ((total[v] - (now - part)) + (sum[v] - part));
      total[v] = now;
    }
  }
  // After an overflow or with an infinite term the errors are NaN, and mean nothing.
  for (int v = 0; v < NV; ++v) total[v] = where(lost[v] == lost[v], total[v] + lost[v], total[v]);
}

// What is added of each element.
struct Itself {
  template <class V>
  WENGERT_INLINE V operator()(V x) const {
    return x;
  }
};
struct Square {
  template <class V>
  WENGERT_INLINE V operator()(V x) const {
    return x * x;
  }
};

template <class Term = Itself, class T>
WENGERT_INLINE T row_sum(const T* x, index_t n, Term term = {}) {
  constexpr int W = Vec<T>::lanes, L = 256 / sizeof(T), NV = L / W;
  if (n <= W) return sum_lanes(0.0 + term(Vec<T>::load(x, static_cast<int>(n))));  // the other lanes are 0
  const index_t whole = n / L;
  const auto rest = [=](int v) {
    const index_t at = whole * L + v * W;
    return term(Vec<T>::load(at < n ? x + at : x, lanes_left(n - at, W)));
  };
  Vec<T> total[NV];
  if (whole == 0)
    for (int v = 0; v < NV; ++v) total[v] = 0.0 + rest(v);
  else
    sum_terms(
        whole, whole * L < n, total, [=](index_t k, int v) { return term(Vec<T>::load(x + k * L + v * W)); }, rest);
  for (int half = NV / 2; half > 0; half /= 2)
    for (int v = 0; v < half; ++v) total[v] = total[v] + total[v + half];
  return sum_lanes(total[0]);
}

// NV vectors of columns; `last` lanes of the last one.
template <int NV, class Term, class T>
void column_sums(const T* x, T* y, index_t n, index_t stride, int last, Term term) {
  constexpr int W = Vec<T>::lanes;
  Vec<T> total[NV];
  const auto none = [](int) { return Vec<T>(0.0); };
  if (last == W)
    sum_terms(n, false, total, [=](index_t k, int v) { return term(Vec<T>::load(x + k * stride + v * W)); }, none);
  else
    sum_terms(
        n, false, total,
        [=](index_t k, int v) {
          return term(v == NV - 1 ? Vec<T>::load(x + k * stride + v * W, last) : Vec<T>::load(x + k * stride + v * W));
        },
        none);
  for (int v = 0; v < NV; ++v) total[v].store(y + v * W, v == NV - 1 ? last : W);
}

template <class Term, class T>
WENGERT_INLINE void sums(const T* x, T* y, index_t outer, index_t n, index_t inner, index_t stride, Term term) {
  constexpr index_t W = Vec<T>::lanes;
  if (stride == 1) {
    for (index_t o = 0; o < outer; ++o) y[o] = row_sum(x + o * n, n, term);
    return;
  }
  for (index_t o = 0; o < outer; ++o, x += n * stride, y += stride)
    for (index_t i = 0; i < inner;) {
      const index_t left = inner - i;
      const int vectors = left > 4 * W ? 8 : left > 2 * W ? 4 : left > W ? 2 : 1;
      const index_t width = left < vectors * W ? left : vectors * W;
      if (width <= (vectors - 1) * W) {  // not all of these vectors are in use: take those that are full
        const index_t part = vectors / 2 * W;
        vectors == 8 ? column_sums<4>(x + i, y + i, n, stride, W, term)
                     : column_sums<2>(x + i, y + i, n, stride, W, term);
        i += part;
        continue;
      }
      const int last = static_cast<int>(width - (vectors - 1) * W);
      switch (vectors) {
        case 8:
          column_sums<8>(x + i, y + i, n, stride, last, term);
          break;
        case 4:
          column_sums<4>(x + i, y + i, n, stride, last, term);
          break;
        case 2:
          column_sums<2>(x + i, y + i, n, stride, last, term);
          break;
        default:
          column_sums<1>(x + i, y + i, n, stride, last, term);
      }
      i += width;
    }
}

template <class T>
void sum(const T* x, T* y, index_t outer, index_t n, index_t inner, index_t stride) {
  sums(x, y, outer, n, inner, stride, Itself{});
}

template <class T>
struct Range {
  static constexpr bool is_float = sizeof(T) == 4;
  static constexpr T smallest = is_float ? T(__FLT_MIN__) : T(__DBL_MIN__);
  static constexpr T largest = is_float ? T(__FLT_MAX__) : T(__DBL_MAX__);
  static constexpr T eps = is_float ? T(__FLT_EPSILON__) : T(__DBL_EPSILON__);
  static constexpr T least_square = smallest / (eps * eps);  // a smaller sum of squares has lost some that underflowed
};

template <class T>
WENGERT_INLINE T root_of(T x) {
  return sizeof(T) == 4 ? static_cast<T>(__builtin_sqrtf(static_cast<float>(x)))
                        : static_cast<T>(__builtin_sqrt(static_cast<double>(x)));
}

// The norm of numbers whose squares leave the range.
template <class T>
T scaled_norm(const T* x, index_t n, index_t stride) {
  T most = 0;
  for (index_t k = 0; k < n; ++k) {
    const T size = x[k * stride] < 0 ? -x[k * stride] : x[k * stride];
    most = size > most ? size : most;
  }
  if (most == 0 || most > Range<T>::largest) return most;
  const T by = most < 1 ? 1 / (most < Range<T>::smallest ? Range<T>::smallest : most) : 1, down = most < 1 ? 1 : most;
  T sum = 0, lost = 0;
  for (index_t k = 0; k < n; ++k) {
    const T v = x[k * stride] * by / down, term = v * v, now = sum + term, part = now - sum;
    lost += (sum - (now - part)) + (term - part);
    sum = now;
  }
  return root_of(sum + lost) * down / by;
}

template <class T>
void norm(const T* x, T* y, index_t outer, index_t n, index_t inner, index_t stride) {
  sums(x, y, outer, n, inner, stride, Square{});
  for (index_t o = 0; o < outer; ++o, x += n * stride, y += stride)
    for (index_t i = 0; i < inner; ++i) {
      const bool lost = y[i] < Range<T>::least_square || y[i] > Range<T>::largest;
      y[i] = lost ? scaled_norm(x + i, n, stride) : root_of(y[i]);
    }
}

template <bool is_max, class T>
WENGERT_INLINE Vec<T> extreme(Vec<T> a, Vec<T> b) {
  return is_max ? maximum(a, b) : minimum(a, b);
}

// Lanes below n come from x, the others from y.
template <class T>
WENGERT_INLINE Vec<T> first_lanes(Vec<T> x, Vec<T> y, int n) {
  constexpr T index[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return where(Vec<T>::load(index) < Vec<T>(n), x, y);
}

template <bool is_max, class T>
WENGERT_INLINE T row_extreme(const T* x, index_t n) {
  constexpr index_t W = Vec<T>::lanes;
  const Vec<T> first = static_cast<double>(x[0]);
  Vec<T> m[4] = {first, first, first, first};
  index_t i = 0;
  for (; i + 4 * W <= n; i += 4 * W)
    for (int v = 0; v < 4; ++v) m[v] = extreme<is_max>(m[v], Vec<T>::load(x + i + v * W));
  for (; i + W <= n; i += W) m[0] = extreme<is_max>(m[0], Vec<T>::load(x + i));
  const int rest = static_cast<int>(n - i);
  if (rest) m[1] = extreme<is_max>(m[1], first_lanes(Vec<T>::load(x + i, rest), first, rest));
  m[0] = extreme<is_max>(extreme<is_max>(m[0], m[1]), extreme<is_max>(m[2], m[3]));
  if constexpr (W > 8) m[0] = extreme<is_max>(m[0], swapped<8>(m[0]));
  if constexpr (W > 4) m[0] = extreme<is_max>(m[0], swapped<4>(m[0]));
  if constexpr (W > 2) m[0] = extreme<is_max>(m[0], swapped<2>(m[0]));
  return extreme<is_max>(m[0], swapped<1>(m[0])).v[0];
}

// A block of short rows, turned: each lane holds a row, element i of every row is at lanes + i * W.
constexpr index_t short_row = 64;
template <class T>
struct Turned {
  static constexpr index_t W = Vec<T>::lanes;
  T lanes[short_row * W] = {};

  WENGERT_INLINE Vec<T> operator[](index_t i) const { return Vec<T>::load(lanes + i * W); }
  WENGERT_INLINE void set(index_t i, Vec<T> v) { v.store(lanes + i * W); }
  void read(const T* x, index_t rows, index_t n) { transpose_block(x, n, lanes, W, rows, n, W); }
  void write(T* y, index_t rows, index_t n) const { transpose_block(lanes, W, y, n, n, rows, n); }
};

// For each block of short rows: body(first row, number of rows).
template <class T, class Body>
WENGERT_INLINE void short_blocks(index_t rows, Body body) {
  constexpr index_t W = Vec<T>::lanes;
  for (index_t r = 0; r < rows; r += W) body(r, r + W < rows ? W : rows - r);
}

template <bool is_max, class T>
void extremum(const T* x, T* y, index_t outer, index_t n, index_t inner, index_t stride) {
  constexpr index_t W = Vec<T>::lanes;
  if (stride == 1 && n <= short_row && outer > 1) {
    Turned<T> t;
    short_blocks<T>(outer, [&](index_t r, index_t count) {
      t.read(x + r * n, count, n);
      Vec<T> m = t[0];
      for (index_t i = 1; i < n; ++i) m = extreme<is_max>(m, t[i]);
      m.store(y + r, static_cast<int>(count));
    });
    return;
  }
  for (index_t o = 0; o < outer; ++o, x += n * stride, y += stride) {
    if (stride == 1) {
      *y = row_extreme<is_max>(x, n);
      continue;
    }
    index_t i = 0;
    for (; i + 4 * W <= inner; i += 4 * W) {
      Vec<T> m[4];
      for (int v = 0; v < 4; ++v) m[v] = Vec<T>::load(x + i + v * W);
      for (index_t k = 1; k < n; ++k)
        for (int v = 0; v < 4; ++v) m[v] = extreme<is_max>(m[v], Vec<T>::load(x + k * stride + i + v * W));
      for (int v = 0; v < 4; ++v) m[v].store(y + i + v * W);
    }
    for (; i < inner; i += W) {
      const int lanes = lanes_left(inner - i, W);
      Vec<T> m = Vec<T>::load(x + i, lanes);
      for (index_t k = 1; k < n; ++k) m = extreme<is_max>(m, Vec<T>::load(x + k * stride + i, lanes));
      m.store(y + i, lanes);
    }
  }
}
template <class T>
void max(const T* x, T* y, index_t outer, index_t n, index_t inner, index_t stride) {
  extremum<true>(x, y, outer, n, inner, stride);
}
template <class T>
void min(const T* x, T* y, index_t outer, index_t n, index_t inner, index_t stride) {
  extremum<false>(x, y, outer, n, inner, stride);
}

}  // namespace
}  // namespace wengert::kernels
