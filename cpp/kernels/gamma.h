// The gamma function's logarithm and its derivatives of any order, and sin(pi x)/(pi x), on lanes.
//
// log gamma and digamma: a polynomial on [1, 2] (Chebyshev, times the factors that hold the zeros, so that these are
// relatively exact), the recurrence up to 8 or 10, the asymptotic series beyond, and reflection below 0.
#pragma once
#include "kernels/math.h"
#include "kernels/trig.h"

namespace wengert::kernels {
namespace {

// sin(pi x): the nearest whole number is taken off exactly, its parity is the sign.
WENGERT_INLINE F64 sin_pi(F64 x) {
  const F64 k = round(x);
  const F64 y = sin(3.141592653589793 * (x - k));
  return where(k - 2.0 * floor(0.5 * k) == 1.0, -y, y);
}

// cos(pi x), likewise.
WENGERT_INLINE F64 cos_pi(F64 x) {
  const F64 k = round(x), r = abs(x - k);
  const F64 y = where(r > 0.25, sin(3.141592653589793 * (0.5 - r)), cos(3.141592653589793 * r));
  return where(k - 2.0 * floor(0.5 * k) == 1.0, -y, y);
}
// Of any x: 2 ulp.
WENGERT_NOINLINE F64 sinpi(F64 x) { return sin_pi(x); }
WENGERT_NOINLINE F64 cospi(F64 x) { return cos_pi(x); }
WENGERT_BY_DOUBLE(sinpi)
WENGERT_BY_DOUBLE(cospi)

// Of any x: 2 ulp.
WENGERT_NOINLINE F64 sinc(F64 x) {
  const F64 u = abs(x);
  const F64 y = sin_pi(u) / (3.141592653589793 * u);
  return where(u < 1e-9, 1.0, where(u == infinity, 0.0, y + 0.0));  // + 0: no -0 at whole numbers
}

// For any x: 4 ulp, but near its zeros below 0.
WENGERT_NOINLINE F64 lgamma(F64 x) {
  const F64 a = abs(x);
  F64 z = a, product = 1.0;  // down to (1, 2]: gamma(a) = (a - 1)(a - 2)... gamma(z)
  for (int i = 0; i < 6; ++i) {
    const auto above = z > 2.0;
    z = where(above, z - 1.0, z);
    product = where(above, product * z, product);
  }
  // below 1, gamma(a) = gamma(1 + a)/a, without rounding 1 + a
  const auto below = a < 1.0;
  const F64 less_1 = where(below, a, z - 1.0), less_2 = where(below, a - 1.0, z - 2.0);
  const F64 q =
      polynomial(where(below, a - 0.5, z - 1.5), 0.4831289505409809, -0.14595989591430608, 0.06291140107456439,
                 -0.031308487501010646, 0.01679709863127416, -0.009425622448525798, 0.005446457839126065,
                 -0.0032120740737152814, 0.0019229163127905161, -0.0011644145847310124, 0.000711519067515296,
                 -0.00043799307479613914, 0.00027131373861446925, -0.0001689178215524898, 0.00010535512483785591,
                 -6.614136022346414e-05, 4.30276814976503e-05, -2.7201673025504752e-05, 1.3186019073996835e-05,
                 -8.355075869795273e-06, 1.2140008083973407e-05, -7.760660152513446e-06);
  const F64 shift = log(where(below, a, product));
  const F64 near = less_1 * less_2 * q + where(below, -shift, shift);
  const F64 s = 1.0 / a;
  const F64 far =
      (a - 0.5) * (log(a) - 1.0) + 0.4189385332046728 +
      s * polynomial(s * s, 0.08333333333333333, -0.002777777777777778, 0.0007936507936507937, -0.0005952380952380953,
                     0.0008417508417508417, -0.0019175269175269176, 0.00641025641025641, -0.029550653594771242);
  const F64 y = where(a < 8.0, near, far);
  const F64 reflected = log(3.141592653589793 / abs(sin_pi(a))) - log(a) - y;
  return where(x < -1e-20, where(a == infinity, infinity, reflected), y);
}

// For any x: 4 ulp, but near its zeros below 0; NaN at the poles below 0.
WENGERT_NOINLINE F64 digamma(F64 x) {
  const F64 a = abs(x);
  F64 z = a, top = 0.0, bottom = 1.0;  // down to (1, 2]: top/bottom = 1/(a - 1) + 1/(a - 2) + ...
  for (int i = 0; i < 8; ++i) {
    const auto above = z > 2.0;
    z = where(above, z - 1.0, z);
    top = where(above, top * z + bottom, top);
    bottom = where(above, bottom * z, bottom);
  }
  const auto below = a < 1.0;  // digamma(a) = digamma(1 + a) - 1/a
  const F64 from_zero = where(below, (a - 0.46163214496836236) + 1.5522348162858677e-17,
                              (z - 1.4616321449683622) - 9.549995429965697e-17);
  const F64 q = polynomial(where(below, a - 0.5, z - 1.5), 0.951055876031833, -0.4236274212814605, 0.2405424842407742,
                           -0.14840492305390884, 0.09498872445494122, -0.061922133273064534, 0.04076083381242074,
                           -0.02697579675613825, 0.0179072524394512, -0.011908218001568644, 0.007926944646403797,
                           -0.005279964873257405, 0.003519006401502276, -0.002345267632540769, 0.0015566317474486838,
                           -0.0010376374098418604, 0.0007233266279287554, -0.0004821990530566789, 0.0002272331660987376,
                           -0.00015148586836773365, 0.00025968482126430747, -0.00017312261802727394);
  const F64 s = 1.0 / a;
  const F64 near = from_zero * q + where(below, -s, top / bottom);
  const F64 far =
      log(a) - 0.5 * s -
      s * s *
          polynomial(s * s, 0.08333333333333333, -0.008333333333333333, 0.003968253968253968, -0.004166666666666667,
                     0.007575757575757576, -0.021092796092796094, 0.08333333333333333);
  const F64 y = where(a < 10.0, near, far);
  const F64 r = a - round(a);
  const F64 reflected = where(below, from_zero * q, y + s) + 3.141592653589793 * cos_pi(r) / sin_pi(r);
  return where(x < 0.0, where(r == 0.0, not_a_number, reflected), where(x == 0.0, -1.0 / x, y));
}

// Hurwitz' zeta(n + 1, x) for x > 0 by Euler and Maclaurin's sum from x + 12 on, n > 0.
WENGERT_NOINLINE F64 hurwitz(F64 n, F64 x) {
  const F64 s = n + 1.0, a = x + 12.0, by = 1.0 / a;
  F64 head = 0.0;
  for (int i = 11; i >= 0; --i) head = head + pow(x + static_cast<double>(i), -s);
  constexpr double bernoulli[] = {0.08333333333333333,    -0.001388888888888889,   3.306878306878307e-05,
                                  -8.267195767195768e-07, 2.08767569878681e-08,    -5.284190138687493e-10,
                                  1.3382536530684679e-11, -3.3896802963225827e-13, 8.586062056277845e-15,
                                  -2.174868698558062e-16};
  F64 rising = s * by, tail = 0.5;
  for (int j = 0; j < 10; ++j) {
    tail = tail + bernoulli[j] * rising;
    rising = rising * (s + (2.0 * j + 1.0)) * (s + (2.0 * j + 2.0)) * by * by;
  }
  return head + pow(a, -n) / n + pow(a, -s) * tail;
}
// The sum of (x + k)^-(n + 1) over k = 0, 1, ... for x < 0: that over all whole k, of which the nearest pole's term is
// exact and the others make two of Hurwitz' functions, less the terms of k < 0.
WENGERT_NOINLINE F64 reflected_hurwitz(F64 n, F64 x, Mask<double> odd) {
  const F64 r = x - round(x), pole = pow(r, -n - 1.0);
  const F64 up = hurwitz(n, 1.0 + r), down = hurwitz(n, 1.0 - r), rest = hurwitz(n, 1.0 - x);
  return where(odd, pole + ((up - rest) + down), pole + ((up + rest) - down));
}
// The derivative of order n (rounded to a whole number, at most 30) of digamma, (-1)^(n+1) n! zeta(n + 1, x): 10 ulp,
// but near its zeros below 0. At a pole infinite, and NaN where its sides differ in sign.
WENGERT_NOINLINE F64 polygamma(F64 order, F64 x) {
  const F64 n = round(order);
  const auto odd = n - 2.0 * floor(0.5 * n) == 1.0;
  F64 zeta = hurwitz(n, abs(x));
  if (any(x < 0.0)) zeta = where(x < 0.0, reflected_hurwitz(n, x, odd), zeta);
  F64 factorial = 1.0;
  for (int i = 2; i <= 30; ++i)
    factorial = where(n >= static_cast<double>(i), factorial * static_cast<double>(i), factorial);
  const F64 y = where(odd, factorial, -factorial) * zeta;
  const auto sided = (!odd) & (x < 0.0) & (x == round(x));
  return where(n == 0.0, digamma(x), where((n >= 1.0) & (n <= 30.0) & !sided & (x == x), y, not_a_number));
}

WENGERT_BY_DOUBLE(sinc)
WENGERT_BY_DOUBLE(lgamma)
WENGERT_BY_DOUBLE(digamma)
WENGERT_BY_DOUBLE2(polygamma)

}  // namespace
}  // namespace wengert::kernels
