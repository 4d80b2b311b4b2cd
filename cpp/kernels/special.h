// The error function, its relatives, and the normal distribution, on lanes.
#pragma once
#include "kernels/math.h"

namespace wengert::kernels {
namespace {

// (y + low) 2^n: a value whose scaling is put off, so that a further factor meets no denormals.
template <class T>
struct Scaled {
  Vec<T> y, low, n;
};
WENGERT_INLINE Scaled<double> in_two(Exponential<double> e) {
  const F64 y = 1.0 + e.p;
  return {y, ((1.0 - y) + e.p) + e.p_low, e.n};
}

// exp(-square) with the square in two parts: what rounding takes from it would be magnified by its size. low may be
// infinite or NaN only where the square is out of range.
template <class T>
WENGERT_INLINE Exponential<T> exp_minus(Vec<T> square, Vec<T> low) {
  constexpr double limit = sizeof(T) == 4 ? 115.0 : 800.0;
  return exponential(max(Vec<T>(-limit), -square), where(square < limit, -low, 0.0));
}
// exp(-x^2)
WENGERT_INLINE F64 gaussian(F64 x) {
  const F64 s = x * x;
  const auto e = exp_minus(s, exact_fma(x, x, -s));
  return scale(1.0 + e.p, e.n);
}
WENGERT_INLINE F32 gaussian(F32 x) {
  const F32 u = min(F32(11.0), abs(x)), s = u * u;
  const FloatExp e = float_exp(-s);
  return scale(fma(e.y, -exact_fma(u, u, -s), e.y), e.n);
}
template <class T>
WENGERT_INLINE Exponential<T> exp_minus_half_square(Vec<T> x) {
  const Vec<T> s = 0.5 * x * x;
  return exp_minus(s, exact_fma(0.5 * x, x, -s));
}

// exp(v^2) erfc(v) for v = u + low >= 0
WENGERT_INLINE F64 erfcx(F64 u, F64 low) {
  const F64 t = (u - 4.0) / (u + 4.0),
            q = polynomial(t, -0.13962111684056322, 0.015379652102604885, 0.06809705425476806, -0.10103906603549308,
                           0.09373283499612733, -0.06633036582980836, 0.037167515566305084, -0.01619773386058287,
                           0.005031969787601262, -0.0007577745826969858, -0.00019925605783361903,
                           0.00015062694821628544, -2.4399931005598733e-05, -1.1235624221468538e-05,
                           5.707812757876833e-06, 3.1564984973940797e-07, -8.175300607286303e-07, 5.407592445946397e-08,
                           9.893309793686501e-08, -8.19761368285759e-09, -7.334458233998431e-09, 3.850047390004773e-10);
  const F64 c = fma(t, q, 1.2329951186255526), c_low = fma(t, q, 1.2329951186255526 - c);
  auto bottom = exact_sum(F64(1.0), u + u);
  bottom.low = bottom.low + (low + low);
  return quotient<double>({c, c_low}, bottom);
}
// erf(x) for |x| <= 1
WENGERT_INLINE F64 erf_near(F64 x) {
  const F64 z = x * x;
  return fma(
      x,
      polynomial(z, 0.12837916709551257390, -0.37612638903183343, 0.11283791670936949, -0.026866170641958616,
                 0.005223977596728703, -0.0008548325484498521, 0.00012055280476424839, -1.4924465142566821e-05,
                 1.6444142933566324e-06, -1.6183919930914233e-07, 1.3616329897272837e-08, -7.606996074635797e-10),
      x);
}
WENGERT_INLINE F64 erfc_tail(F64 u) {
  const F64 s = u * u;
  const auto e = in_two(exp_minus(s, exact_fma(u, u, -s)));
  const F64 c = erfcx(u, 0.0);
  return scale(fma(e.y, c, e.low * c), e.n);
}
// erf and erfc of any x, the tail of erfc to its last denormal: 1.5 ulp in float, 2 in double.
WENGERT_NOINLINE F64 erfc(F64 x) {
  const F64 u = min(F64(28.0), abs(x)), tail = erfc_tail(u);
  const F64 y = where(u < 0.5, 1.0 - erf_near(x), where(x < 0.0, 2.0 - tail, tail));
  return where(x == x, y, x);
}
WENGERT_NOINLINE F64 erf(F64 x) {
  const F64 u = min(F64(28.0), abs(x));
  return where(x == x, where(u < 1.0, erf_near(x), copysign(1.0 - erfc_tail(u), x)), x);
}
WENGERT_BY_DOUBLE(erfc)

constexpr Eight erf_piece[8] = {
    {0.f, 0.520499885f, 0.842700779f, 0.966105163f, 0.995322287f, 0.999593019f, 0.999977887f, 0.999999285f},
    {0.128379226f, 0.87878257f, 0.415107489f, 0.118930288f, 0.0206669848f, 0.00217828457f, 0.000139253039f,
     5.40020892e-06f},
    {-1.44077044e-08f, -0.439390689f, -0.415107787f, -0.178395584f, -0.0413338766f, -0.00544569409f, -0.000417767325f,
     -1.8894194e-05f},
    {-0.376125515f, -0.146466076f, 0.138369098f, 0.138752326f, 0.0482229553f, 0.00835004728f, 0.000789102807f,
     4.22150733e-05f},
    {-2.0142319e-05f, 0.183031708f, 0.0692074671f, -0.0445871949f, -0.0344526507f, -0.00862369873f, -0.00104374427f,
     -6.78061042e-05f},
    {0.113052018f, 0.00740317907f, -0.0691770837f, -0.0148813641f, 0.0130895656f, 0.00611944403f, 0.00101643952f,
     8.43110101e-05f},
    {-0.00111052918f, -0.0488040112f, 0.00402540248f, 0.0190288667f, 0.000655995973f, -0.00276495446f, -0.000754775072f,
     -7.93858271e-05f},
    {-0.0244491808f, 0.00450551137f, 0.0149347242f, -0.00446922379f, -0.00338661019f, 0.000503167568f, 0.000392608752f,
     4.09937566e-05f}};
WENGERT_INLINE F32 erf(F32 x) {
  // Pieces around the halves; from 3.92 on the nearest float is 1. In the first, erf(u) = u + u (2/sqrt(pi) - 1 + ...).
  const F32 u = min(F32(4.0), abs(x)), shifted = min(F32(magic<float> + 7), fma(u, 2.0, magic<float>));
  const auto i = bits(shifted);
  const F32 d = fma(shifted - magic<float>, -0.5, u);
  F32 y = lookup(erf_piece[7], i);
  for (int k = 6; k > 0; --k) y = fma(y, d, lookup(erf_piece[k], i));
  return copysign(fma(y, d, where(shifted == magic<float>, u, lookup(erf_piece[0], i))), x);
}

// Newton's method on erf, and in the tails on erfc, from a guess good to three digits: 1.5 ulp in float, 3 in double.
WENGERT_NOINLINE F64 erfinv(F64 x) {
  const F64 u = abs(x), l = log1p(-u * u), a = 4.3307 + 0.5 * l;
  F64 y = sqrt(sqrt(a * a - l * 6.8027) - a);
  for (int i = 0; i < 3; ++i) {
    const F64 e = where(u > 0.5, (1.0 - u) - erfc(y), erf(y) - u);
    const F64 step = e / (1.12837916709551257390 * exp(-y * y));
    y = y - step / (1.0 + step * y);
  }
  y = where(u < 1e-9, u * 0.88622692545275801365, y);
  return where(u < 1.0, copysign(y, x), where(u == 1.0, copysign(F64(infinity), x), not_a_number));
}
WENGERT_BY_DOUBLE(erfinv)
// The derivative of erfinv, sqrt(pi)/2 exp(y^2); where y^2 would magnify its rounding, exp(y^2) = erfcx(y) / (1 - |x|).
WENGERT_NOINLINE F64 erfinv_slope(F64 x) {
  const F64 u = abs(x), y = min(F64(30.0), abs(erfinv(x)));
  return 0.88622692545275801365 * where(u < 0.5, exp(y * y), erfcx(y, 0.0) / (1.0 - u));
}
WENGERT_BY_DOUBLE(erfinv_slope)

// ---- The normal distribution, gelu and silu -------------------------------------------------------------------

// exp(-u^2/2)
WENGERT_INLINE Scaled<double> bell(F64 u) { return in_two(exp_minus_half_square(u)); }
WENGERT_INLINE Scaled<float> bell(F32 u) {
  const F32 s = 0.5 * u * u;
  const FloatExp e = float_exp(-s);
  return {e.y, fma(-e.y, exact_fma(0.5 * u, u, -s), e.low), e.n};
}

// Phi(-u) exp(u^2/2) for u >= 0
WENGERT_INLINE Twice<double> normal_ratio(F64 u) {
  const F64 v = u * 0.7071067811865476;
  return {0.5 * erfcx(v, fma(u, -4.833646656726457e-17, exact_fma(u, 0.7071067811865476, -v))), 0.0};
}

// Float: v P(v), v = 1 / (u + 2); P by pieces around the sixteenths.
constexpr Eight normal_piece[6] = {
    {1.f, 0.453642577f, 0.518234491f, 0.591921628f, 0.672407985f, 0.756489456f, 0.840866745f, 0.922729254f},
    {1.19153821f, 0.95433414f, 1.11051786f, 1.24116576f, 1.32561779f, 1.35603213f, 1.33648527f, 1.27758157f},
    {-0.76615262f, 1.28197587f, 1.1813395f, 0.880270541f, 0.460762024f, 0.0321324803f, -0.330056041f, -0.595743775f},
    {-0.679959178f, 0.0202472787f, -1.10859084f, -2.02181053f, -2.34996963f, -2.15435314f, -1.68385875f, -1.15278924f},
    {1.70109141f, -4.15251827f, -4.44557476f, -2.56243348f, -0.131875157f, 1.49080729f, 2.10581899f, 2.0534606f},
    {-1.27920341f, -3.67828178f, 2.99510121f, 7.94458246f, 6.86850119f, 3.47225118f, 0.683984995f, -0.813836098f}};
WENGERT_INLINE Twice<float> normal_ratio(F32 u) {
  const F32 w = u + 2.0, v = 1.0 / w, shifted = fma(v, 16.0, magic<float>);
  const F32 p = piecewise(normal_piece, bits(shifted), fma(shifted - magic<float>, -0.0625, v)), y = v * p;
  // What rounding took from v, which P follows by a power of about 0.4, and from the product.
  const F32 v_low = fma(-v, u - (w - 2.0), exact_fma(-v, w, 1.0));
  return {y, fma(y, 1.4 * v_low, exact_fma(v, p, -y))};
}

constexpr double density = 0.3989422804014327;  // 1/sqrt(2 pi)
// exp(-x^2 / 2) / sqrt(2 pi) for any x: 2 ulp.
template <class T>
WENGERT_INLINE Vec<T> normal_pdf(Vec<T> x) {
  const auto e = bell(min(Vec<T>(sizeof(T) == 4 ? 15.9 : 40.0), abs(x)));
  return scale(fma(e.y, density, density * e.low), e.n);
}

// Phi(-u) for u >= 0
template <class T>
WENGERT_INLINE Scaled<T> normal_tail(Vec<T> u) {
  const auto e = bell(u);
  const auto r = normal_ratio(u);
  const Vec<T> y = fma(e.y, r.high, fma(e.low, r.high, e.y * r.low));
  if constexpr (sizeof(T) == 8)  // near 0 there is nothing to scale
    return {where(u < 0.7, 0.5 - 0.5 * erf_near(u * 0.7071067811865476), y), 0.0, e.n};
  return {y, 0.0, e.n};
}

template <class T>
WENGERT_INLINE Vec<T> general_normal_cdf(Vec<T> x) {
  const auto tail = normal_tail(min(Vec<T>(sizeof(T) == 4 ? 15.9 : 40.0), abs(x)));
  const Vec<T> y = scale(tail.y, tail.n);
  return where(x < 0.0, y, 1.0 - y);
}
template <class T>
WENGERT_INLINE Vec<T> general_gelu(Vec<T> x) {
  const Vec<T> u = min(Vec<T>(sizeof(T) == 4 ? 15.9 : 40.0), abs(x));
  const auto tail = normal_tail(u);
  const Vec<T> y = scale(u * tail.y, tail.n);  // u Phi(-u)
  return where(x < 0.0, -y, x - y);
}
// Phi(x) and x Phi(x), the lower tail to its last denormal: 3 ulp and 4.
WENGERT_INLINE F64 normal_cdf(F64 x) { return general_normal_cdf(x); }
WENGERT_INLINE F64 gelu(F64 x) { return general_gelu(x); }

// Float: Phi(-u) by pieces; far lanes, where it is less than 2e-8, apart.
WENGERT_NOINLINE F32 far_normal_cdf(F32 x) { return general_normal_cdf(x); }
WENGERT_NOINLINE F32 far_gelu(F32 x) { return general_gelu(x); }
WENGERT_INLINE F32 normal_cdf(F32 x) {
  const F32 u = min(F32(5.477), abs(x)), tail = normal_pieces(bell_piece(u, 0.25), u);
  const F32 y = where(x < 0.0, tail, 1.0 - tail);
  return unless(x < -5.477, y, [=] { return far_normal_cdf(x); });
}
WENGERT_INLINE F32 gelu(F32 x) {
  const F32 u = min(F32(5.477), abs(x));
  const F32 y = fma(-u, normal_pieces(bell_piece(u, 0.25), u), max(F32(0.0), x));
  return unless(x < -5.477, y, [=] { return far_gelu(x); });
}

// log(Phi(x)) and its derivatives. Below 0 by the ratio of tail and density, u = -x: the logarithm loses nothing, nor
// does the first derivative. The second is -1 + 1/u^2 - ... and the third 2/u^3 - ...: differences of first derivatives
// would lose all, so they have polynomials of their own, in (u - 2)/(u + 4) up to 8 and in 1/u^2 beyond. 3 ulp, the
// second derivative 4 and the third 20.
WENGERT_INLINE F64 any_normal_ratio(F64 u) {  // of any size, far out by the asymptotic series
  const F64 w = 1.0 / u;
  const F64 far = density * w * polynomial(w * w, 1.0, -1.0, 3.0, -15.0, 105.0, -945.0, 10395.0, -135135.0, 2027025.0);
  return where(u > 30.0, far, normal_ratio(min(F64(30.0), u)).high);
}
WENGERT_NOINLINE F64 log_ndtr(F64 x) {
  const F64 u = abs(x), v = min(F64(40.0), u);
  const auto tail = normal_tail(v);
  const F64 below = log(any_normal_ratio(u)) - 0.5 * u * u, above = log1p(-scale(tail.y, tail.n));
  return where(x < 0.0, below, above);
}
WENGERT_NOINLINE F64 log_ndtr_slope(F64 x) {
  const F64 u = abs(x), below = density / any_normal_ratio(u);
  return where(x < 0.0, below, normal_pdf(x) / normal_cdf(x));
}
WENGERT_NOINLINE F64 log_ndtr_slope2(F64 x) {
  const F64 u = max(F64(0.0), -x), z = 2.0 * (u - 2.0) / (u + 4.0), w = 1.0 / u, far_z = fma(128.0 * w, w, -1.0);
  const F64 near =
      polynomial(z, 0.8857208995859187, 0.17806758387469823, -0.08836518045941039, -0.0019366274790868585,
                 0.016136076433992206, -0.0021258205786760425, -0.0027280456991263754, 0.0006371943103133518,
                 0.00044532042009187386, -0.00013612379691519975, -7.137633488027254e-05, 2.5120923670471337e-05,
                 1.1262912502976493e-05, -4.237592745692413e-06, -1.7402885580144822e-06, 6.698766442823688e-07,
                 2.6061108857203145e-07, -9.90623810947048e-08, -3.685883041765936e-08, 1.2629602381332493e-08,
                 4.480117732946712e-09, -1.0105849896006202e-09, -3.4078642763607827e-10);
  const F64 far =
      polynomial(far_z, 0.9925316320272691, -0.0071447024603883205, 0.00030467530154742935, -1.7637072039148742e-05,
                 1.2415417037348128e-06, -1.0123052596599972e-07, 9.301098143991447e-09, -9.458639891443814e-10,
                 1.0497809380574027e-10, -1.2611468597194903e-11, 1.732991586029067e-12, -2.4156037081351093e-13);
  const F64 r = normal_pdf(x) / normal_cdf(x);
  return where(x > 0.0, where(r == 0.0, 0.0, -r * (x + r)), where(u < 8.0, -near, -far));
}
WENGERT_NOINLINE F64 log_ndtr_slope3(F64 x) {
  const F64 u = max(F64(0.0), -x), z = 2.0 * (u - 2.0) / (u + 4.0), w = 1.0 / u, far_z = fma(128.0 * w, w, -1.0);
  const F64 near =
      polynomial(z, 1.6026082548722769, 1.6146432614751387, -0.42887099244579163, -0.7045740618396437,
                 0.18536080791260412, 0.2310109929191981, -0.06445706296335185, -0.062394187425688086,
                 0.017564597074848955, 0.014884570203104927, -0.003968143141859199, -0.0032332573639412172,
                 0.0007743051773536225, 0.000646990099842409, -0.00013465731752708597, -0.00011989512063573414,
                 2.1597889059540292e-05, 2.0690573736806528e-05, -3.3407880046899553e-06, -3.342828519462582e-06,
                 5.194467764614496e-07, 4.980654437131931e-07, -7.993155685709048e-08, -6.207185081680638e-08,
                 1.054580342969585e-08, 4.673756654389564e-09, -8.256993158651169e-10);
  const F64 far =
      polynomial(far_z, 1.8290438298594147, -0.15599375439164595, 0.013545271325681374, -0.0012713387194592273,
                 0.0001295750783679585, -1.4286392279953755e-05, 1.6949636374482272e-06, -2.1523602823453776e-07,
                 2.910960457330297e-08, -4.173308823391887e-09, 6.286259882975084e-10, -9.984992510580552e-11,
                 1.8766551241213976e-11, -3.3291874653565657e-12);
  const F64 r = normal_pdf(x) / normal_cdf(x), k = x + r, v = 1.0 / (u + 1.0);
  return where(x > 0.0, where(r == 0.0, 0.0, r * fma(k, k + r, -1.0)),
               where(u < 8.0, near * v * v * v, far * w * w * w));
}
WENGERT_BY_DOUBLE(log_ndtr)
WENGERT_BY_DOUBLE(log_ndtr_slope)
WENGERT_BY_DOUBLE(log_ndtr_slope2)
WENGERT_BY_DOUBLE(log_ndtr_slope3)

// exp(-u)
WENGERT_INLINE Scaled<double> decay(F64 u) { return in_two(exponential(-u)); }
WENGERT_INLINE Scaled<float> decay(F32 u) {
  const FloatExp e = float_exp(-u);
  return {e.y, e.low, e.n};
}

// u sigmoid(-v), v = -log(e) >= 0, on its way to x sigmoid(v sign(x)) with u = |x|
template <class T>
WENGERT_INLINE Vec<T> times_sigmoid(Vec<T> x, Vec<T> u, Vec<T> e, Vec<T> n) {
  const Vec<T> w = scale(u * (e / (1.0 + scale(e, n))), n);
  return where(x < 0.0, -w, x - w);
}
template <class T>
WENGERT_INLINE Vec<T> general_silu(Vec<T> x) {
  const Vec<T> u = min(Vec<T>(sizeof(T) == 4 ? 115.0 : 760.0), abs(x));
  const auto e = decay(u);
  return times_sigmoid(x, u, e.y, e.n);
}
// x sigmoid(x) for any x: 4 ulp.
WENGERT_INLINE F64 silu(F64 x) { return general_silu(x); }
WENGERT_NOINLINE F32 far_silu(F32 x) { return general_silu(x); }
WENGERT_INLINE F32 silu(F32 x) {
  const F32 u = min(F32(17.44), abs(x));
  const F32 y = fma(-u, sigmoid_pieces(decay_piece(u), u), max(F32(0.0), x));
  return unless(x < -17.44, y, [=] { return far_silu(x); });
}

// exp(-2 sqrt(2/pi) (u + 0.044715 u^3)) for u >= 0, the argument in two parts
template <class T>
WENGERT_INLINE Exponential<T> gelu_tanh_decay(Vec<T> u) {
  constexpr bool single = sizeof(T) == 4;
  constexpr double c = 1.5957691216057308, c_low = single ? -4.534068042105272e-08 : -9.96930880911092e-17;
  constexpr double d = 0.07135481627260025, d_low = single ? 2.3988323959931355e-09 : -6.175149918155315e-19;
  const Vec<T> s = u * u, s_low = exact_fma(u, u, -s), p = s * d,
               p_low = fma(s, d_low, fma(s_low, d, exact_fma(s, d, -p)));
  const auto q = exact_sum(Vec<T>(c), p);
  const Vec<T> v = u * q.high, low = fma(u, q.low + (p_low + c_low), exact_fma(u, q.high, -v));
  return exponential(-v, -low);
}
template <class T>
WENGERT_INLINE Vec<T> general_gelu_tanh(Vec<T> x) {
  const Vec<T> u = min(Vec<T>(sizeof(T) == 4 ? 11.0 : 22.0), abs(x));
  const auto e = gelu_tanh_decay(u);
  return times_sigmoid(x, u, 1.0 + e.p, e.n);
}
// sigmoid(sqrt(8 / pi) (x + 0.044715 x^3))
WENGERT_NOINLINE F64 gelu_tanh_gate(F64 x) {
  const auto e = gelu_tanh_decay(min(F64(22.0), abs(x)));
  const F64 y = scale((1.0 + e.p) / (1.0 + scale(1.0 + e.p, e.n)), e.n);
  return where(x < 0.0, y, 1.0 - y);
}
// gate(x) gate(-x)
WENGERT_NOINLINE F64 gelu_tanh_gate_slope(F64 x) {
  const auto e = gelu_tanh_decay(min(F64(22.0), abs(x)));
  const F64 y = 1.0 + e.p, d = 1.0 + scale(y, e.n);
  return scale(y / (d * d), e.n);
}
WENGERT_BY_DOUBLE(gelu_tanh_gate)
WENGERT_BY_DOUBLE(gelu_tanh_gate_slope)
// gelu by its tanh approximation, for any x: 4 ulp.
WENGERT_INLINE F64 gelu_tanh(F64 x) { return general_gelu_tanh(x); }
WENGERT_NOINLINE F32 far_gelu_tanh(F32 x) { return general_gelu_tanh(x); }
WENGERT_INLINE F32 gelu_tanh(F32 x) {
  const F32 u = min(F32(5.1), abs(x));
  const F32 y = fma(-u, gelu_tanh_pieces(bell_piece(u, 0.2875), u), max(F32(0.0), x));
  return unless(x < -5.1, y, [=] { return far_gelu_tanh(x); });
}

// ---- Slopes ---------------------------------------------------------------------------------------------------
// Derivatives for which the formula on the page loses digits, in the tails or at a root.

// For any x, at its root too: 4 ulp.
WENGERT_INLINE F64 silu_slope(F64 x) {
  constexpr double root = -1.2784645427610737, root_low = -1.0946994183093437e-16;
  const F64 u = max(F64(-760.0), min(F64(760.0), x));
  const auto e = decay(abs(u));
  const F64 z = scale(e.y, e.n), d = 1.0 + z;
  const auto negative = x < 0.0;
  const F64 top = where(negative, e.y * ((1.0 + u) + z), fma(z, 1.0 + u, 1.0)) / (d * d);
  const F64 y = fma(top, where(negative, e.low, 0.0) - 2.0 * ((1.0 - d) + z), top);  // what was rounded off
  const F64 r = (x - root) - root_low;
  const F64 near = estrin(r, 0.2178117057198001, 0.1466487969969469, 0.018874814223782396, -0.015222655223190867,
                          -0.006606589138376942, 0.0001266274104453171, 0.0007985218836904505, 0.00018570722363851303,
                          -4.090542349314066e-05, -2.9733012853406166e-05, -2.940795790856251e-06,
                          2.3393810463611584e-06, 8.392448760752361e-07);
  return where(abs(r) < 0.25, r * near, where(negative, scale(y, e.n), y));
}
// For any x, at its root too: 4 ulp.
WENGERT_INLINE F64 gelu_slope(F64 x) {
  constexpr double root = -0.7517915246935645, root_low = 1.4956759177009883e-17;
  const F64 u = min(F64(40.0), abs(x));
  const auto e = bell(u);
  const auto q = normal_ratio(u);
  const F64 d = fma(-u, density, q.high) + fma(-u, -2.49232720227773e-17, q.low);
  const F64 y = scale(fma(e.y, d, e.low * d), e.n);
  const F64 r = (x - root) - root_low;
  const F64 near = estrin(r, 0.4314939923140469, 0.3882849829905519, -0.01819967639867138, -0.11400823329718505,
                          -0.014771522148162438, 0.019421679833497043, 0.004539228370679523, -0.0022395378106743616,
                          -0.0007448264310517054, 0.00018633288179929566, 8.614949407100257e-05,
                          -1.1126501847432535e-05, -7.628033172353754e-06);
  return where(abs(r) < 0.25, r * near, where(x < 0.0, y, 1.0 - y));
}

// The derivative gate(x) + x h(x) gate(x) gate(-x), h that of the inner function: 4 ulp, but near its root.
WENGERT_INLINE F64 gelu_tanh_slope(F64 x) {
  const F64 u = min(F64(22.0), abs(x));
  const auto e = gelu_tanh_decay(u);
  const F64 y = 1.0 + e.p, z = scale(y, e.n), d = 1.0 + z;
  const F64 steep = u * fma(u * u, 0.2140644488178007463, 1.59576912160573071176);
  const F64 tail = scale(y * ((1.0 - steep) + z) / (d * d), e.n);
  return where(x < 0.0, tail, fma(z, steep, d) / (d * d));
}

// mish and its derivative, x tanh(softplus(x)): with z = exp(-|x|), tanh(softplus(x)) is z (2 + z) / (2 + z (2 + z))
// for x < 0 and (1 + 2 z) / (1 + 2 z (1 + z)) beyond; 3 ulp.
WENGERT_NOINLINE F64 mish(F64 x) {
  const F64 u = min(F64(800.0), abs(x));
  const auto e = decay(u);
  const F64 z = scale(e.y, e.n);
  const F64 left = scale(e.y * (-u * (2.0 + z)) / fma(z, 2.0 + z, 2.0), e.n);
  return where(x < 0.0, left, x * (fma(2.0, z, 1.0) / fma(z + z, 1.0 + z, 1.0)));
}
WENGERT_BY_DOUBLE(mish)
WENGERT_NOINLINE F64 mish_slope(F64 x) {
  const F64 u = min(F64(800.0), abs(x));
  const auto e = decay(u);
  const F64 z = scale(e.y, e.n), v = 1.0 - u;
  const F64 d = fma(z, 2.0 + z, 2.0), far = fma(z + z, 1.0 + z, 1.0);
  const F64 left = fma(z, fma(z, 4.0 + z, fma(-4.0, u, 6.0)), 4.0 * v) / (d * d);
  const F64 right = fma(z, fma(z, fma(z, 4.0 * (u + 1.0), fma(4.0, u, 6.0)), 4.0), 1.0) / (far * far);
  return where(x < 0.0, scale(e.y * left, e.n), right);
}
WENGERT_BY_DOUBLE(mish_slope)

// Float: the slope at -u by pieces, and what is missing from 1 at u. Far lanes apart: there the logistic slopes are the
// first terms of their series, and the normal one cancels nothing.
WENGERT_NOINLINE F32 far_silu_slope(F32 x) {
  const F32 u = min(F32(115.0), abs(x));
  const auto e = decay(u);
  const F32 y = scale(e.y * (1.0 - u), e.n);
  return where(x < 0.0, y, 1.0 - y);
}
WENGERT_NOINLINE F32 far_gelu_slope(F32 x) {
  const F32 u = min(F32(15.9), abs(x));
  const auto e = bell(u);
  const auto q = normal_ratio(u);
  const F32 d = fma(-u, density, q.high) + fma(-u, -1.1335170e-08, q.low);
  return scale(fma(e.y, d, e.low * d), e.n);
}
WENGERT_NOINLINE F32 far_gelu_tanh_slope(F32 x) {
  const F32 u = min(F32(11.0), abs(x));
  const auto e = gelu_tanh_decay(u);
  const F32 steep = u * fma(u * u, 0.2140644488178007463, 1.59576912160573071176);
  return scale((1.0 + e.p) * (1.0 - steep), e.n);
}
WENGERT_INLINE F32 sigmoid_slope(F32 x) {
  const F32 u = min(F32(17.44), abs(x)), y = sigmoid_slope_pieces(decay_piece(u), u);
  return unless(abs(x) > 17.44, y, [=] { return far_sigmoid(-abs(x), 2.0); });
}
WENGERT_INLINE F32 logistic_pdf(F32 x) { return sigmoid_slope(x); }
WENGERT_INLINE F32 silu_slope(F32 x) {
  const F32 u = min(F32(17.44), abs(x));
  const F32 tail = silu_slope_pieces(decay_piece(u), u), y = where(x < 0.0, tail, 1.0 - tail);
  return unless(abs(x) > 17.44, y, [=] { return far_silu_slope(x); });
}
WENGERT_INLINE F32 gelu_slope(F32 x) {
  const F32 u = min(F32(5.94), abs(x)), tail = gelu_slope_pieces(bell_piece(u, 0.2125), u);
  const F32 y = where(x < 0.0, tail, 1.0 - tail);
  return unless(x < -5.94, y, [=] { return far_gelu_slope(x); });
}
WENGERT_INLINE F32 gelu_tanh_slope(F32 x) {
  const F32 u = min(F32(5.477), abs(x)), tail = gelu_tanh_slope_pieces(bell_piece(u, 0.25), u);
  const F32 y = where(x < 0.0, tail, 1.0 - tail);
  return unless(x < -5.477, y, [=] { return far_gelu_tanh_slope(x); });
}

}  // namespace
}  // namespace wengert::kernels
