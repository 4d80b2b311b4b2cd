// Exponentials, logarithms, hyperbolic functions, powers and roots on lanes.
//
// Own range reductions and own minimax polynomials (Remez, relative error). Special values follow C99 Annex F, and
// denormals are exact. float and double share a formula where it serves both; a float function that is not worth a
// formula of its own goes through double. Errors are tested in tests/test_kernels_elementwise.py.
#pragma once
#include "kernels/pieces.h"

namespace wengert::kernels {
namespace {

using F64 = Vec<double>;

// c0 + c1 x + c2 x^2 + ...
template <class V, class... C>
WENGERT_INLINE V polynomial(V x, double c0, C... c) {
  if constexpr (sizeof...(c) == 0)
    return c0;
  else
    return fma(polynomial(x, static_cast<double>(c)...), x, c0);
}

// The same sum by halves (Estrin): less exact by a little, but fewer steps that wait for each other.
template <int h, class V>
WENGERT_INLINE V to_the(V x) {
  if constexpr (h == 1)
    return x;
  else
    return to_the<h / 2>(x) * to_the<h / 2>(x);
}
template <int n, class V>
WENGERT_INLINE V halves(V x, const double* c) {
  if constexpr (n == 1) {
    return c[0];
  } else {
    constexpr int h = n > 8 ? 8 : n > 4 ? 4 : n > 2 ? 2 : 1;
    return fma(to_the<h>(x), halves<n - h>(x, c + h), halves<h>(x, c));
  }
}
template <class V, class... C>
WENGERT_INLINE V estrin(V x, C... c) {
  const double a[] = {static_cast<double>(c)...};
  return halves<sizeof...(c)>(x, a);
}

constexpr double infinity = __builtin_inf(), not_a_number = __builtin_nan(""), ln2 = 0.6931471805599453;

template <class T>
constexpr T smallest_normal = sizeof(T) == 4 ? T(0x1p-126) : T(0x1p-1022);

// Float functions by way of double. Out of line: their lanes of double are many instructions.
#define WENGERT_BY_DOUBLE(NAME)                      \
  inline __attribute__((noinline)) F32 NAME(F32 x) { \
    const Pair p = widen(x);                         \
    return narrow({NAME(p.lower), NAME(p.upper)});   \
  }
#define WENGERT_BY_DOUBLE2(NAME)                                     \
  inline __attribute__((noinline)) F32 NAME(F32 a, F32 b) {          \
    const Pair p = widen(a), q = widen(b);                           \
    return narrow({NAME(p.lower, q.lower), NAME(p.upper, q.upper)}); \
  }
#define WENGERT_NOINLINE inline __attribute__((noinline))

// ---- Signs and choice -----------------------------------------------------------------------------------------

template <class T>
WENGERT_INLINE Vec<T> sign(Vec<T> x) {
  return where(x > 0.0, 1.0, where(x < 0.0, -1.0, x));
}

// x with its sign flipped where s is negative.
template <class T>
WENGERT_INLINE Vec<T> times_sign(Vec<T> x, Vec<T> s) {
  return Vec<T>::from_bits(bits(x) ^ (bits(s) & bits(Vec<T>(-0.0))));
}

// NaN if either is; +0 is larger than -0.
template <class T>
WENGERT_INLINE Vec<T> maximum(Vec<T> a, Vec<T> b) {
  const Vec<T> equal = Vec<T>::from_bits(bits(a) & bits(b));
  return where(a == a, where(a == b, equal, where(a > b, a, b)), a);
}
template <class T>
WENGERT_INLINE Vec<T> minimum(Vec<T> a, Vec<T> b) {
  const Vec<T> equal = Vec<T>::from_bits(bits(a) | bits(b));
  return where(a == a, where(a == b, equal, where(a < b, a, b)), a);
}

// A number of twice the precision: high + low.
template <class T>
struct Twice {
  Vec<T> high, low;
};
template <class T>
WENGERT_INLINE Twice<T> exact_sum(Vec<T> a, Vec<T> b) {
  const Vec<T> s = a + b, d = s - a;
  return {s, (a - (s - d)) + (b - d)};
}
// a - b less its rounded value; 0 where that is infinite or NaN.
template <class T>
WENGERT_INLINE Vec<T> rounding(Vec<T> a, Vec<T> b) {
  const auto s = exact_sum(a, -b);
  return where(abs(s.high) < infinity, s.low, 0.0);
}
template <class T>
WENGERT_INLINE Vec<T> quotient(Twice<T> a, Twice<T> b) {  // rounded nearly once; finite
  const Vec<T> q = a.high / b.high;
  return q + ((exact_fma(-q, b.high, a.high) + a.low) - q * b.low) / b.high;
}

// ---- Exponentials ---------------------------------------------------------------------------------------------

// exp(x) = (1 + p + p_low) 2^n. shifted: n + magic.
template <class T>
struct Exponential {
  Vec<T> n, p, p_low, shifted;
};

// expm1(r) for |r| <= ln(2)/2, as r + tail.
WENGERT_INLINE F32 expm1_tail(F32 r) {
  return r * r * polynomial(r, 0.5, 0.1666663587, 0.04166651145, 0.008341619745, 0.001393057639, 0.00014930950419);
}
WENGERT_INLINE F64 expm1_tail(F64 r) {
  return r * r *
         polynomial(r, 0.5, 0.1666666666666668, 0.04166666666666672, 0.008333333333318928, 0.0013888888888842052,
                    0.00019841269893384819, 2.480158742926682e-05, 2.7557236678256802e-06, 2.7557175192602986e-07,
                    2.511169557594191e-08, 2.0946123707866302e-09);
}

// exp(x + low), low small against x.
template <class T>
WENGERT_INLINE Exponential<T> exponential(Vec<T> x, Vec<T> low) {
  constexpr bool single = sizeof(T) == 4;
  constexpr double high_part = single ? 0.693145751953125 : 0.6931471805598903;
  constexpr double low_part = single ? 1.428606765330187e-06 : 5.497923018708371e-14;
  const Vec<T> shifted = fma(x, 1.4426950408889634, magic<T>), n = shifted - magic<T>;
  const Vec<T> a = fma(n, -high_part, x), r = fma(n, -low_part, a), tail = expm1_tail(r);
  const Vec<T> r_low = fma(n, -low_part, a - r) + low;  // what r left out
  const Vec<T> rest = fma(r_low, 1.0 + (r + tail), tail), p = r + rest;
  return {n, p, (r - p) + rest, shifted};
}
// exp(x), the part of r that was rounded off neglected.
template <class T>
WENGERT_INLINE Exponential<T> exponential(Vec<T> x) {
  constexpr bool single = sizeof(T) == 4;
  constexpr double high_part = single ? 0.693145751953125 : 0.6931471805598903;
  constexpr double low_part = single ? 1.428606765330187e-06 : 5.497923018708371e-14;
  const Vec<T> shifted = fma(x, 1.4426950408889634, magic<T>), n = shifted - magic<T>;
  const Vec<T> r = fma(n, -low_part, fma(n, -high_part, x));
  const Vec<T> tail = expm1_tail(r), p = r + tail;
  return {n, p, (r - p) + tail, shifted};
}

// x limited to where exp neither overflows nor vanishes for certain; NaN stays.
template <class T>
WENGERT_INLINE Vec<T> exp_range(Vec<T> x) {
  constexpr bool single = sizeof(T) == 4;
  return min(Vec<T>(single ? 89.0 : 710.0), max(Vec<T>(single ? -104.0 : -746.0), x));
}

// exp(x) = (y + low) 2^n in float: fewer steps than the general form.
struct FloatExp {
  F32 y, low, n;
};
WENGERT_INLINE FloatExp float_exp(F32 x) {
  const F32 n = fma(x, 1.4426950408889634, magic<float>) - magic<float>;
  const F32 r = fma(n, -1.428606765330187e-06, fma(n, -0.693145751953125, x));
  const F32 q = estrin(r, 0.5, 0.16666512191295624, 0.04166658595204353, 0.008369666524231434, 0.001392149948514998);
  const F32 w = fma(q, r, 1.0), y = fma(w, r, 1.0);
  return {y, fma(w, r, 1.0 - y), n};
}

// exp, exp2 and expm1 over the whole range: 1.5 ulp in float, 2 in double; results may be denormal.
WENGERT_INLINE F32 exp(F32 x) {
  const FloatExp e = float_exp(exp_range(x));
  return scale(e.y, e.n);
}
template <class T>
WENGERT_INLINE Vec<T> exp(Vec<T> x) {
  const auto e = exponential(exp_range(x));
  return scale(1.0 + e.p, e.n);
}
// exp(x + low); low must be finite.
template <class T>
WENGERT_INLINE Vec<T> exp_sum(Vec<T> x, Vec<T> low) {
  const auto e = exponential(exp_range(x), low);
  return scale(1.0 + e.p, e.n);
}
// exp(x) / 2, which overflows later; x > -700.
WENGERT_INLINE F64 exp_half(F64 x) {
  const auto e = exponential(min(F64(1000.0), x));
  return scale(1.0 + e.p, e.n - 1.0);
}

template <class T>
WENGERT_INLINE Vec<T> exp2(Vec<T> x) {
  constexpr bool single = sizeof(T) == 4;
  constexpr double high_part = single ? 0.693145751953125 : 0.6931471805598903;
  constexpr double low_part = single ? 1.428606765330187e-06 : 5.497923018708371e-14;
  x = min(Vec<T>(single ? 129.0 : 1025.0), max(Vec<T>(single ? -151.0 : -1076.0), x));
  const Vec<T> n = round(x), f = x - n, r = f * (high_part + low_part);
  const Vec<T> low = fma(f, low_part, exact_fma(f, high_part, -r));
  const Vec<T> tail = expm1_tail(r);
  return scale(1.0 + (r + fma(low, 1.0 + (r + tail), tail)), n);
}

// expm1(x) / 2: finite wherever expm1 is, exact near 0 but for denormals.
template <class T>
WENGERT_INLINE Vec<T> expm1_half(Vec<T> x) {
  constexpr bool single = sizeof(T) == 4;
  x = min(Vec<T>(single ? 89.0 : 710.0), max(Vec<T>(single ? -20.0 : -40.0), x));
  const auto e = exponential(x);
  const Vec<T> half_power = power_of_two(e.shifted - 1.0);
  const Vec<T> y = fma(half_power, e.p, half_power - 0.5);
  if constexpr (sizeof(T) == 4) return y;
  return fma(half_power, e.p_low, y);
}
// The same in two parts.
WENGERT_INLINE Twice<double> expm1_half_twice(F64 x) {
  const auto e = exponential(min(F64(710.0), max(F64(-40.0), x)), F64(0.0));
  const F64 half_power = power_of_two(e.shifted - 1.0);
  const auto s = exact_sum(half_power - 0.5, half_power * e.p);
  return {s.high, fma(half_power, e.p_low, s.low)};
}
template <class T>
WENGERT_INLINE Vec<T> expm1(Vec<T> x) {
  const Vec<T> y = expm1_half(x);
  return where(abs(x) < 1e-30, x, y + y);
}

// exp(a / b), by the exact quotient: what rounding takes from it would be magnified by its size.
WENGERT_NOINLINE F64 exp_quotient(F64 a, F64 b) {
  const F64 q = a / b, low = exact_fma(-q, b, a) / b;
  return exp_sum(q, where((abs(low) < 1.0) & (abs(q) < 800.0), low, 0.0));
}
WENGERT_BY_DOUBLE2(exp_quotient)
// expm1(x) - x exp(x), near 0 by its series: 4 ulp.
WENGERT_NOINLINE F64 celu_slope(F64 x) {
  const F64 near =
      polynomial(x, 0.5, 0.3333333333333333, 0.125, 0.03333333333333333, 0.006944444444444444, 0.0011904761904761906,
                 0.00017361111111111112, 2.2045855379188714e-05, 2.48015873015873e-06, 2.505210838544172e-07,
                 2.296443268665491e-08, 1.9270852604185937e-09, 1.4911969277048643e-10, 1.0706029224547743e-11,
                 7.169215998581078e-13, 4.498331606952833e-14, 2.6552651846596585e-15, 1.4797143443923793e-16,
                 7.809603484293113e-18, 3.9145882126782523e-19, 1.8683261924146203e-20);
  const F64 far = where(x > 1.0, (1.0 - x) * exp(x) - 1.0, expm1(x) - x * exp(x));
  return where(abs(x) < 1.0, -x * x * near, where(x < -800.0, -1.0, far));
}
WENGERT_BY_DOUBLE(celu_slope)

// ---- Logarithms -----------------------------------------------------------------------------------------------

// x = (1 + f) 2^k with 1 + f in [sqrt(1/2), sqrt(2)), for finite x > 0.
template <class T>
struct Split {
  Vec<T> k, f;
};
template <class T>
WENGERT_INLINE Vec<T> exponent_field(typename Vec<T>::Bits b) {  // as a number, bias taken off; b >= 0
  using V = Vec<T>;
  const V base = T(std::int64_t{1} << Float<T>::mantissa);
  using U = typename V::Unsigned;
  const auto field = reinterpret_cast<typename V::Bits>(reinterpret_cast<U>(b) >> Float<T>::mantissa);
  return V::from_bits(field | bits(base)) - (base + T(Float<T>::bias));
}
template <class T>
WENGERT_INLINE Split<T> split(Vec<T> x) {
  using V = Vec<T>;
  const auto tiny = x < smallest_normal<T>;
  constexpr double lift = sizeof(T) == 4 ? 0x1p24 : 0x1p54;
  const V y = where(tiny, x * lift, x);
  const auto root = bits(V(0.7071067811865476)), b = bits(y) + (bits(V(1.0)) - root);
  const auto fraction = bits(V(1.0)) - 1 - (bits(V(1.0)) - (std::int64_t{1} << Float<T>::mantissa));
  const V k = exponent_field<T>(b) - where(tiny, sizeof(T) == 4 ? 24.0 : 54.0, 0.0);
  return {k, V::from_bits((b & fraction) + root) - 1.0};
}

// log(1 + f) = f - f^2/2 + tail, for 1 + f in [sqrt(1/2), sqrt(2)].
WENGERT_INLINE F32 log_tail(F32 f, F32) {
  return f * f * f *
         polynomial(f, 0.3333331346511841, -0.2500001192092896, 0.2000206857919693, -0.1666754335165024,
                    0.1421981900930405, -0.1241668462753296, 0.1190142184495926, -0.1160412654280663,
                    0.0661610066890717);
}
WENGERT_INLINE F64 log_tail(F64 f, F64 half_square) {
  const F64 s = f / (2.0 + f), z = s * s;
  return s * (half_square + z * polynomial(z, 0.6666666666666735, 0.39999999999408753, 0.2857142874390877,
                                           0.2222219840008731, 0.1818357409442141, 0.15313782555392624,
                                           0.1479880106187237));
}

// What log-like functions give where x is 0 or infinite, negative or NaN.
template <class T>
WENGERT_INLINE Vec<T> log_special(Vec<T> x, Vec<T> y) {
  y = where(x < infinity, y, x);  // inf, NaN
  y = where(x == 0.0, -infinity, y);
  return where(x < 0.0, not_a_number, y);
}

// k ln(2) + log(1 + f + low)
template <class T>
WENGERT_INLINE Vec<T> log_sum(Vec<T> k, Vec<T> f, Vec<T> low) {
  constexpr bool single = sizeof(T) == 4;
  constexpr double high_part = single ? 0.693145751953125 : 0.6931471805598903;
  constexpr double low_part = single ? 1.428606765330187e-06 : 5.497923018708371e-14;
  const Vec<T> half_square = 0.5 * f * f, tail = log_tail(f, half_square);
  const Vec<T> rest = fma(k, low_part, tail + low);
  return fma(k, high_part, f - (half_square - rest));
}

// Float: log(1 + f) + k ln(2) for x = (1 + f) 2^k normal, and apart from it the lanes that are not.
WENGERT_INLINE F32 float_log_sum(F32 k, F32 f) {
  const F32 z = f * f;
  const F32 tail = z * f *
                   estrin(f, 0.3333333134651184, -0.2500082552433014, 0.20001235604286194, -0.1662319302558899,
                          0.14201828837394714, -0.13162267208099365, 0.12760305404663086, -0.07625272125005722);
  return fma(k, 0.693145751953125, f + fma(z, -0.5, fma(k, 1.428606765330187e-06, tail)));
}
WENGERT_INLINE F32 normal_log(F32 x, double lift) {
  const auto b = bits(x) - bits(F32(0.7071067811865476));
  const F32 f = F32::from_bits((b & 0x7fffff) + bits(F32(0.7071067811865476))) - 1.0;
  return float_log_sum(to_float(b >> 23) - lift, f);
}
WENGERT_NOINLINE F32 other_log(F32 x) { return log_special(x, normal_log(x * 0x1p24, 24.0)); }
// log of any x, denormals included: 1.5 ulp in float, 2 in double.
WENGERT_INLINE F32 log(F32 x) {
  const auto normal = (x >= smallest_normal<float>)&(x < infinity);
  const F32 y = normal_log(x, 0.0);
  if (!all(normal)) return where(normal, y, other_log(x));
  return y;
}
template <class T>
WENGERT_INLINE Vec<T> log(Vec<T> x) {
  const auto s = split(x);
  return log_special(x, log_sum(s.k, s.f, Vec<T>(0.0)));
}

// (k ln(2) + log(1 + f)) / ln(base), the constants in two parts; the high part of log_base(2) is short, so k times it
// is exact.
template <class T>
WENGERT_INLINE Vec<T> log_base(Vec<T> x, double scale_high, double scale_low, double two_high, double two_low) {
  const auto s = split(x);
  const Vec<T> f = s.f, half_square = 0.5 * f * f;
  const Vec<T> square_error = exact_fma(0.5 * f, f, -half_square);
  const Vec<T> high = f - half_square;
  const Vec<T> low = ((f - high) - half_square) - square_error + log_tail(f, half_square);
  const Vec<T> p = high * scale_high;
  Vec<T> rest = exact_fma(high, scale_high, -p) + fma(high, scale_low, low * scale_high);
  const Vec<T> a = s.k * two_high, sum = a + p;
  const Vec<T> larger = where(s.k == 0.0, p, a), smaller = where(s.k == 0.0, a, p);
  rest = fma(s.k, two_low, ((larger - sum) + smaller) + rest);
  return log_special(x, sum + rest);
}
// Of any x: 1.5 ulp in float, 2 in double; exact at powers of 2 and of 10.
WENGERT_NOINLINE F64 log2(F64 x) { return log_base(x, 1.4426950408889634, 2.0355273740931033e-17, 1.0, 0.0); }
WENGERT_NOINLINE F64 log10(F64 x) {
  return log_base(x, 0.4342944819032518, 1.098319650216765e-17, 0.30102999566395283, 2.8363394551044964e-14);
}
WENGERT_BY_DOUBLE(log2)
WENGERT_BY_DOUBLE(log10)

// log(1 + x + low)
template <class T>
WENGERT_INLINE Vec<T> log1p_sum(Vec<T> x, Vec<T> low) {
  using V = Vec<T>;
  const V u = 1.0 + x;
  const auto root = bits(V(0.7071067811865476)), b = bits(u) + (bits(V(1.0)) - root);
  const auto fraction = bits(V(1.0)) - 1 - (bits(V(1.0)) - (std::int64_t{1} << Float<T>::mantissa));
  const V k = exponent_field<T>(b), m = V::from_bits((b & fraction) + root);
  // f = (1 + x) 2^-k - 1 from x itself, with what rounding took from it; far out the 1 does not matter.
  const auto far = x > 0x1p60;
  const V shrink = power_of_two(magic<T> - where(far, 0.0, k));
  const V near_f = exact_fma(x, shrink, shrink - 1.0), f = where(far, m - 1.0, near_f);
  const V lost = where(far, 0.0, fma(low, shrink, exact_fma(x, shrink, (shrink - 1.0) - near_f)));
  const V y = log_sum(k, f, lost * (1.0 - f * (1.0 - f)));
  return where(x < infinity, where(x > -1.0, where(abs(x) < 1e-30, x, y), where(x == -1.0, -infinity, not_a_number)),
               x);
}
template <class T>
WENGERT_INLINE Vec<T> log1p(Vec<T> x) {
  return log1p_sum(x, Vec<T>(0.0));
}

WENGERT_NOINLINE F32 other_log1p(F32 x) {  // where 2^-k is no normal number, and where there is no logarithm
  return where((x == -1.0) | !(x > -infinity), where(x == x, where(x == -1.0, -infinity, not_a_number), x), log(x));
}
// log(1 + x) for any x: 1.5 ulp in float, 2 in double.
WENGERT_INLINE F32 log1p(F32 x) {
  // 1 + x = (1 + f) 2^k; f from x itself, for 1 + x is rounded.
  const auto b = bits(1.0 + x) - bits(F32(0.7071067811865476));
  const F32 shrink = F32::from_bits(bits(F32(1.0)) - (b & ~0x7fffff));
  const F32 y = copysign(float_log_sum(to_float(b >> 23), fma(x, shrink, shrink - 1.0)), x);
  const auto near = (x > -1.0) & (x < 0x1p126);
  if (!all(near)) return where(near, y, other_log1p(x));
  return y;
}

// m + log(1 + exp(-u)) for u >= 0
WENGERT_INLINE F64 plus_log1p_exp(F64 m, F64 u) { return m + log1p(exp(-u)); }
// Expansions of log(1 + z) / z around points where its value is a float to 36 bits and more.
constexpr Eight log1p_centre = {0.f,        0.122383118f, 0.250734329f, 0.379560471f,
                                0.5045681f, 0.621826172f, 0.747339249f, 0.87591362f};
constexpr Eight log1p_piece[6] = {
    {1.f, 0.943383455f, 0.892302394f, 0.847730398f, 0.809614956f, 0.777633369f, 0.746774912f, 0.718216717f},
    {-0.5f, -0.428344101f, -0.370001554f, -0.323695064f, -0.287319779f, -0.258986324f, -0.233463183f, -0.211371452f},
    {0.333332568f, 0.256881326f, 0.200918272f, 0.160653681f, 0.131686598f, 0.110795215f, 0.0932645351f, 0.0791034177f},
    {-0.24994722f, -0.172657594f, -0.12185055f, -0.0887763873f, -0.0670225918f, -0.0525177978f, -0.041191332f,
     -0.0326651447f},
    {0.198347062f, 0.12394987f, 0.0787497312f, 0.0521667711f, 0.0362111814f, 0.026388051f, 0.0192585811f,
     0.0142418509f},
    {-0.142389923f, -0.0912496522f, -0.0529465415f, -0.0323321037f, -0.0205950178f, -0.0135924872f, -0.00924627297f,
     -0.00593450479f}};
WENGERT_INLINE F32 plus_log1p_exp(F32 m, F32 u) {
  const FloatExp e = float_exp(max(F32(-104.0), -u));
  const F32 z = scale(e.y, e.n);
  const auto i = bits(min(F32(magic<float> + 7), fma(z, 8.0, magic<float>)));
  const F32 w = piecewise(log1p_piece, i, z - lookup(log1p_centre, i));  // log(1 + z) / z
  return fma(z, w, fma(z * e.low, w, m));
}

// Float where x < -17: exp(x) (1 - k exp(x)), the first two terms of sigmoid (k = 1) and of its relatives.
WENGERT_NOINLINE F32 far_sigmoid(F32 x, F32 k) {
  const FloatExp e = float_exp(max(F32(-104.0), x));
  return scale(e.y + (e.low - k * scale(e.y, e.n) * e.y), e.n);
}

// log(1 + exp(x)) for any x: 1.5 ulp in float, 2 in double.
WENGERT_INLINE F32 softplus(F32 x) {
  const F32 u = min(F32(17.44), abs(x)), y = max(F32(0.0), x) + softplus_pieces(decay_piece(u), u);
  return unless(x < -17.44, y, [=] { return far_sigmoid(x, 0.5); });
}
WENGERT_INLINE F64 softplus(F64 x) { return plus_log1p_exp(max(F64(0.0), x), abs(x)); }
// log(exp(a) + exp(b)): 3 ulp, but near a zero, where a is about log1p(-exp(b)).
template <class T>
WENGERT_INLINE Vec<T> logaddexp(Vec<T> a, Vec<T> b) {
  const Vec<T> larger = maximum(a, b);
  return where(a == b, a + ln2, where(abs(larger) < infinity, plus_log1p_exp(larger, abs(a - b)), larger));
}

// ---- Sigmoid and hyperbolic functions -------------------------------------------------------------------------

// 1 / (1 + exp(-x)) for any x: 1.5 ulp in float, 2 in double.
WENGERT_INLINE F32 sigmoid(F32 x) {
  const F32 u = min(F32(17.44), abs(x)), tail = sigmoid_pieces(decay_piece(u), u);
  const F32 y = where(x < 0.0, tail, 1.0 - tail);
  return unless(x < -17.44, y, [=] { return far_sigmoid(x, 1.0); });
}
WENGERT_INLINE F64 sigmoid(F64 x) {
  const F64 z = exp(max(F64(-700.0), -abs(x))), bottom = 1.0 + z;
  const F64 y = quotient<double>({where(x < 0.0, z, 1.0), 0.0}, {bottom, (1.0 - bottom) + z});
  return where(x < -700.0, exp(x), y);
}

// The derivative of sigmoid: z / (1 + z)^2 with z = exp(-|x|). Double, and float where |x| > 17: 2 ulp.
WENGERT_NOINLINE F64 logistic_pdf(F64 x) {
  const auto e = exponential(max(F64(-760.0), -abs(x)));
  const F64 y = 1.0 + e.p, z = scale(y, e.n), bottom = 1.0 + z;
  const F64 q = y / (bottom * bottom);  // and what was rounded off
  return scale(fma(q, ((1.0 - y) + e.p) + e.p_low - 2.0 * ((1.0 - bottom) + z), q), e.n);
}
// exp(a) / (exp(a) + exp(b)), by the exact difference: 2 ulp; 1/2 where both are infinity, 0 where both are -infinity.
template <class T>
WENGERT_INLINE Vec<T> share(Vec<T> a, Vec<T> b) {
  const Vec<T> d = a - b, y = sigmoid(d), z = fma(y, rounding(a, b) * sigmoid(-d), y);
  return where((a == b) & (abs(a) == infinity), where(a > 0.0, 0.5, 0.0), z);
}
// exp(a + b) / (exp(a) + exp(b))^2, likewise.
template <class T>
WENGERT_INLINE Vec<T> share_slope(Vec<T> a, Vec<T> b) {
  const Vec<T> d = a - b, y = logistic_pdf(d), z = fma(-y, rounding(a, b) * tanh(0.5 * d), y);
  return where((a == b) & (abs(a) == infinity), where(a > 0.0, 0.25, 0.0), z);
}

WENGERT_NOINLINE F64 tanh(F64 x) {
  const F64 u = abs(x);
  const auto h = expm1_half_twice(min(F64(44.0), u + u));
  auto bottom = exact_sum(F64(1.0), h.high);
  bottom.low = bottom.low + h.low;
  return where(x == x, copysign(where(u < 1e-9, u, quotient(h, bottom)), x), x);
}
// sinh, cosh and the inverses over their whole domains: 1.5 ulp in float, 2 in double.
WENGERT_NOINLINE F64 sinh(F64 x) {
  const F64 u = abs(x);
  const auto h = expm1_half_twice(min(F64(700.0), u));
  const F64 q = h.high / (1.0 + (h.high + h.high)), sum = h.high + q;
  const F64 y = where(u < 700.0, sum + (((h.high - sum) + q) + h.low), exp_half(u));
  return where(x == x, copysign(where(u < 1e-9, u, y), x), x);
}
WENGERT_NOINLINE F64 cosh(F64 x) {
  const F64 e = exp_half(abs(x));
  return e + 0.25 / e;
}
WENGERT_NOINLINE F64 asinh(F64 x) {
  const F64 u = abs(x), s = u * u, t = s / (1.0 + sqrt(1.0 + s));
  const auto far = u > 0x1p60;
  return copysign(log1p(where(far, u, u + t)) + where(far, ln2, 0.0), x);
}
WENGERT_NOINLINE F64 acosh(F64 x) {
  const F64 t = x - 1.0;
  const auto far = x > 0x1p60;
  const F64 y = log1p(where(far, x, t + sqrt(t + t + t * t))) + where(far, ln2, 0.0);
  return where(x < 1.0, not_a_number, y);
}
WENGERT_NOINLINE F64 atanh(F64 x) {
  const F64 u = abs(x), y = 0.5 * log1p((u + u) / (1.0 - u));
  return where(u < 1e-9, x, copysign(y, x));
}
WENGERT_BY_DOUBLE(sinh)
WENGERT_BY_DOUBLE(cosh)
WENGERT_BY_DOUBLE(asinh)
WENGERT_BY_DOUBLE(acosh)
WENGERT_BY_DOUBLE(atanh)

constexpr Eight tanh_centre = {1.5f, 2.5f, 4.f, 6.f, 7.97119236f, 7.97119236f, 0.f, 0.75f};
constexpr Eight tanh_piece[8] = {
    {0.905148208f, 0.986614287f, 0.999329329f, 0.999987721f, 0.999999762f, 0.999999762f, 0.f, 0.635148942f},
    {0.180706605f, 0.026592236f, 0.00134089962f, 2.45753636e-05f, 4.76978016e-07f, 4.76978016e-07f, 0.f, 0.59658581f},
    {-0.163563058f, -0.0262360945f, -0.00134108891f, -2.45976044e-05f, -4.77291053e-07f, -4.77291053e-07f,
     -3.1590414e-06f, -0.378921449f},
    {0.0878181756f, 0.0170206353f, 0.000892729033f, 1.63967434e-05f, 3.16767569e-07f, 3.16767569e-07f, -0.33320445f,
     0.041809883f},
    {-0.0250310078f, -0.00805121288f, -0.000439732074f, -8.08573441e-06f, -1.56897613e-07f, -1.56897613e-07f,
     -0.0016752229f, 0.0998001695f},
    {-0.00268810801f, 0.0028617878f, 0.000175275549f, 3.23649715e-06f, 6.56348504e-08f, 6.56348504e-08f, 0.14303596f,
     -0.0640503317f},
    {0.00754043274f, -0.000698035583f, -6.64991676e-05f, -1.257691e-06f, -2.43333957e-08f, -2.43333957e-08f,
     -0.02701154f, -0.00225065975f},
    {-0.00382223073f, 5.87504073e-05f, 1.83211796e-05f, 3.57736411e-07f, 5.29693223e-09f, 5.29693223e-09f,
     -0.022352116f, 0.021605907f}};
// tanh of any x: 1.5 ulp, and 2 in double above.
WENGERT_INLINE F32 tanh(F32 x) {
  // Pieces by the leading bits of |x| + 1; beyond 9.02 the nearest float is 1. In the first, tanh(u) = u + u (...).
  const F32 u = min(F32(9.2), abs(x));
  const F32 key = u + 1.0;  // below 0.5, u may round up into the second piece
  const auto i = bits(key) >> 22;
  const F32 d = u - lookup(tanh_centre, i);
  F32 y = lookup(tanh_piece[7], i);
  for (int k = 6; k > 0; --k) y = fma(y, d, lookup(tanh_piece[k], i));
  return copysign(fma(y, d, where(key < 1.5, u, lookup(tanh_piece[0], i))), x);
}

// ---- Powers and roots -----------------------------------------------------------------------------------------

// Cube root of any x: 1 ulp.
WENGERT_NOINLINE F64 cbrt(F64 x) {
  const auto s = split(abs(x));
  // m 2^(k - 3q), with k - 3q in {-1, 0, 1}: a guess to 20 bits, one step of Halley's method, one of Newton's.
  const F64 q = round(s.k * 0.3333333333333333), r = s.k - 3.0 * q;
  const F64 v = (1.0 + s.f) * where(r > 0.5, 2.0, where(r < -0.5, 0.5, 1.0));
  const F64 guess = polynomial(1.0 + s.f, 0.42168541527269326, 1.0560116784134395, -0.8360132052676487,
                               0.5108624299346489, -0.1794841324315546, 0.026936810910436624) *
                    where(r > 0.5, 1.2599210498948732, where(r < -0.5, 0.7937005259840998, 1.0));
  const F64 cube = guess * guess * guess, t = guess - guess * ((cube - v) / (cube + cube + v));
  const F64 square = t * t, low = exact_fma(t, t, -square);
  const F64 y = scale(t - fma(low, t, exact_fma(square, t, -v)) / (3.0 * square), q);
  return where((x == 0.0) | !(abs(x) < infinity), x, copysign(y, x));
}
WENGERT_BY_DOUBLE(cbrt)

// sqrt(a^2 + b^2) of any a and b, scaled where squares would overflow or vanish: 1.5 ulp.
WENGERT_NOINLINE F64 hypot(F64 a, F64 b) {
  const F64 u = abs(a), v = abs(b), big = max(u, v);
  const F64 s = where(big > 0x1p500, 0x1p-600, where(big < 0x1p-400, 0x1p600, 1.0));
  const F64 back = where(big > 0x1p500, 0x1p600, where(big < 0x1p-400, 0x1p-600, 1.0));
  const F64 x = u * s, y = v * s;
  return where((u == infinity) | (v == infinity), infinity, sqrt(fma(x, x, y * y)) * back);
}
WENGERT_INLINE F32 hypot(F32 a, F32 b) {
  const Pair p = widen(a), q = widen(b);
  const F32 y =
      narrow({sqrt(fma(p.lower, p.lower, q.lower * q.lower)), sqrt(fma(p.upper, p.upper, q.upper * q.upper))});
  return where((abs(a) == infinity) | (abs(b) == infinity), infinity, y);
}
// a / hypot(a, b); 0 at (0, 0).
WENGERT_NOINLINE F64 direction(F64 a, F64 b) {
  const F64 u = abs(a), v = abs(b), big = max(u, v);
  const F64 s = where(big > 0x1p500, 0x1p-600, where(big < 0x1p-400, 0x1p600, 1.0));
  const F64 x = a * s, y = b * s;
  const auto both = (u == infinity) & (v == infinity);
  const F64 r =
      where(both, copysign(0.7071067811865476, a), where(u == infinity, copysign(1.0, a), x / sqrt(fma(x, x, y * y))));
  // a quotient in the range of denormals must be rounded once
  return where(!(b == b), b, where(big == 0.0, a, where(abs(x) < abs(y) * 0x1p-500, a / v, r)));
}
WENGERT_BY_DOUBLE2(direction)
// 1 / sqrt(1 - x^2), 1 / sqrt(x^2 - 1) and 1 / sqrt(1 + x^2): 3 ulp.
template <class T>
WENGERT_INLINE Vec<T> asin_slope(Vec<T> x) {
  return 1.0 / sqrt((1.0 - x) * (1.0 + x));
}
template <class T>
WENGERT_INLINE Vec<T> acosh_slope(Vec<T> x) {
  return 1.0 / (sqrt(x - 1.0) * sqrt(x + 1.0));
}
WENGERT_INLINE F64 asinh_slope(F64 x) {
  const F64 u = abs(x);
  return where(u > 0x1p60, 1.0 / u, 1.0 / sqrt(fma(u, u, 1.0)));
}
WENGERT_INLINE F32 asinh_slope(F32 x) {
  const F32 u = abs(x);
  return where(u > 0x1p30, 1.0 / u, 1.0 / sqrt(fma(u, u, 1.0)));
}

// log(x) to about 65 bits, x > 0 and finite.
WENGERT_INLINE Twice<double> log_double(F64 x) {
  const auto e = split(x);
  const F64 f = e.f, d = 2.0 + f, d_low = f - (d - 2.0);
  const F64 s = f / d, s_low = (exact_fma(-s, d, f) - s * d_low) / d;
  // log(1 + f) = 2 s (1 + z/3 + z^2 Q(z)), z = s^2
  const F64 z = s * s, z_low = exact_fma(s, s, -z) + 2.0 * s * s_low;
  const F64 third = z * 0.3333333333333333;
  const F64 third_low =
      exact_fma(z, 0.3333333333333333, -third) + fma(z, 1.850371707708594e-17, z_low * 0.3333333333333333);
  const F64 q = z * z *
                polynomial(z, 0.19999999999999987, 0.14285714285723522, 0.11111111108535066, 0.09090909463552639,
                           0.07692276512947352, 0.06668232108204245, 0.05835930921333483, 0.06006720750997658);
  const F64 u = third + q, u_low = ((third - u) + q) + third_low;
  const F64 s2 = s + s, a = s2 * u;
  const F64 a_low = exact_fma(s2, u, -a) + fma(s2, u_low, 2.0 * s_low * u);
  const F64 b = s2 + a, b_low = ((s2 - b) + a) + (a_low + (s_low + s_low));
  // + k ln(2); the product is exact, and larger than b unless k is 0
  const F64 c = e.k * 0.6931471805598903, sum = c + b;
  const F64 larger = where(e.k == 0.0, b, c), smaller = where(e.k == 0.0, c, b);
  const F64 low = ((larger - sum) + smaller) + fma(e.k, 5.497923018708371e-14, b_low);
  return {sum, low};
}

// x to the power y + y_low.
// Of any x and y, with the special cases of C99: 2 ulp.
WENGERT_INLINE F64 pow_sum(F64 x, F64 y, F64 y_low) {
  const F64 u = abs(x);
  const Twice<double> l = log_double(u);
  const F64 p = y * l.high, p_low = exact_fma(y, l.high, -p) + fma(y, l.low, y_low * l.high);
  F64 r = exp_sum(p, where(abs(p) < 800.0, p_low, 0.0));
  r = where(u == 0.0, where(y < 0.0, infinity, 0.0), r);
  r = where(u == infinity, where(y < 0.0, 0.0, infinity), r);
  r = where((u == 1.0) & (y == y), 1.0, r);
  const auto whole = trunc(y) == y;
  const F64 half = 0.5 * y;
  const auto odd = whole & (trunc(half) != half);
  const auto negative = F64::mask(bits(x) < 0);
  r = where(negative & odd, -r, r);
  r = where((x < 0.0) & !whole & (u < infinity), not_a_number, r);
  r = where((x == x) & (y == y), r, not_a_number);
  return where((x == 1.0) | (y == 0.0), 1.0, r);
}
WENGERT_NOINLINE F64 pow(F64 x, F64 y) { return pow_sum(x, y, 0.0); }
WENGERT_BY_DOUBLE2(pow)

// x to the power y - z, the difference not rounded.
WENGERT_NOINLINE F64 power_less(F64 x, F64 y, F64 z) { return pow_sum(x, y - z, rounding(y, z)); }
WENGERT_INLINE F64 power_less(F64 x, F64 y, double z) { return power_less(x, y, F64(z)); }
WENGERT_NOINLINE F32 power_less(F32 x, F32 y, F32 z) {  // in double it is exact
  const Pair a = widen(x), b = widen(y), c = widen(z);
  return narrow({pow(a.lower, b.lower - c.lower), pow(a.upper, b.upper - c.upper)});
}
WENGERT_INLINE F32 power_less(F32 x, F32 y, double z) { return power_less(x, y, F32(z)); }
// y x^(y - 1) for x > 0, right also where the power alone overflows or vanishes.
WENGERT_NOINLINE F64 pow_slope(F64 x, F64 y) {
  const Twice<double> l = log_double(x);
  const F64 d = y - 1.0, p = d * l.high,
            p_low = exact_fma(d, l.high, -p) + fma(d, l.low, rounding(y, F64(1.0)) * l.high);
  const auto e = exponential(min(F64(1500.0), max(F64(-1500.0), p)), where(abs(p) < 1500.0, p_low, 0.0));
  const auto factor = split(abs(y));
  const F64 n = max(F64(-1400.0), min(F64(1400.0), e.n + factor.k));
  const F64 z = copysign(scale((1.0 + factor.f) * (1.0 + e.p), n), y);
  return where((z - z == 0.0) & (y != 0.0), z, y * pow(x, d));
}
WENGERT_BY_DOUBLE2(pow_slope)

// C's fmod: a - trunc(a / b) b, exact. Lane by lane where the quotient is not.
template <class T>
WENGERT_NOINLINE Vec<T> far_fmod(Vec<T> a, Vec<T> b) {
  T p[Vec<T>::lanes], q[Vec<T>::lanes];
  a.store(p);
  b.store(q);
  for (int i = 0; i < Vec<T>::lanes; ++i) {
    const double r = __builtin_fmod(static_cast<double>(p[i]), static_cast<double>(q[i]));
    p[i] = static_cast<T>(r);
  }
  return Vec<T>::load(p);
}
template <class T>
WENGERT_INLINE Vec<T> fmod(Vec<T> a, Vec<T> b) {
  const Vec<T> q = trunc(a / b);
  Vec<T> r = exact_fma(-q, b, a);
  if (any(!((abs(q) < 0x1p20) & (abs(b) > smallest_normal<T> * T(0x1p60)) &
            (abs(b) < (sizeof(T) == 4 ? 0x1p120 : 0x1p900)))))
    r = far_fmod(a, b);
  return where(times_sign(r, a) < 0.0, r + copysign(b, a), r);  // the quotient was rounded up
}

// Python's % and //, by the steps of NumPy's: of one remainder, which takes the sign of b.
template <class T>
WENGERT_INLINE Vec<T> remainder(Vec<T> a, Vec<T> b) {
  Vec<T> r = fmod(a, b);
  r = where((r != 0.0) & (times_sign(r, b) < 0.0), r + b, r);
  return where(r == 0.0, copysign(Vec<T>(0.0), b), r);
}
template <class T>
WENGERT_INLINE Vec<T> floor_divide(Vec<T> a, Vec<T> b) {
  const Vec<T> r = fmod(a, b), ratio = a / b;
  Vec<T> q = (a - r) / b;  // nearly whole
  q = where((r != 0.0) & (times_sign(r, b) < 0.0), q - 1.0, q);
  const Vec<T> down = floor(q);
  const Vec<T> whole = where(q - down > 0.5, down + 1.0, down);
  return where(b == 0.0, ratio, where(q == 0.0, copysign(Vec<T>(0.0), ratio), whole));
}

}  // namespace
}  // namespace wengert::kernels
