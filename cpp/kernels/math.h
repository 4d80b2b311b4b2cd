// Mathematical functions on lanes. (First version: right, lane by lane, not yet fast.)
#pragma once
#include "kernels/vec.h"

namespace wengert::kernels {
namespace {

#define WENGERT_LANES1(NAME, EXPR)             \
  template <class T>                           \
  Vec<T> NAME(Vec<T> v) {                      \
    T b[Vec<T>::lanes];                        \
    v.store(b);                                \
    for (T& e : b) {                           \
      const double x = static_cast<double>(e); \
      e = static_cast<T>(EXPR);                \
    }                                          \
    return Vec<T>::load(b);                    \
  }
#define WENGERT_LANES2(NAME, EXPR)                                               \
  template <class T>                                                             \
  Vec<T> NAME(Vec<T> u, Vec<T> v) {                                              \
    T p[Vec<T>::lanes], q[Vec<T>::lanes];                                        \
    u.store(p);                                                                  \
    v.store(q);                                                                  \
    for (int i = 0; i < Vec<T>::lanes; ++i) {                                    \
      const double a = static_cast<double>(p[i]), b = static_cast<double>(q[i]); \
      p[i] = static_cast<T>(EXPR);                                               \
    }                                                                            \
    return Vec<T>::load(p);                                                      \
  }
WENGERT_LANES1(exp, __builtin_exp(x))
WENGERT_LANES1(exp2, __builtin_exp2(x))
WENGERT_LANES1(expm1, __builtin_expm1(x))
WENGERT_LANES1(log, __builtin_log(x))
WENGERT_LANES1(log2, __builtin_log2(x))
WENGERT_LANES1(log10, __builtin_log10(x))
WENGERT_LANES1(log1p, __builtin_log1p(x))
WENGERT_LANES1(sin, __builtin_sin(x))
WENGERT_LANES1(cos, __builtin_cos(x))
WENGERT_LANES1(tan, __builtin_tan(x))
WENGERT_LANES1(tanh, __builtin_tanh(x))
WENGERT_LANES1(sinh, __builtin_sinh(x))
WENGERT_LANES1(cosh, __builtin_cosh(x))
WENGERT_LANES1(asin, __builtin_asin(x))
WENGERT_LANES1(acos, __builtin_acos(x))
WENGERT_LANES1(atan, __builtin_atan(x))
WENGERT_LANES1(asinh, __builtin_asinh(x))
WENGERT_LANES1(acosh, __builtin_acosh(x))
WENGERT_LANES1(atanh, __builtin_atanh(x))
WENGERT_LANES1(cbrt, __builtin_cbrt(x))
WENGERT_LANES1(erf, __builtin_erf(x))
WENGERT_LANES1(erfc, __builtin_erfc(x))
inline double erfinv1(double x) {
  if (!(x > -1 && x < 1)) return x == 1 ? __builtin_inf() : x == -1 ? -__builtin_inf() : __builtin_nan("");
  const double l = __builtin_log1p(-x * x), a = 4.33 + l / 2;
  double y = __builtin_copysign(__builtin_sqrt(__builtin_sqrt(a * a - l / 0.147) - a), x);
  if (x == 0) return x;
  for (int i = 0; i < 4; ++i) {
    const double e = x > 0.5    ? -(__builtin_erfc(y) - (1 - x))
                     : x < -0.5 ? __builtin_erfc(-y) - (1 + x)
                                : __builtin_erf(y) - x;
    y -= e / (1.12837916709551257390 * __builtin_exp(-y * y) + e * y);
  }
  return y;
}
WENGERT_LANES1(erfinv, erfinv1(x))
WENGERT_LANES1(sigmoid, 1 / (1 + __builtin_exp(-x)))
WENGERT_LANES1(softplus, x > 0 ? x + __builtin_log1p(__builtin_exp(-x)) : __builtin_log1p(__builtin_exp(x)))
WENGERT_LANES1(normal_pdf, 0.39894228040143267794 * __builtin_exp(-0.5 * x * x))
WENGERT_LANES1(normal_cdf, 0.5 * __builtin_erfc(x * -0.70710678118654752440))
WENGERT_LANES1(sign, x > 0 ? 1 : x < 0 ? -1 : x)
WENGERT_LANES2(pow, __builtin_pow(a, b))
WENGERT_LANES2(atan2, __builtin_atan2(a, b))
WENGERT_LANES2(logaddexp, a == b  ? a + 0.69314718055994530942
                          : a > b ? a + __builtin_log1p(__builtin_exp(b - a))
                                  : b + __builtin_log1p(__builtin_exp(a - b)))
WENGERT_LANES2(hypot, __builtin_hypot(a, b))
template <class T>
Vec<T> hypot(Vec<T> a, double b) {
  return hypot(a, Vec<T>(b));
}
inline double remainder1(double a, double b) {
  const double r = __builtin_fmod(a, b);
  if (r == 0) return __builtin_copysign(r, b);
  return (r < 0) != (b < 0) ? r + b : r;
}
WENGERT_LANES2(remainder, remainder1(a, b))

// NaN if either is; the larger of +0 and -0 is +0.
template <class T>
WENGERT_INLINE Vec<T> maximum(Vec<T> a, Vec<T> b) {
  const Vec<T> zero = Vec<T>::from_bits(bits(a) & bits(b));
  return where(a == a, where(a == b, zero, where(a > b, a, b)), a);
}
template <class T>
WENGERT_INLINE Vec<T> minimum(Vec<T> a, Vec<T> b) {
  const Vec<T> zero = Vec<T>::from_bits(bits(a) | bits(b));
  return where(a == a, where(a == b, zero, where(a < b, a, b)), a);
}

}  // namespace
}  // namespace wengert::kernels
