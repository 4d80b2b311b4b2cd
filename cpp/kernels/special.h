// The error function, its relatives, and the normal distribution, on lanes.
#pragma once
#include "kernels/math.h"

namespace wengert::kernels {
namespace {

// y 2^n: a value whose scaling is put off, so that a further factor meets no denormals.
template <class T>
struct Scaled {
  Vec<T> y, n;
};

// exp(-square) with the square in two parts: what rounding takes from it would be magnified by its size. low may be
// infinite or NaN only where the square is out of range.
template <class T>
WENGERT_INLINE Exponential<T> exp_minus(Vec<T> square, Vec<T> low) {
  constexpr double limit = sizeof(T) == 4 ? 115.0 : 800.0;
  return exponential(max(Vec<T>(-limit), -square), where(square < limit, -low, 0.0));
}
template <class T>
WENGERT_INLINE Vec<T> exp_minus_square(Vec<T> x) {
  const Vec<T> s = x * x;
  const auto e = exp_minus(s, exact_fma(x, x, -s));
  return scale(1.0 + e.p, e.n);
}
template <class T>
WENGERT_INLINE Exponential<T> exp_minus_half_square(Vec<T> x) {
  const Vec<T> s = 0.5 * x * x;
  return exp_minus(s, exact_fma(0.5 * x, x, -s));
}

// e erfcx(u + low), u >= 0, where erfcx(u) = exp(u^2) erfc(u).
WENGERT_INLINE Scaled<double> times_erfcx(Exponential<double> e, F64 u, F64 low) {
  const F64 t = (u - 4.0) / (u + 4.0);
  const F64 q = polynomial(t, -0.13962111684056322, 0.015379652102604885, 0.06809705425476806, -0.10103906603549308,
                           0.09373283499612733, -0.06633036582980836, 0.037167515566305084, -0.01619773386058287,
                           0.005031969787601262, -0.0007577745826969858, -0.00019925605783361903,
                           0.00015062694821628544, -2.4399931005598733e-05, -1.1235624221468538e-05,
                           5.707812757876833e-06, 3.1564984973940797e-07, -8.175300607286303e-07, 5.407592445946397e-08,
                           9.893309793686501e-08, -8.19761368285759e-09, -7.334458233998431e-09, 3.850047390004773e-10);
  const F64 c = fma(t, q, 1.2329951186255526), c_low = fma(t, q, 1.2329951186255526 - c);
  const F64 a = 1.0 + e.p, a_low = ((1.0 - a) + e.p) + e.p_low;
  const F64 top = a * c, top_low = exact_fma(a, c, -top) + fma(a, c_low, a_low * c);
  auto bottom = exact_sum(F64(1.0), u + u);
  bottom.low = bottom.low + (low + low);
  return {quotient({top, top_low}, bottom), e.n};
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
  const auto y = times_erfcx(exp_minus(s, exact_fma(u, u, -s)), u, F64(0.0));
  return scale(y.y, y.n);
}
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

constexpr float erf_piece[6][16] = {
    {0.f, 0.276326388f, 0.520499885f, 0.711155653f, 0.842700779f, 0.92290014f, 0.966105163f, 0.986671686f, 0.995322287f,
     0.998537302f, 0.999593019f, 0.999899387f, 0.999977887f, 0.999995708f, 0.999999285f, 0.999999881f},
    {1.12837923f, 1.06001425f, 0.87878263f, 0.642931104f, 0.415107518f, 0.236521125f, 0.118930288f, 0.0527749918f,
     0.020666983f, 0.00714231841f, 0.00217828457f, 0.000586277689f, 0.00013925333f, 2.91891483e-05f, 5.39946905e-06f,
     8.81213964e-07f},
    {2.25561806e-07f, -0.264998078f, -0.439384431f, -0.482194602f, -0.415108114f, -0.295654327f, -0.178398103f,
     -0.0923574865f, -0.0413340367f, -0.0160698202f, -0.00544532435f, -0.00161203276f, -0.000417656585f,
     -9.4827592e-05f, -1.88871199e-05f, -3.30211674e-06f},
    {-0.376139611f, -0.309191287f, -0.146478474f, 0.0267796572f, 0.138365149f, 0.167535558f, 0.138753742f,
     0.0901591256f, 0.0482239202f, 0.0217247494f, 0.00834993273f, 0.00276020053f, 0.000788986392f, 0.000195759814f,
     4.22783705e-05f, 8.02204886e-06f},
    {0.000259149587f, 0.126038432f, 0.181908026f, 0.150056228f, 0.0692905337f, -0.00566049106f, -0.0441451333f,
     -0.0478910394f, -0.0344337337f, -0.0191512741f, -0.00868810341f, -0.00329714315f, -0.00106181949f,
     -0.000292804558f, -6.95617273e-05f, -1.43186771e-05f},
    {0.111082017f, 0.0808318704f, 0.00816174876f, -0.0524740964f, -0.0687304959f, -0.0471093506f, -0.0150327645f,
     0.00643106969f, 0.0129844639f, 0.0106365876f, 0.00613423018f, 0.00277603045f, 0.00102881016f, 0.000319148472f,
     8.39527929e-05f, 1.61101707e-05f}};
WENGERT_INLINE F32 erf(F32 x) {
  // Sixteen pieces around the quarters; from 3.93 on the nearest float is 1.
  const F32 u = min(F32(3.93), abs(x)), shifted = min(F32(magic<float> + 15), fma(u, 4.0, magic<float>));
  const F32 y = piecewise(erf_piece, bits(shifted), fma(shifted - magic<float>, -0.25, u));
  return where(x == x, copysign(y, x), x);
}

// Newton's method on erf, and in the tails on erfc, from a guess good to three digits.
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

// ---- The normal distribution, gelu and silu -------------------------------------------------------------------

template <class T>
WENGERT_INLINE Vec<T> normal_pdf(Vec<T> x) {
  constexpr double root = 0.3989422804014327,
                   root_low = sizeof(T) == 4 ? 0.3989422804014327 - 0.39894229173660278 : -2.49232720227773e-17;
  const auto e = exp_minus_half_square(x);
  const Vec<T> a = 1.0 + e.p;
  return scale(fma(a, root, a * root_low), e.n);
}

// Phi(-u) for u >= 0
WENGERT_INLINE Scaled<double> normal_tail(F64 u) {
  const F64 v = u * 0.7071067811865476, low = fma(u, -4.833646656726457e-17, exact_fma(u, 0.7071067811865476, -v));
  const auto y = times_erfcx(exp_minus_half_square(u), v, low);
  return {0.5 * y.y, y.n};
}
constexpr float normal_centre[16] = {2.5f,     3.5f,     5.f,     7.f,     10.f,   14.f,   0.f,   0.109375f,
                                     0.15625f, 0.21875f, 0.3125f, 0.4375f, 0.625f, 0.875f, 1.25f, 1.75f};
constexpr float normal_piece[8][16] = {
    {0.14133133f, 0.106345154f, 0.0769193023f, 0.0558934808f, 0.0395066924f, 0.0283526611f, 0.5f, 0.459190965f,
     0.443296432f, 0.423433125f, 0.396211833f, 0.364104867f, 0.323356181f, 0.279770583f, 0.230760321f, 0.185231671f},
    {-0.045613952f, -0.0267342422f, -0.0143457558f, -0.00768790348f, -0.0038753394f, -0.00200503296f, -0.398942292f,
     -0.348718256f, -0.329677224f, -0.306316286f, -0.27512607f, -0.239646405f, -0.196844682f, -0.154143035f,
     -0.110491879f, -0.0747868642f},
    {0.013648239f, 0.00638765423f, 0.00259527774f, 0.00103908079f, 0.000376654643f, 0.000141099386f, 0.25f,
     0.210524946f, 0.195892185f, 0.178213224f, 0.155117467f, 0.129629791f, 0.100164123f, 0.0724477097f, 0.0463227406f,
     0.0271773245f},
    {-0.00383112952f, -0.0014591536f, -0.000456480338f, -0.000138115458f, -3.62797691e-05f, -9.8817336e-06f,
     -0.132980749f, -0.108564034f, -0.0996896848f, -0.0891107097f, -0.0755506232f, -0.0609777905f, -0.0447473675f,
     -0.0302504282f, -0.0175294857f, -0.00907551683f},
    {0.00101734151f, 0.000320111809f, 7.814743e-05f, 1.80621737e-05f, 3.45835588e-06f, 6.88450427e-07f, 0.0624997653f,
     0.0496626906f, 0.0450789146f, 0.0396800637f, 0.0328769647f, 0.0257379934f, 0.0180491842f, 0.0114946086f,
     0.00610248279f, 0.0028237165f},
    {-0.000257389125f, -6.77171629e-05f, -1.3069759e-05f, -2.32718253e-06f, -3.27442507e-07f, -4.77628213e-08f,
     -0.0265908204f, -0.0206264351f, -0.0185292214f, -0.0160861406f, -0.0130553134f, -0.00994348247f, -0.00669331197f,
     -0.00403851969f, -0.00198019133f, -0.00082676654f},
    {6.39926729e-05f, 1.41216678e-05f, 2.24775977e-06f, 3.04870554e-07f, 3.30047136e-08f, 3.42710171e-09f,
     0.0103487987f, 0.00790157542f, 0.0070322426f, 0.00602822891f, 0.00480371621f, 0.00356759154f, 0.00231819553f,
     0.00133060606f, 0.000610635325f, 0.000231422557f},
    {-1.48242334e-05f, -2.79345568e-06f, -3.57748803e-07f, -3.80925727e-08f, -3.06559089e-09f, -2.35378855e-10f,
     -0.0033439938f, -0.00282325852f, -0.00249040942f, -0.00210994249f, -0.00165163202f, -0.00119831646f,
     -0.000751362997f, -0.000411871559f, -0.00017619328f, -6.11292198e-05f}};
WENGERT_INLINE Scaled<float> normal_tail(F32 u) {  // exp(-u^2/2) R(u); R by two pieces an octave
  const auto i = bits(max(u, F32(0.0625))) >> 22;
  const auto e = exp_minus_half_square(u);
  return {(1.0 + e.p) * piecewise(normal_piece, i, u - lookup(normal_centre, i)), e.n};
}

template <class T>
WENGERT_INLINE Vec<T> normal_cdf(Vec<T> x) {
  const auto tail = normal_tail(min(Vec<T>(sizeof(T) == 4 ? 15.9 : 40.0), abs(x)));
  const Vec<T> y = scale(tail.y, tail.n);
  return where(x < 0.0, y, 1.0 - y);
}
template <class T>
WENGERT_INLINE Vec<T> gelu(Vec<T> x) {
  const Vec<T> u = min(Vec<T>(sizeof(T) == 4 ? 15.9 : 40.0), abs(x));
  const auto tail = normal_tail(u);
  const Vec<T> y = scale(u * tail.y, tail.n);  // u Phi(-u)
  return where(x < 0.0, -y, x - y);
}
template <class T>
WENGERT_INLINE Vec<T> silu(Vec<T> x) {
  const Vec<T> u = min(Vec<T>(sizeof(T) == 4 ? 115.0 : 760.0), abs(x));
  const auto e = exponential(-u);
  const Vec<T> a = 1.0 + e.p;
  const auto negative = x < 0.0;
  const Vec<T> y = where(negative, -u * a, x) / (1.0 + scale(a, e.n));
  return where(negative, scale(y, e.n), y);
}

}  // namespace
}  // namespace wengert::kernels
