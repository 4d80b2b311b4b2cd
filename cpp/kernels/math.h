// Exponentials, logarithms, hyperbolic functions, powers and roots on lanes.
//
// Own range reductions and own minimax polynomials (Remez, relative error). Special values follow C99 Annex F, and
// denormals are exact. float and double share a formula where it serves both; a float function that is not worth a
// formula of its own goes through double. Errors are tested in tests/test_kernels_elementwise.py.
#pragma once
#include "kernels/vec.h"

namespace wengert::kernels {
namespace {

using F32 = Vec<float>;
using F64 = Vec<double>;

// c0 + c1 x + c2 x^2 + ...
template <class V, class... C>
WENGERT_INLINE V polynomial(V x, double c0, C... c) {
  if constexpr (sizeof...(c) == 0)
    return c0;
  else
    return fma(polynomial(x, static_cast<double>(c)...), x, c0);
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

// log(1 + z) for z in [0, 1].
WENGERT_INLINE F64 log1p_unit(F64 z) { return log1p(z); }
WENGERT_INLINE F32 log1p_unit(F32 z) {
  return z * polynomial(z, 1.0, -0.49999988079071045, 0.33332714438438416, -0.24988864362239838, 0.19899620115756989,
                        -0.16135142743587494, 0.12479423731565475, -0.0832369476556778, 0.04211278259754181,
                        -0.013690605759620667, 0.0020843208767473698);
}

template <class T>
WENGERT_INLINE Vec<T> softplus(Vec<T> x) {
  return where(x == x, max(x, Vec<T>(0.0)) + log1p_unit(exp(-abs(x))), x);
}
template <class T>
WENGERT_INLINE Vec<T> logaddexp(Vec<T> a, Vec<T> b) {
  const Vec<T> larger = maximum(a, b), y = larger + log1p_unit(exp(-abs(a - b)));
  return where(a == b, a + ln2, where(larger < infinity, y, larger));
}

// ---- Sigmoid and hyperbolic functions -------------------------------------------------------------------------

WENGERT_INLINE F32 sigmoid(F32 x) {
  const F32 z = exp(-abs(x));
  return where(x < 0.0, z, 1.0) / (1.0 + z);
}
WENGERT_INLINE F64 sigmoid(F64 x) {
  const F64 z = exp(max(F64(-700.0), -abs(x))), bottom = 1.0 + z;
  const F64 y = quotient<double>({where(x < 0.0, z, 1.0), 0.0}, {bottom, (1.0 - bottom) + z});
  return where(x < -700.0, exp(x), y);
}

WENGERT_NOINLINE F64 tanh(F64 x) {
  const F64 u = abs(x);
  const auto h = expm1_half_twice(min(F64(44.0), u + u));
  auto bottom = exact_sum(F64(1.0), h.high);
  bottom.low = bottom.low + h.low;
  return where(x == x, copysign(where(u < 1e-9, u, quotient(h, bottom)), x), x);
}
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

// Polynomials by piece: lane j uses the coefficients c[.][i[j]].
template <int n>
WENGERT_INLINE F32 piecewise(const float (&c)[n][16], F32::Bits i, F32 d) {
  F32 y = lookup(c[n - 1], i);
  for (int k = n - 2; k >= 0; --k) y = fma(y, d, lookup(c[k], i));
  return y;
}

constexpr float tanh_centre[16] = {2.5f,     3.5f,     5.f,     7.f,     10.f,   0.f,    0.078125f, 0.109375f,
                                   0.15625f, 0.21875f, 0.3125f, 0.4375f, 0.625f, 0.875f, 1.25f,     1.75f};
constexpr float tanh_piece[7][16] = {
    {0.986614287f, 0.998177886f, 0.999909222f, 0.999998331f, 1.f, 0.f, 0.0779664442f, 0.108940929f, 0.154990733f,
     0.215326339f, 0.302709728f, 0.411570042f, 0.554599702f, 0.703905582f, 0.848283648f, 0.941375554f},
    {0.026592331f, 0.00364095601f, 0.000181861222f, 3.33124103e-06f, 9.35806277e-09f, 1.f, 0.99392122f, 0.988131881f,
     0.975977898f, 0.95363456f, 0.908366799f, 0.830610096f, 0.692419171f, 0.5045169f, 0.28041476f, 0.113812044f},
    {-0.0262360126f, -0.00363430614f, -0.000181813579f, -3.3306917e-06f, -9.22999366e-09f, -1.79100168e-09f,
     -0.0774925053f, -0.107648008f, -0.151267529f, -0.205342636f, -0.274971485f, -0.341854244f, -0.384015501f,
     -0.355132312f, -0.237871334f, -0.107139826f},
    {0.0170174893f, 0.00241172663f, 0.000118822187f, 2.17678712e-06f, 3.35878014e-09f, -0.333332986f, -0.325265259f,
     -0.31765002f, -0.301880866f, -0.273662478f, -0.219552398f, -0.136173368f, -0.0178378187f, 0.0818049386f,
     0.108326115f, 0.0629282296f},
    {-0.00805211253f, -0.00119726709f, -5.94754238e-05f, -1.08984943e-06f, -1.76542547e-09f, -2.28623776e-05f,
     0.0511905774f, 0.0704877377f, 0.0972110406f, 0.127374172f, 0.158117235f, 0.169996306f, 0.137903079f, 0.0607982725f,
     -0.0125859277f, -0.0235256832f},
    {0.00288727065f, 0.00049037236f, 2.84814232e-05f, 5.22851508e-07f, 2.07969242e-09f, 0.134039834f, 0.126496732f,
     0.120143637f, 0.107186444f, 0.0849475116f, 0.0455062799f, -0.00596185541f, -0.0543359295f, -0.0585476607f,
     -0.019690685f, 0.00348230824f},
    {-0.000695589173f, -0.000157807342f, -9.41955113e-06f, -1.73298076e-07f, -6.7882977e-10f, -0.0100719109f,
     -0.0285638701f, -0.038918186f, -0.0522179902f, -0.0652069226f, -0.0723634064f, -0.0616955496f, -0.024364803f,
     0.012852476f, 0.0151044801f, 0.0021089036f}};
WENGERT_INLINE F32 tanh(F32 x) {
  // Two pieces an octave, by the leading bits of |x|; beyond 9.02 the nearest float is 1.
  const F32 u = min(F32(9.02), abs(x));
  const auto i = bits(max(u, F32(0.046875))) >> 22;
  return where(x == x, copysign(piecewise(tanh_piece, i, u - lookup(tanh_centre, i)), x), x);
}

// ---- Powers and roots -----------------------------------------------------------------------------------------

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
template <class T>
WENGERT_INLINE Vec<T> hypot(Vec<T> a, double b) {
  return hypot(a, Vec<T>(b));
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

WENGERT_NOINLINE F64 pow(F64 x, F64 y) {
  const F64 u = abs(x);
  const Twice<double> l = log_double(u);
  const F64 p = y * l.high, p_low = exact_fma(y, l.high, -p) + y * l.low;
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
WENGERT_BY_DOUBLE2(pow)

// Python's %: a - floor(a / b) b, exact but for the last addition. Lane by lane where the quotient is not.
template <class T>
WENGERT_NOINLINE Vec<T> far_remainder(Vec<T> a, Vec<T> b) {
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
WENGERT_INLINE Vec<T> remainder(Vec<T> a, Vec<T> b) {
  const Vec<T> q = trunc(a / b);
  Vec<T> r = exact_fma(-q, b, a);
  if (any(!((abs(q) < 0x1p20) & (abs(b) > smallest_normal<T> * T(0x1p60)) & (abs(b) < infinity))))
    r = far_remainder(a, b);
  r = where(times_sign(r, a) < 0.0, r + copysign(b, a), r);  // the quotient was rounded up
  r = where((r != 0.0) & (times_sign(r, b) < 0.0), r + b, r);
  return where(r == 0.0, copysign(Vec<T>(0.0), b), r);
}

}  // namespace
}  // namespace wengert::kernels
