// Trigonometric functions on lanes, right for arguments of any size.
#pragma once
#include "kernels/math.h"

namespace wengert::kernels {
namespace {

// 2/pi in binary, after 64 zero bits.
constexpr std::uint64_t two_over_pi[] = {0,
                                         0xa2f9836e4e441529,
                                         0xfc2757d1f534ddc0,
                                         0xdb6295993c439041,
                                         0xfe5163abdebbc561,
                                         0xb7246e3a424dd2e0,
                                         0x06492eea09d1921c,
                                         0xfe1deb1cb129a73e,
                                         0xe88235f52ebb4484,
                                         0xe99c7026b45f7e41,
                                         0x3991d639835339f4,
                                         0x9c845f8bbdf9283b,
                                         0x1ff897ffde05980f,
                                         0xef2f118b5a0a6d1f,
                                         0x6d367ecf27cb09b7,
                                         0x4f463f669e5fea2d,
                                         0x7527bac7ebe5f17b,
                                         0x3d0739f78a5292ea,
                                         0x6bfb5fb11f8d5d08,
                                         0x56033046fc7b6bab};

struct Quarters {
  double r, low;  // the argument less n quarter turns, |r| <= pi/4
  int n;          // mod 4
};

// For |x| >= 1, after Payne and Hanek: of the product of x and 2/pi only the 192 bits below 4 are computed.
inline __attribute__((noinline)) Quarters far_quarters(double x) {
  std::uint64_t b;
  __builtin_memcpy(&b, &x, sizeof b);
  const int e = static_cast<int>(b >> 52 & 2047) - 1075;  // |x| = m 2^e
  const std::uint64_t m = (b & 0xfffffffffffff) | 0x10000000000000;
  const int start = e + 62, word = start / 64, shift = start % 64;  // the first bit that counts
  std::uint64_t w[3];
  for (int i = 0; i < 3; ++i) {
    w[i] = two_over_pi[word + i] << shift;
    if (shift) w[i] |= two_over_pi[word + i + 1] >> (64 - shift);
  }
  __extension__ using Wide = unsigned __int128;
  const Wide low = static_cast<Wide>(m) * w[2], middle = static_cast<Wide>(m) * w[1] + (low >> 64);
  std::uint64_t p2 = m * w[0] + static_cast<std::uint64_t>(middle >> 64), p1 = static_cast<std::uint64_t>(middle),
                p0 = static_cast<std::uint64_t>(low);
  int n = static_cast<int>(p2 >> 62);  // then the fraction, as a signed number
  p2 = p2 << 2 | p1 >> 62, p1 = p1 << 2 | p0 >> 62;
  const bool up = p2 >> 63;
  if (up) {
    n = (n + 1) & 3;
    p1 = -p1;
    p2 = ~p2 + (p1 == 0);
  }
  // p2:p1 / 2^128 in two doubles, then times pi/2
  const int zeros = p2 ? __builtin_clzll(p2) : 64 + (p1 ? __builtin_clzll(p1) : 0);
  const Wide all = (static_cast<Wide>(p2) << 64 | p1) << (zeros < 128 ? zeros : 0);
  const double unit = __builtin_ldexp(1.0, -zeros);
  const double high = static_cast<double>(static_cast<std::uint64_t>(all >> 75)) * 0x1p-53 * unit;
  const double rest = static_cast<double>(static_cast<std::uint64_t>(all >> 11) & 0xffffffffffffffff) * 0x1p-117 * unit;
  const Vec<double> h(high), c(1.5707963267948966), r = h * c;
  const Vec<double> l = exact_fma(h, c, -r) + (rest * 1.5707963267948966 + high * 6.123233995736766e-17);
  const Vec<double> sum = r + l, left = (r - sum) + l;
  double out[2][Vec<double>::lanes];
  sum.store(out[0]);
  left.store(out[1]);
  const bool negative = b >> 63;
  const double s = up != negative ? -1 : 1;
  return {s * out[0][0], s * out[1][0], negative ? (4 - n) & 3 : n};
}

// x = n pi/2 + r + low
template <class T>
struct Reduced {
  Vec<T> r, low;
  typename Vec<T>::Bits n;  // mod 4, in the lowest bits
};

constexpr double far_double = 1e6, far_float = 1e5;  // where the short reduction ends

WENGERT_NOINLINE void reduce_far(F64 x, F64& r, F64& low, F64::Bits& n) {
  double a[F64::lanes], b[F64::lanes], c[F64::lanes];
  x.store(a);
  r.store(b);
  low.store(c);
  for (int i = 0; i < F64::lanes; ++i) {
    if (!(__builtin_fabs(a[i]) > far_double)) continue;
    const Quarters q = a[i] - a[i] == 0 ? far_quarters(a[i]) : Quarters{not_a_number, 0.0, 0};
    b[i] = q.r, c[i] = q.low, n[i] = q.n;
  }
  r = F64::load(b);
  low = F64::load(c);
}
WENGERT_INLINE Reduced<double> quarters(F64 x) {
  const F64 shifted = fma(x, 0.6366197723675814, magic<double>), n = shifted - magic<double>;
  const F64 a = exact_fma(-n, 1.5707963267948966, x);  // exact: the leading bits cancel
  const F64 p = n * 6.123233995736766e-17, p_low = exact_fma(n, 6.123233995736766e-17, -p);
  const F64 r = a - p, low = ((a - r) - p) - fma(n, -1.4973849048591815e-33, p_low);
  Reduced<double> q = {r, low, bits(shifted)};
  if (any(!(abs(x) <= far_double))) reduce_far(x, q.r, q.low, q.n);
  return q;
}

// On |r| <= pi/4.
WENGERT_INLINE Twice<double> sin_quarter(F64 r, F64 low) {
  const F64 z = r * r;
  const F64 s = polynomial(z, -0.1666666666666663, 0.00833333333332184, -0.00019841269829358384, 2.7557313538367303e-06,
                           -2.505073434553978e-08, 1.589542932547332e-10);
  const F64 tail = fma(r * z, s, fma(low, -0.5 * z, low)), y = r + tail;
  return {y, (r - y) + tail};
}
WENGERT_INLINE Twice<double> cos_quarter(F64 r, F64 low) {
  const F64 z = r * r, half = 0.5 * z, w = 1.0 - half;
  const F64 c = polynomial(z, 0.041666666666666595, -0.0013888888888873303, 2.480158728894692e-05,
                           -2.755731419170868e-07, 2.0875700685350935e-09, -1.1358441943676247e-11);
  const F64 tail = ((1.0 - w) - half) + fma(z * z, c, -r * low), y = w + tail;
  return {y, (w - y) + tail};
}

// sin(x + turn pi/2)
WENGERT_INLINE F64 sin_turned(F64 x, int turn) {
  const auto q = quarters(x);
  const auto n = q.n + turn;
  const F64 y = where(F64::mask((n & 1) == 0), sin_quarter(q.r, q.low).high, cos_quarter(q.r, q.low).high);
  return F64::from_bits(bits(y) ^ ((n & 2) << 62));
}
// sin, cos and tan of any x however large: 1.6 ulp in float, 2 in double.
WENGERT_NOINLINE F64 sin(F64 x) { return where(x == 0.0, x, sin_turned(x, 0)); }
WENGERT_NOINLINE F64 cos(F64 x) { return sin_turned(x, 1); }
WENGERT_NOINLINE F64 tan(F64 x) {
  const auto q = quarters(x);
  const auto s = sin_quarter(q.r, q.low), c = cos_quarter(q.r, q.low);
  const auto even = F64::mask((q.n & 1) == 0);
  const Twice<double> top = {where(even, s.high, -c.high), where(even, s.low, -c.low)};
  const Twice<double> bottom = {where(even, c.high, s.high), where(even, c.low, s.low)};
  return where(abs(x) < 1e-9, x, quotient(top, bottom));
}
WENGERT_BY_DOUBLE(tan)

// Float: half turns, so that one polynomial on [-pi/2, pi/2] is enough. x = n pi + r + low; n is half
// of an odd number for cos (turn 1), and the sign is the parity of what rounding gave.
WENGERT_NOINLINE F32 far_sin(F32 x, F32 near, int turn) {
  const Pair p = widen(x);
  return where(abs(x) <= far_float, near, narrow({sin_turned(p.lower, turn), sin_turned(p.upper, turn)}));
}
WENGERT_INLINE F32 sin_turned(F32 x, int turn) {
  F32 top = fma(x, 0.3183098861837907, magic<float>), n = top - magic<float>;
  if (turn) {
    top = fma(x, 0.3183098861837907, 0.5) + magic<float>;
    n = (top - magic<float>)-0.5;
  }
  const F32 a = exact_fma(n, -3.1415927410125732, x);  // exact: the leading bits cancel
  const F32 p = n * 8.742277657347586e-08, r = a + p;
  const F32 low = (p - (r - a)) + fma(n, 3.4302490200117637e-15, exact_fma(n, 8.742277657347586e-08, -p));
  const F32 z = r * r;
  const F32 s =
      polynomial(z, 0.008333350531756878, -0.00019843093468807638, 2.762706344583421e-06, -2.55032048812609e-08);
  const F32 rz = r * z, rest = fma(rz * z, s, low * fma(z, -0.405, 1.0));  // low times a cosine of sorts
  const F32 y = r + fma(rz, -0.1666666716337204, rest);
  const F32 signed_y = F32::from_bits(bits(y) ^ (bits(top) << 31));
  if (any(!(abs(x) <= far_float))) return far_sin(x, signed_y, turn);
  return signed_y;
}
WENGERT_INLINE F32 sin(F32 x) { return where(x == 0.0, x, sin_turned(x, 0)); }
WENGERT_INLINE F32 cos(F32 x) { return sin_turned(x, 1); }

// ---- Inverses -------------------------------------------------------------------------------------------------

// atan(t) for |t| <= tan(pi/8), as t + tail.
WENGERT_INLINE F64 atan_tail(F64 t) {
  const F64 z = t * t;
  return t * z *
         polynomial(z, -0.33333333333333326, 0.199999999999971, -0.14285714285317722, 0.11111111083862937,
                    -0.09090907991223342, 0.07692279345535472, -0.06666177132540778, 0.05876543338567351,
                    -0.05215371747291715, 0.04491406693074379, -0.03319606827092487, 0.01491670699009361);
}
// The angle of (x, y), both >= 0, in [0, pi/2].
WENGERT_INLINE F64 first_quadrant(F64 y, F64 x) {
  const auto steep = y > x;
  const F64 small = where(steep, x, y), large = where(steep, y, x);
  const auto middle = small > large * 0.4142135623730950;
  // atan(s/l) = pi/4 + atan((s - l)/(s + l)), which keeps the quotient below tan(pi/8)
  const F64 top = where(middle, small - large, small), bottom = where(middle, small + large, large);
  const F64 bottom_low = where(middle, (large - bottom) + small, 0.0);
  const F64 t = top / bottom;
  const F64 t_low = fma(-t, bottom_low, exact_fma(-t, bottom, top)) / bottom;
  const F64 base = where(middle, 0.7853981633974483, 0.0), base_low = where(middle, 3.061616997868383e-17, 0.0);
  const F64 sum = base + t, rest = ((base - sum) + t) + (base_low + (t_low + atan_tail(t)));
  const F64 r = where(middle, sum, t), r_low = where(middle, rest, t_low + atan_tail(t));
  const F64 near = r + r_low;
  const F64 over = 1.5707963267948966 - r;
  return where(steep, over + (((1.5707963267948966 - over) - r) + (6.123233995736766e-17 - r_low)), near);
}
// atan and atan2 of any operands, and below asin and acos on [-1, 1]: 1.5 ulp in float, 2 in double.
WENGERT_NOINLINE F64 atan(F64 x) {
  const F64 u = abs(x);
  const F64 y = first_quadrant(where(u > 0x1p60, 0x1p60, u), 1.0);
  return where(u < 1e-9, x, where(x == x, copysign(y, x), x));
}
WENGERT_NOINLINE F64 atan2(F64 y, F64 x) {
  const F64 u = abs(y), v = abs(x), big = max(u, v), small = min(u, v);
  // to the middle of the range, where neither sums nor quotients overflow and error terms do not vanish
  const F64 s = where(big > 0x1p500, 0x1p-600, where(big < 0x1p-400, 0x1p600, 1.0));
  F64 a = u * s, b = v * s;
  const auto both_infinite = small == infinity;
  a = where(both_infinite, 1.0, where(u == infinity, 0x1p100, where(v == infinity, 0.0, a)));
  b = where(both_infinite, 1.0, where(v == infinity, 0x1p100, where(u == infinity, 0.0, b)));
  b = where(big == 0.0, 1.0, b);
  F64 r = first_quadrant(a, b);
  // a quotient in the range of denormals must be rounded once
  r = where((a < b * 0x1p-500), (u / where(v == 0.0, 1.0, v)), r);
  const F64 back = 3.141592653589793 - r;
  r = where(F64::mask(bits(x) < 0), back + (((3.141592653589793 - back) - r) + 1.2246467991473532e-16), r);
  return where((x == x) & (y == y), copysign(r, y), not_a_number);
}
WENGERT_BY_DOUBLE(atan)
WENGERT_BY_DOUBLE2(atan2)

// asin(t) for |t| <= 1/2, as t + tail.
WENGERT_INLINE F64 asin_tail(F64 t, F64 z) {
  return t * z *
         polynomial(z, 0.16666666666666763, 0.07499999999970051, 0.04464285717539133, 0.03038194266775995,
                    0.022372216178482954, 0.01735158963364368, 0.01398109937768685, 0.011396552574470966,
                    0.010793884419794597, 0.0036534740801578503, 0.021839603298416888, -0.02119068501404366,
                    0.03275126505565719);
}
// pi/2 - asin(u) = 2 asin(sqrt((1 - u)/2)) for u > 1/2, in two parts.
WENGERT_INLINE Twice<double> acos_near_one(F64 u) {
  const F64 z = 0.5 - 0.5 * u, t = sqrt(z);
  const F64 t_low = exact_fma(-t, t, z) / where(t == 0.0, 1.0, t + t);
  return {t + t, 2.0 * (t_low + asin_tail(t, z))};
}
WENGERT_NOINLINE F64 asin(F64 x) {
  const F64 u = abs(x);
  const Twice<double> a = acos_near_one(u);
  const F64 r = 1.5707963267948966 - a.high;
  const F64 y = r + (((1.5707963267948966 - r) - a.high) + (6.123233995736766e-17 - a.low));
  return where(u <= 0.5, where(u < 1e-9, x, x + asin_tail(x, x * x)), copysign(y, x));
}
WENGERT_NOINLINE F64 acos(F64 x) {
  const F64 u = abs(x);
  const Twice<double> a = acos_near_one(u);
  const F64 near = a.high + a.low, back = 3.141592653589793 - a.high;
  const F64 far = back + (((3.141592653589793 - back) - a.high) + (1.2246467991473532e-16 - a.low));
  const F64 tail = asin_tail(x, x * x), r = 1.5707963267948966 - x;
  const F64 middle = r + (((1.5707963267948966 - r) - x) + (6.123233995736766e-17 - tail));
  return where(u <= 0.5, middle, where(x < 0.0, far, near));
}
WENGERT_BY_DOUBLE(asin)
WENGERT_BY_DOUBLE(acos)

}  // namespace
}  // namespace wengert::kernels
