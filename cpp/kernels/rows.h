// The softmax family and layer norm, row by row of x[rows, n].
//
// Rows of up to `short_row` elements are turned, a register's worth of rows at once: each lane holds a row, and there
// are no sums across lanes. Longer rows are summed in 64 bytes of virtual lanes (layer norm: 256), added by halving.
// Which of the two is decided by n alone, so a row's result depends neither on its neighbours nor on the ISA.
//
// Everything is relative to the row's largest element (`shift`), or to 0 if that is infinite: a row of -inf has
// logsumexp -inf, and softmax NaN (0/0). A row that holds +inf or NaN has no softmax: its sum is made NaN.
#pragma once
#include "kernels/math.h"
#include "kernels/reduce.h"
#include "kernels/shuffle.h"
#include "kernels/table.h"
#include "kernels/vec.h"

namespace wengert::kernels {
namespace {

template <class T>
struct Stats {
  T shift, total;  // total = sum of exp(x - shift)
};
template <class T>
struct LaneStats {
  Vec<T> largest, shift, total;
};

// Of turned rows; the exponentials stay in x if `keep`.
template <bool keep, class T>
WENGERT_INLINE LaneStats<T> lane_stats(Turned<T>& x, index_t n) {
  LaneStats<T> s;
  s.largest = x[0];
  for (index_t i = 1; i < n; ++i) s.largest = max(x[i], s.largest);
  s.shift = where(abs(s.largest) < infinity, s.largest, 0.0);
  s.total = 0.0;
  for (index_t i = 0; i < n; ++i) {
    const Vec<T> e = exp(x[i] - s.shift);
    s.total = s.total + e;
    if (keep) x.set(i, e);
  }
  return s;
}

// Sums f(i, lanes in use) over a long row, f giving the vector of terms from element i on, 0 in lanes not in use.
template <class T, int bytes = 64, class F>
WENGERT_INLINE T long_sum(index_t n, F f) {
  constexpr int W = Vec<T>::lanes, L = bytes / sizeof(T), NV = L / W;
  Vec<T> total[NV];
  for (int v = 0; v < NV; ++v) total[v] = 0.0;
  for (index_t i0 = 0; i0 < n; i0 += 32 * L) {
    const index_t i1 = i0 + 32 * L < n ? i0 + 32 * L : n;
    Vec<T> sum[NV];
    for (int v = 0; v < NV; ++v) sum[v] = 0.0;
    index_t i = i0;
    for (; i + L <= i1; i += L)
      for (int v = 0; v < NV; ++v) sum[v] = sum[v] + f(i + v * W, W);
#pragma GCC unroll 16
    for (int v = 0; v < NV; ++v)
      if (i + v * W < i1) sum[v] = sum[v] + f(i + v * W, lanes_left(i1 - i - v * W, W));
    for (int v = 0; v < NV; ++v) total[v] = total[v] + sum[v];
  }
  for (int half = NV / 2; half > 0; half /= 2)
    for (int v = 0; v < half; ++v) total[v] = total[v] + total[v + half];
  return sum_lanes(total[0]);
}

// Of one long row; its exponentials go to e unless that is null.
template <class T>
WENGERT_INLINE Stats<T> row_stats(const T* x, T* e, index_t n, T& largest) {
  constexpr int W = Vec<T>::lanes;
  largest = row_extreme<true>(x, n);
  Stats<T> s;
  s.shift = largest - largest == 0 ? largest : T(0);
  const Vec<T> shift = static_cast<double>(s.shift);
  s.total = long_sum<T>(n, [=](index_t i, int lanes) {
    Vec<T> v = exp((lanes == W ? Vec<T>::load(x + i) : Vec<T>::load(x + i, lanes)) - shift);
    if (lanes < W) v = first_lanes(v, Vec<T>(0.0), lanes);
    if (e) lanes == W ? v.store(e + i) : v.store(e + i, lanes);
    return v;
  });
  return s;
}

// y[i] = f(vector from element i on) over a long row.
template <class T, class F>
WENGERT_INLINE void each(const T* x, T* y, index_t n, F f) {
  constexpr index_t W = Vec<T>::lanes;
  index_t i = 0;
  for (; i + W <= n; i += W) f(Vec<T>::load(x + i), i, static_cast<int>(W)).store(y + i);
  const int rest = static_cast<int>(n - i);
  if (rest) f(Vec<T>::load(x + i, rest), i, rest).store(y + i, rest);
}

template <class T>
WENGERT_INLINE T log_of(T x) {  // by the lanes' log, the same bits for long and short rows
  T y[Vec<T>::lanes];
  log(Vec<T>(static_cast<double>(x))).store(y);
  return y[0];
}

template <class T>
void logsumexp(const T* x, T* y, index_t rows, index_t n) {
  if (n <= short_row && n > 0) {
    Turned<T> t;
    short_blocks<T>(rows, [&](index_t r, index_t count) {
      t.read(x + r * n, count, n);
      const LaneStats<T> s = lane_stats<false>(t, n);
      (s.shift + log(s.total)).store(y + r, static_cast<int>(count));
    });
    return;
  }
  short_blocks<T>(rows, [&](index_t r, index_t count) {  // the logarithms of several rows at once
    T largest, shift[Vec<T>::lanes] = {}, total[Vec<T>::lanes] = {};
    for (index_t i = 0; i < count && n > 0; ++i) {
      const Stats<T> s = row_stats<T>(x + (r + i) * n, nullptr, n, largest);
      shift[i] = s.shift, total[i] = s.total;
    }
    (Vec<T>::load(shift) + log(Vec<T>::load(total))).store(y + r, static_cast<int>(count));
  });
}

template <class T>
void softmax(const T* x, T* y, index_t rows, index_t n) {
  if (n <= short_row) {
    Turned<T> t;
    short_blocks<T>(rows, [&](index_t r, index_t count) {
      t.read(x + r * n, count, n);
      const LaneStats<T> s = lane_stats<true>(t, n);
      const Vec<T> inverse = 1.0 / where(s.largest == infinity, not_a_number, s.total);
      for (index_t i = 0; i < n; ++i) t.set(i, t[i] * inverse);
      t.write(y + r * n, count, n);
    });
    return;
  }
  for (index_t r = 0; r < rows; ++r, x += n, y += n) {
    T largest;
    const Stats<T> s = row_stats(x, y, n, largest);
    const Vec<T> inverse =
        static_cast<double>(1 / (largest == static_cast<T>(infinity) ? static_cast<T>(not_a_number) : s.total));
    each(y, y, n, [inverse](Vec<T> e, index_t, int) { return e * inverse; });
  }
}

template <class T>
void log_softmax(const T* x, T* y, index_t rows, index_t n) {
  if (n <= short_row) {
    Turned<T> t;
    short_blocks<T>(rows, [&](index_t r, index_t count) {
      t.read(x + r * n, count, n);
      const LaneStats<T> s = lane_stats<false>(t, n);
      const Vec<T> l = log(where(s.largest == infinity, not_a_number, s.total));
      for (index_t i = 0; i < n; ++i) t.set(i, (t[i] - s.shift) - l);
      t.write(y + r * n, count, n);
    });
    return;
  }
  for (index_t r = 0; r < rows; ++r, x += n, y += n) {
    T largest;
    const Stats<T> s = row_stats<T>(x, nullptr, n, largest);
    const Vec<T> l =
        static_cast<double>(log_of(largest == static_cast<T>(infinity) ? static_cast<T>(not_a_number) : s.total));
    const Vec<T> shift = static_cast<double>(s.shift);
    each(x, y, n, [=](Vec<T> v, index_t, int) { return (v - shift) - l; });
  }
}

// y (g - <g, y>)
template <class T>
void softmax_pullback(const T* y, const T* g, T* dx, index_t rows, index_t n) {
  constexpr int W = Vec<T>::lanes;
  if (n <= short_row) {
    Turned<T> ty, tg;
    short_blocks<T>(rows, [&](index_t r, index_t count) {
      ty.read(y + r * n, count, n), tg.read(g + r * n, count, n);
      Vec<T> s = 0.0;
      for (index_t i = 0; i < n; ++i) s = fma(tg[i], ty[i], s);
      for (index_t i = 0; i < n; ++i) tg.set(i, ty[i] * (tg[i] - s));
      tg.write(dx + r * n, count, n);
    });
    return;
  }
  for (index_t r = 0; r < rows; ++r, y += n, g += n, dx += n) {
    const Vec<T> s = static_cast<double>(long_sum<T>(n, [=](index_t i, int lanes) {
      return lanes == W ? Vec<T>::load(g + i) * Vec<T>::load(y + i)
                        : Vec<T>::load(g + i, lanes) * Vec<T>::load(y + i, lanes);
    }));
    each(y, dx, n, [=](Vec<T> v, index_t i, int lanes) {
      return v * ((lanes == W ? Vec<T>::load(g + i) : Vec<T>::load(g + i, lanes)) - s);
    });
  }
}

// g - exp(y) sum(g)
template <class T>
void log_softmax_pullback(const T* y, const T* g, T* dx, index_t rows, index_t n) {
  constexpr int W = Vec<T>::lanes;
  if (n <= short_row) {
    Turned<T> ty, tg;
    short_blocks<T>(rows, [&](index_t r, index_t count) {
      ty.read(y + r * n, count, n), tg.read(g + r * n, count, n);
      Vec<T> s = 0.0;
      for (index_t i = 0; i < n; ++i) s = s + tg[i];
      for (index_t i = 0; i < n; ++i) tg.set(i, fma(-exp(ty[i]), s, tg[i]));
      tg.write(dx + r * n, count, n);
    });
    return;
  }
  for (index_t r = 0; r < rows; ++r, y += n, g += n, dx += n) {
    const Vec<T> s = static_cast<double>(row_sum(g, n));
    each(y, dx, n, [=](Vec<T> v, index_t i, int lanes) {
      return fma(-exp(v), s, lanes == W ? Vec<T>::load(g + i) : Vec<T>::load(g + i, lanes));
    });
  }
}

// logsumexp(x) - x[label], as log(total) + (shift - x[label]): exact where the label's element is the largest.
template <class T>
void cross_entropy(const T* x, const index_t* label, T* loss, index_t rows, index_t n) {
  if (n <= short_row) {
    Turned<T> t;
    short_blocks<T>(rows, [&](index_t r, index_t count) {
      T chosen[Turned<T>::W] = {};
      for (index_t i = 0; i < count; ++i) chosen[i] = x[(r + i) * n + label[r + i]];
      t.read(x + r * n, count, n);
      const LaneStats<T> s = lane_stats<false>(t, n);
      (log(s.total) + (s.shift - Vec<T>::load(chosen))).store(loss + r, static_cast<int>(count));
    });
    return;
  }
  short_blocks<T>(rows, [&](index_t r, index_t count) {
    T largest, below[Vec<T>::lanes] = {}, total[Vec<T>::lanes] = {};
    for (index_t i = 0; i < count; ++i) {
      const T* row = x + (r + i) * n;
      const Stats<T> s = row_stats<T>(row, nullptr, n, largest);
      below[i] = s.shift - row[label[r + i]], total[i] = s.total;
    }
    (log(Vec<T>::load(total)) + Vec<T>::load(below)).store(loss + r, static_cast<int>(count));
  });
}

// g (softmax(x) - 1 at the label); a zero cotangent gives zero.
template <class T>
void cross_entropy_pullback(const T* x, const index_t* label, const T* g, T* dx, index_t rows, index_t n) {
  if (n <= short_row) {
    Turned<T> t;
    short_blocks<T>(rows, [&](index_t r, index_t count) {
      t.read(x + r * n, count, n);
      const LaneStats<T> s = lane_stats<true>(t, n);
      const Vec<T> inverse = 1.0 / where(s.largest == infinity, not_a_number, s.total);
      for (index_t i = 0; i < n; ++i) t.set(i, t[i] * inverse);
      for (index_t i = 0; i < count; ++i) t.lanes[label[r + i] * Turned<T>::W + i] -= 1;
      const Vec<T> gv = Vec<T>::load(g + r, static_cast<int>(count));
      for (index_t i = 0; i < n; ++i) t.set(i, where(gv == 0.0, 0.0, gv * t[i]));
      t.write(dx + r * n, count, n);
    });
    return;
  }
  for (index_t r = 0; r < rows; ++r, x += n, dx += n) {
    T largest;
    const Stats<T> s = row_stats(x, dx, n, largest);
    const T inverse = 1 / (largest == static_cast<T>(infinity) ? static_cast<T>(not_a_number) : s.total);
    const T at_label = g[r] == 0 ? T(0) : g[r] * (dx[label[r]] * inverse - 1);
    const Vec<T> iv = static_cast<double>(inverse), gv = static_cast<double>(g[r]);
    each(dx, dx, n, [=](Vec<T> e, index_t, int) { return where(gv == 0.0, 0.0, gv * (e * iv)); });
    dx[label[r]] = at_label;
  }
}

// ---- Layer norm -----------------------------------------------------------------------------------------------

template <class T>
struct Moments {
  Vec<T> mean, inverse;  // inverse = 1 / sqrt(variance + eps)
};
// Have squares left the range, or been lost below it? Not if eps is what counts.
template <class T>
WENGERT_INLINE bool out_of_range(Vec<T> variance) {
  const Vec<T> least = static_cast<double>(Range<T>::least_square), largest = static_cast<double>(Range<T>::largest);
  return any((variance < least) | (largest < variance));
}
// The unit to take deviations in, where their own squares or that of the root of eps leave the range.
template <class T>
WENGERT_INLINE Vec<T> unit_of(Vec<T> largest_deviation, double eps) {
  const Vec<T> least = static_cast<double>(4 * Range<T>::smallest), root = sqrt(Vec<T>(eps));
  return maximum(maximum(largest_deviation, root), least);
}

template <class T>
WENGERT_INLINE Moments<T> lane_moments(const Turned<T>& x, index_t n, double eps) {
  Vec<T> sum = 0.0, squares = 0.0;
  for (index_t i = 0; i < n; ++i) sum = sum + x[i];
  const Vec<T> mean = sum / static_cast<double>(n);
  for (index_t i = 0; i < n; ++i) {
    const Vec<T> d = x[i] - mean;
    squares = fma(d, d, squares);
  }
  const Vec<T> variance = squares / static_cast<double>(n) + eps;
  const Vec<T> inverse = 1.0 / sqrt(variance);
  if (!out_of_range(variance)) return {mean, inverse};
  Vec<T> most = 0.0;
  squares = 0.0;
  for (index_t i = 0; i < n; ++i) most = maximum(most, abs(x[i] - mean));
  const Vec<T> unit = unit_of(most, eps), root = sqrt(Vec<T>(eps)) / unit;
  for (index_t i = 0; i < n; ++i) {
    const Vec<T> d = (x[i] - mean) / unit;
    squares = fma(d, d, squares);
  }
  const Vec<T> scaled = 1.0 / (sqrt(fma(root, root, squares / static_cast<double>(n))) * unit);
  const Vec<T> least = static_cast<double>(Range<T>::least_square), largest = static_cast<double>(Range<T>::largest);
  return {mean, where((variance < least) | (largest < variance), scaled, inverse)};
}
// The mean of f over a long row; f as for long_sum.
template <class T, class F>
WENGERT_INLINE Vec<T> long_mean(index_t n, F f) {
  return Vec<T>(static_cast<double>(long_sum<T, 256>(n, f))) / static_cast<double>(n);
}
template <class T>
WENGERT_INLINE Vec<T> load(const T* x, int lanes) {  // the others are 0
  return lanes == Vec<T>::lanes ? Vec<T>::load(x) : Vec<T>::load(x, lanes);
}
template <class T>
WENGERT_INLINE Moments<T> row_moments(const T* x, index_t n, double eps) {
  const Vec<T> mean = long_mean<T>(n, [=](index_t i, int lanes) { return load(x + i, lanes); });
  const Vec<T> variance = long_mean<T>(n, [=](index_t i, int lanes) {
    const Vec<T> d = load(x + i, lanes) - mean;
    return lanes == Vec<T>::lanes ? d * d : first_lanes(d * d, Vec<T>(0.0), lanes);
  });
  if (!out_of_range(variance + eps)) return {mean, 1.0 / sqrt(variance + eps)};
  T most = 0;
  for (index_t i = 0; i < n; ++i) {
    const T d = x[i] - mean.v[0], size = d < 0 ? -d : d;
    most = size > most ? size : most;
  }
  const Vec<T> unit = unit_of(Vec<T>(static_cast<double>(most)), eps), root = sqrt(Vec<T>(eps)) / unit;
  const Vec<T> scaled = long_mean<T>(n, [=](index_t i, int lanes) {
    const Vec<T> d = (load(x + i, lanes) - mean) / unit;
    return lanes == Vec<T>::lanes ? d * d : first_lanes(d * d, Vec<T>(0.0), lanes);
  });
  return {mean, 1.0 / (sqrt(fma(root, root, scaled)) * unit)};
}

// (x - mean) / sqrt(variance + eps)
template <class T>
void layer_norm(const T* x, T* y, index_t rows, index_t n, double eps) {
  if (n <= short_row) {
    Turned<T> t;
    short_blocks<T>(rows, [&](index_t r, index_t count) {
      t.read(x + r * n, count, n);
      const Moments<T> m = lane_moments(t, n, eps);
      for (index_t i = 0; i < n; ++i) t.set(i, (t[i] - m.mean) * m.inverse);
      t.write(y + r * n, count, n);
    });
    return;
  }
  for (index_t r = 0; r < rows; ++r, x += n, y += n) {
    const Moments<T> m = row_moments(x, n, eps);
    each(x, y, n, [=](Vec<T> v, index_t, int) { return (v - m.mean) * m.inverse; });
  }
}

// (g - mean(g) - y mean(g y)) / sqrt(variance + eps), y being the layer norm of x
template <class T>
void layer_norm_pullback(const T* x, const T* g, T* dx, index_t rows, index_t n, double eps) {
  const double count = static_cast<double>(n);
  const auto rule = [](Vec<T> y, Vec<T> gv, Vec<T> mean, Vec<T> along, Vec<T> inverse) {
    return inverse * fma(-y, along, gv - mean);
  };
  if (n <= short_row) {
    Turned<T> tx, tg;
    short_blocks<T>(rows, [&](index_t r, index_t in_block) {
      tx.read(x + r * n, in_block, n), tg.read(g + r * n, in_block, n);
      const Moments<T> m = lane_moments(tx, n, eps);
      Vec<T> sum = 0.0, along = 0.0;
      for (index_t i = 0; i < n; ++i) {
        const Vec<T> y = (tx[i] - m.mean) * m.inverse;
        tx.set(i, y);
        sum = sum + tg[i], along = fma(tg[i], y, along);
      }
      for (index_t i = 0; i < n; ++i) tg.set(i, rule(tx[i], tg[i], sum / count, along / count, m.inverse));
      tg.write(dx + r * n, in_block, n);
    });
    return;
  }
  for (index_t r = 0; r < rows; ++r, x += n, g += n, dx += n) {
    const Moments<T> m = row_moments(x, n, eps);
    const Vec<T> mean = long_mean<T>(n, [=](index_t i, int lanes) { return load(g + i, lanes); });
    const Vec<T> along = long_mean<T>(
        n, [=](index_t i, int lanes) { return load(g + i, lanes) * ((load(x + i, lanes) - m.mean) * m.inverse); });
    each(x, dx, n, [=](Vec<T> v, index_t i, int lanes) {
      return rule((v - m.mean) * m.inverse, load(g + i, lanes), mean, along, m.inverse);
    });
  }
}

}  // namespace
}  // namespace wengert::kernels
