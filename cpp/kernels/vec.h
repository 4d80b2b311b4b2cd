// Vec<T>: as many lanes of float or double as one register of the target holds. The one file that knows ISAs;
// everything else is written against this class and compiled once per ISA.
//
// Lane arithmetic is IEEE, rounded once, and nothing here contracts or reassociates: `fma` is written where it is
// meant. So the same source gives the same bits on AVX2, AVX-512 and NEON. (Baseline x86-64 has no fma: there it is
// a product and a sum, two roundings.) All is in an anonymous namespace: the same names compiled for another ISA
// must never be merged by the linker.
#pragma once
#include <cstdint>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#else
#error "kernels: only x86-64 and AArch64"
#endif

#define WENGERT_INLINE inline __attribute__((always_inline))

namespace wengert::kernels {
namespace {

#if defined(__AVX512F__)
constexpr int vector_bytes = 64;
#elif defined(__AVX2__)
constexpr int vector_bytes = 32;
#else
constexpr int vector_bytes = 16;
#endif
#if defined(__FMA__) || defined(__aarch64__)
constexpr bool has_fma = true;
#else
constexpr bool has_fma = false;
#endif

// What a float type is made of; the integer type has the same width.
template <class T>
struct Float;
template <>
struct Float<float> {
  using Int = std::int32_t;
  using Unsigned = std::uint32_t;
  static constexpr int mantissa = 23, bias = 127;
};
template <>
struct Float<double> {
  using Int = std::int64_t;
  using Unsigned = std::uint64_t;
  static constexpr int mantissa = 52, bias = 1023;
};

// The instructions that vector extensions do not spell. V is the compiler's vector type, M its mask.
template <class T>
struct Native;

#if defined(__AVX512F__)
#define WENGERT_NATIVE(T, REG, MASK, S, SI)                                                         \
  template <>                                                                                       \
  struct Native<T> {                                                                                \
    using V = REG;                                                                                  \
    using M = MASK;                                                                                 \
    static constexpr M every = static_cast<M>(-1); /* GCC 12 warns about its own unmasked forms */  \
    static WENGERT_INLINE M first(int n) { return static_cast<M>((1u << n) - 1u); }                 \
    static WENGERT_INLINE V set1(T x) { return _mm512_set1_##S(x); }                                \
    static WENGERT_INLINE V load(const T* p) { return _mm512_loadu_##S(p); }                        \
    static WENGERT_INLINE void store(T* p, V v) { _mm512_storeu_##S(p, v); }                        \
    static WENGERT_INLINE V load(const T* p, int n) { return _mm512_maskz_loadu_##S(first(n), p); } \
    static WENGERT_INLINE void store(T* p, V v, int n) { _mm512_mask_storeu_##S(p, first(n), v); }  \
    static WENGERT_INLINE V fma(V a, V b, V c) { return _mm512_fmadd_##S(a, b, c); }                \
    static WENGERT_INLINE V sqrt(V a) { return _mm512_maskz_sqrt_##S(every, a); }                   \
    static WENGERT_INLINE V min(V a, V b) { return _mm512_maskz_min_##S(every, a, b); }             \
    static WENGERT_INLINE V max(V a, V b) { return _mm512_maskz_max_##S(every, a, b); }             \
    static WENGERT_INLINE V floor(V a) {                                                            \
      return _mm512_maskz_roundscale_##S(every, a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);      \
    }                                                                                               \
    static WENGERT_INLINE V ceil(V a) {                                                             \
      return _mm512_maskz_roundscale_##S(every, a, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC);      \
    }                                                                                               \
    static WENGERT_INLINE V trunc(V a) {                                                            \
      return _mm512_maskz_roundscale_##S(every, a, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);         \
    }                                                                                               \
    static WENGERT_INLINE V round(V a) {                                                            \
      return _mm512_maskz_roundscale_##S(every, a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);  \
    }                                                                                               \
    static WENGERT_INLINE M lt(V a, V b) { return _mm512_cmp_##S##_mask(a, b, _CMP_LT_OQ); }        \
    static WENGERT_INLINE M le(V a, V b) { return _mm512_cmp_##S##_mask(a, b, _CMP_LE_OQ); }        \
    static WENGERT_INLINE M eq(V a, V b) { return _mm512_cmp_##S##_mask(a, b, _CMP_EQ_OQ); }        \
    static WENGERT_INLINE M ne(V a, V b) { return _mm512_cmp_##S##_mask(a, b, _CMP_NEQ_UQ); }       \
    static WENGERT_INLINE M both(M a, M b) { return static_cast<M>(a & b); }                        \
    static WENGERT_INLINE M either(M a, M b) { return static_cast<M>(a | b); }                      \
    static WENGERT_INLINE M no(M a) { return static_cast<M>(~a); }                                  \
    static WENGERT_INLINE V where(M m, V a, V b) { return _mm512_mask_blend_##S(m, b, a); }         \
    static WENGERT_INLINE bool any(M m) { return m != 0; }                                          \
    static WENGERT_INLINE bool all(M m) { return m == every; }                                      \
    template <class I>                                                                              \
    static WENGERT_INLINE M mask(I bits) {                                                          \
      return _mm512_mov##SI##_mask(reinterpret_cast<__m512i>(bits));                                \
    }                                                                                               \
  };
WENGERT_NATIVE(float, __m512, __mmask16, ps, epi32)
WENGERT_NATIVE(double, __m512d, __mmask8, pd, epi64)
#undef WENGERT_NATIVE

#else  // masks are integer vectors, lanes all ones or all zeros

// What the other targets share.
template <class T>
struct Lanewise {
  typedef T V __attribute__((vector_size(vector_bytes)));
  typedef typename Float<T>::Int M __attribute__((vector_size(vector_bytes)));
  static WENGERT_INLINE M lt(V a, V b) { return reinterpret_cast<M>(a < b); }
  static WENGERT_INLINE M le(V a, V b) { return reinterpret_cast<M>(a <= b); }
  static WENGERT_INLINE M eq(V a, V b) { return reinterpret_cast<M>(a == b); }
  static WENGERT_INLINE M ne(V a, V b) { return reinterpret_cast<M>(a != b); }
  static WENGERT_INLINE M both(M a, M b) { return a & b; }
  static WENGERT_INLINE M either(M a, M b) { return a | b; }
  static WENGERT_INLINE M no(M a) { return ~a; }
  static WENGERT_INLINE M mask(M bits) { return bits; }
  static WENGERT_INLINE V load(const T* p) {
    V v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
  }
  static WENGERT_INLINE void store(T* p, V v) { __builtin_memcpy(p, &v, sizeof v); }
};

#if defined(__AVX2__)
#define WENGERT_NATIVE(T, S)                                                                                          \
  template <>                                                                                                         \
  struct Native<T> : Lanewise<T> {                                                                                    \
    using Lanewise<T>::load;                                                                                          \
    using Lanewise<T>::store;                                                                                         \
    static WENGERT_INLINE __m256i first(int n) {                                                                      \
      constexpr Float<T>::Int lane[8] = {0, 1, 2, 3, 4, 5, 6, 7};                                                     \
      M m;                                                                                                            \
      __builtin_memcpy(&m, lane, sizeof m);                                                                           \
      return reinterpret_cast<__m256i>(m < n);                                                                        \
    }                                                                                                                 \
    static WENGERT_INLINE V set1(T x) { return _mm256_set1_##S(x); }                                                  \
    static WENGERT_INLINE V load(const T* p, int n) { return _mm256_maskload_##S(p, first(n)); }                      \
    static WENGERT_INLINE void store(T* p, V v, int n) { _mm256_maskstore_##S(p, first(n), v); }                      \
    static WENGERT_INLINE V fma(V a, V b, V c) { return _mm256_fmadd_##S(a, b, c); }                                  \
    static WENGERT_INLINE V sqrt(V a) { return _mm256_sqrt_##S(a); }                                                  \
    static WENGERT_INLINE V min(V a, V b) { return _mm256_min_##S(a, b); }                                            \
    static WENGERT_INLINE V max(V a, V b) { return _mm256_max_##S(a, b); }                                            \
    static WENGERT_INLINE V floor(V a) { return _mm256_floor_##S(a); }                                                \
    static WENGERT_INLINE V ceil(V a) { return _mm256_ceil_##S(a); }                                                  \
    static WENGERT_INLINE V trunc(V a) { return _mm256_round_##S(a, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC); }        \
    static WENGERT_INLINE V round(V a) { return _mm256_round_##S(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); } \
    static WENGERT_INLINE V where(M m, V a, V b) { return _mm256_blendv_##S(b, a, reinterpret_cast<V>(m)); }          \
    static WENGERT_INLINE bool any(M m) { return _mm256_movemask_##S(reinterpret_cast<V>(m)) != 0; }                  \
    static WENGERT_INLINE bool all(M m) {                                                                             \
      return _mm256_movemask_##S(reinterpret_cast<V>(m)) == (1 << (32 / sizeof(T))) - 1;                              \
    }                                                                                                                 \
  };
WENGERT_NATIVE(float, ps)
WENGERT_NATIVE(double, pd)
#undef WENGERT_NATIVE

#else  // 16-byte registers: SSE2 or NEON

// The last few elements of an array go through a register's worth of stack.
template <class T>
struct Small : Lanewise<T> {
  using Base = Lanewise<T>;
  using Base::load;
  using Base::store;
  using typename Base::M;
  using typename Base::V;
  static WENGERT_INLINE V load(const T* p, int n) {
    T buffer[sizeof(V) / sizeof(T)] = {};
    for (int i = 0; i < n; ++i) buffer[i] = p[i];
    return load(buffer);
  }
  static WENGERT_INLINE void store(T* p, V v, int n) {
    T buffer[sizeof(V) / sizeof(T)];
    store(buffer, v);
    for (int i = 0; i < n; ++i) p[i] = buffer[i];
  }
  static WENGERT_INLINE V where(M m, V a, V b) {
    return reinterpret_cast<V>((reinterpret_cast<M>(a) & m) | (reinterpret_cast<M>(b) & ~m));
  }
};

#if defined(__x86_64__)
#define WENGERT_NATIVE(T, S)                                                                                 \
  template <>                                                                                                \
  struct Native<T> : Small<T> {                                                                              \
    static WENGERT_INLINE V set1(T x) { return _mm_set1_##S(x); }                                            \
    static WENGERT_INLINE V fma(V a, V b, V c) { return a * b + c; }                                         \
    static WENGERT_INLINE V sqrt(V a) { return _mm_sqrt_##S(a); }                                            \
    static WENGERT_INLINE V min(V a, V b) { return _mm_min_##S(a, b); }                                      \
    static WENGERT_INLINE V max(V a, V b) { return _mm_max_##S(a, b); }                                      \
    static WENGERT_INLINE bool any(M m) { return _mm_movemask_##S(reinterpret_cast<V>(m)) != 0; }            \
    static WENGERT_INLINE bool all(M m) {                                                                    \
      return _mm_movemask_##S(reinterpret_cast<V>(m)) == (1 << (16 / sizeof(T))) - 1;                        \
    }                                                                                                        \
    /* SSE2 has no rounding instruction: above 2^mantissa all is whole, below, adding it rounds. */          \
    static WENGERT_INLINE V signed_like(V a, V s) {                                                          \
      const V sign = set1(T(-0.0));                                                                          \
      return _mm_or_##S(_mm_andnot_##S(sign, a), _mm_and_##S(sign, s));                                      \
    }                                                                                                        \
    static WENGERT_INLINE V round(V a) {                                                                     \
      const V big = set1(T(std::int64_t{1} << Float<T>::mantissa)), size = _mm_andnot_##S(set1(T(-0.0)), a); \
      return where(lt(size, big), signed_like((size + big) - big, a), a);                                    \
    }                                                                                                        \
    static WENGERT_INLINE V floor(V a) {                                                                     \
      const V r = round(a);                                                                                  \
      return where(lt(a, r), r - set1(1), r);                                                                \
    }                                                                                                        \
    static WENGERT_INLINE V ceil(V a) {                                                                      \
      const V r = round(a);                                                                                  \
      return signed_like(where(lt(r, a), r + set1(1), r), a);                                                \
    }                                                                                                        \
    static WENGERT_INLINE V trunc(V a) { return signed_like(floor(_mm_andnot_##S(set1(T(-0.0)), a)), a); }   \
  };
WENGERT_NATIVE(float, ps)
WENGERT_NATIVE(double, pd)
#undef WENGERT_NATIVE

#else
#define WENGERT_NATIVE(T, S)                                                                         \
  template <>                                                                                        \
  struct Native<T> : Small<T> {                                                                      \
    static WENGERT_INLINE V set1(T x) { return vdupq_n_##S(x); }                                     \
    static WENGERT_INLINE V fma(V a, V b, V c) { return vfmaq_##S(c, a, b); }                        \
    static WENGERT_INLINE V sqrt(V a) { return vsqrtq_##S(a); }                                      \
    /* as x86 does: the second operand if either is NaN */                                           \
    static WENGERT_INLINE V min(V a, V b) { return where(lt(a, b), a, b); }                          \
    static WENGERT_INLINE V max(V a, V b) { return where(lt(b, a), a, b); }                          \
    static WENGERT_INLINE V floor(V a) { return vrndmq_##S(a); }                                     \
    static WENGERT_INLINE V ceil(V a) { return vrndpq_##S(a); }                                      \
    static WENGERT_INLINE V trunc(V a) { return vrndq_##S(a); }                                      \
    static WENGERT_INLINE V round(V a) { return vrndnq_##S(a); }                                     \
    static WENGERT_INLINE bool any(M m) { return vmaxvq_u32(reinterpret_cast<uint32x4_t>(m)) != 0; } \
    static WENGERT_INLINE bool all(M m) { return vminvq_u32(reinterpret_cast<uint32x4_t>(m)) != 0; } \
  };
WENGERT_NATIVE(float, f32)
WENGERT_NATIVE(double, f64)
#undef WENGERT_NATIVE
#endif
#endif
#endif

template <class T>
struct Vec;

// One truth value per lane.
template <class T>
struct Mask {
  using N = Native<T>;
  typename N::M m;

  friend WENGERT_INLINE Mask operator&(Mask a, Mask b) { return {N::both(a.m, b.m)}; }
  friend WENGERT_INLINE Mask operator|(Mask a, Mask b) { return {N::either(a.m, b.m)}; }
  friend WENGERT_INLINE Mask operator!(Mask a) { return {N::no(a.m)}; }
  friend WENGERT_INLINE bool any(Mask a) { return N::any(a.m); }
  friend WENGERT_INLINE bool all(Mask a) { return N::all(a.m); }
  friend WENGERT_INLINE Vec<T> where(Mask m, Vec<T> a, Vec<T> b) { return Vec<T>::raw(N::where(m.m, a.v, b.v)); }
};

template <class T>
struct Vec {
  using N = Native<T>;
  using V = typename N::V;
  using Int = typename Float<T>::Int;
  typedef Int Bits __attribute__((vector_size(vector_bytes)));  // the lanes as integers of the same width
  typedef typename Float<T>::Unsigned Unsigned __attribute__((vector_size(vector_bytes)));
  static constexpr int lanes = vector_bytes / static_cast<int>(sizeof(T));

  V v;

  Vec() = default;
  WENGERT_INLINE Vec(double x) : v(N::set1(static_cast<T>(x))) {}
  static WENGERT_INLINE Vec raw(V v) {
    Vec r;
    r.v = v;
    return r;
  }
  static WENGERT_INLINE Vec load(const T* p) { return raw(N::load(p)); }
  static WENGERT_INLINE Vec load(const T* p, int n) { return raw(N::load(p, n)); }  // the first n lanes, others 0
  WENGERT_INLINE void store(T* p) const { N::store(p, v); }
  WENGERT_INLINE void store(T* p, int n) const { N::store(p, v, n); }

  friend WENGERT_INLINE Vec operator+(Vec a, Vec b) { return raw(a.v + b.v); }
  friend WENGERT_INLINE Vec operator-(Vec a, Vec b) { return raw(a.v - b.v); }
  friend WENGERT_INLINE Vec operator*(Vec a, Vec b) { return raw(a.v * b.v); }
  friend WENGERT_INLINE Vec operator/(Vec a, Vec b) { return raw(a.v / b.v); }
  friend WENGERT_INLINE Vec operator-(Vec a) { return raw(-a.v); }
  friend WENGERT_INLINE Mask<T> operator<(Vec a, Vec b) { return {N::lt(a.v, b.v)}; }
  friend WENGERT_INLINE Mask<T> operator>(Vec a, Vec b) { return {N::lt(b.v, a.v)}; }
  friend WENGERT_INLINE Mask<T> operator<=(Vec a, Vec b) { return {N::le(a.v, b.v)}; }
  friend WENGERT_INLINE Mask<T> operator>=(Vec a, Vec b) { return {N::le(b.v, a.v)}; }
  friend WENGERT_INLINE Mask<T> operator==(Vec a, Vec b) { return {N::eq(a.v, b.v)}; }
  friend WENGERT_INLINE Mask<T> operator!=(Vec a, Vec b) { return {N::ne(a.v, b.v)}; }

  // a b + c, rounded once (baseline: twice).
  friend WENGERT_INLINE Vec fma(Vec a, Vec b, Vec c) { return raw(N::fma(a.v, b.v, c.v)); }
  friend WENGERT_INLINE Vec sqrt(Vec a) { return raw(N::sqrt(a.v)); }
  friend WENGERT_INLINE Vec min(Vec a, Vec b) { return raw(N::min(a.v, b.v)); }  // a < b ? a : b
  friend WENGERT_INLINE Vec max(Vec a, Vec b) { return raw(N::max(a.v, b.v)); }  // a > b ? a : b
  friend WENGERT_INLINE Vec floor(Vec a) { return raw(N::floor(a.v)); }
  friend WENGERT_INLINE Vec ceil(Vec a) { return raw(N::ceil(a.v)); }
  friend WENGERT_INLINE Vec trunc(Vec a) { return raw(N::trunc(a.v)); }
  friend WENGERT_INLINE Vec round(Vec a) { return raw(N::round(a.v)); }  // halves to even

  friend WENGERT_INLINE Bits bits(Vec a) { return reinterpret_cast<Bits>(a.v); }
  static WENGERT_INLINE Vec from_bits(Bits b) { return raw(reinterpret_cast<V>(b)); }
  static WENGERT_INLINE Mask<T> mask(Bits b) { return {N::mask(b)}; }  // of lanes that are all ones or all zeros
  friend WENGERT_INLINE Vec abs(Vec a) { return from_bits(bits(a) & ~bits(Vec(-0.0))); }
  friend WENGERT_INLINE Vec copysign(Vec a, Vec s) {
    return from_bits((bits(a) & ~bits(Vec(-0.0))) | (bits(s) & bits(Vec(-0.0))));
  }
};

// A float register is two registers of double: its lower and its upper half.
struct Pair {
  Vec<double> lower, upper;
};
WENGERT_INLINE Pair widen(Vec<float> a) {
#if defined(__AVX512F__)
  constexpr __mmask8 every = 255;
  __m256 lower;
  __builtin_memcpy(&lower, &a.v, sizeof lower);
  return {Vec<double>::raw(_mm512_maskz_cvtps_pd(every, lower)),
          Vec<double>::raw(_mm512_maskz_cvtps_pd(every, _mm512_maskz_extractf32x8_ps(every, a.v, 1)))};
#elif defined(__AVX2__)
  return {Vec<double>::raw(_mm256_cvtps_pd(_mm256_castps256_ps128(a.v))),
          Vec<double>::raw(_mm256_cvtps_pd(_mm256_extractf128_ps(a.v, 1)))};
#elif defined(__x86_64__)
  return {Vec<double>::raw(_mm_cvtps_pd(a.v)), Vec<double>::raw(_mm_cvtps_pd(_mm_movehl_ps(a.v, a.v)))};
#else
  return {Vec<double>::raw(vcvt_f64_f32(vget_low_f32(a.v))), Vec<double>::raw(vcvt_high_f64_f32(a.v))};
#endif
}
WENGERT_INLINE Vec<float> narrow(Pair p) {
#if defined(__AVX512F__)
  constexpr __mmask8 every = 255;
  const __m512 lower = _mm512_castps256_ps512(_mm512_maskz_cvtpd_ps(every, p.lower.v));
  return Vec<float>::raw(_mm512_insertf32x8(lower, _mm512_maskz_cvtpd_ps(every, p.upper.v), 1));
#elif defined(__AVX2__)
  return Vec<float>::raw(
      _mm256_insertf128_ps(_mm256_castps128_ps256(_mm256_cvtpd_ps(p.lower.v)), _mm256_cvtpd_ps(p.upper.v), 1));
#elif defined(__x86_64__)
  return Vec<float>::raw(_mm_movelh_ps(_mm_cvtpd_ps(p.lower.v), _mm_cvtpd_ps(p.upper.v)));
#else
  return Vec<float>::raw(vcvt_high_f32_f64(vcvt_f32_f64(p.lower.v), p.upper.v));
#endif
}

// fma for error terms, where a product rounded on its way would leave nothing: baseline makes it from what it has.
WENGERT_INLINE Vec<float> exact_fma(Vec<float> a, Vec<float> b, Vec<float> c) {
  if constexpr (has_fma) return fma(a, b, c);
  const Pair x = widen(a), y = widen(b), z = widen(c);
  return narrow({x.lower * y.lower + z.lower, x.upper * y.upper + z.upper});
}
WENGERT_INLINE Vec<double> exact_fma(Vec<double> a, Vec<double> b, Vec<double> c) {
  if constexpr (has_fma) return fma(a, b, c);
  const Vec<double> split = 134217729.0;  // Dekker's product: halves of 26 bits multiply exactly
  const Vec<double> p = a * b, ta = split * a, tb = split * b;
  const Vec<double> ah = ta - (ta - a), al = a - ah, bh = tb - (tb - b), bl = b - bh;
  const Vec<double> e = ((ah * bh - p) + ah * bl + al * bh) + al * bl;
  const Vec<double> s = p + c, d = s - p;
  return s + (((p - (s - d)) + (c - d)) + e);
}

// The bits of n + magic end in n, for whole n.
template <class T>
constexpr T magic = T(3) * T(std::int64_t{1} << (Float<T>::mantissa - 1));

template <class T>
WENGERT_INLINE Vec<T> power_of_two(Vec<T> n_plus_magic) {  // for exponents of normal numbers
  return Vec<T>::from_bits((bits(n_plus_magic) << Float<T>::mantissa) + bits(Vec<T>(1.0)));
}
// a 2^n for whole n, rounded once; a neither tiny nor huge (or 0, where n is 0 as well).
#if defined(__AVX512F__)
WENGERT_INLINE Vec<float> scale(Vec<float> a, Vec<float> n) {
  return Vec<float>::raw(_mm512_maskz_scalef_ps(static_cast<__mmask16>(-1), a.v, n.v));
}
WENGERT_INLINE Vec<double> scale(Vec<double> a, Vec<double> n) {
  return Vec<double>::raw(_mm512_maskz_scalef_pd(static_cast<__mmask8>(-1), a.v, n.v));
}
#else
// In two steps, each a normal power of two; only the second can round.
template <class T>
__attribute__((noinline)) Vec<T> far_scale(Vec<T> a, Vec<T> n) {
  using Bits = typename Vec<T>::Bits;
  using Unsigned = typename Vec<T>::Unsigned;
  const Bits i = bits(n + magic<T>), half = reinterpret_cast<Bits>(reinterpret_cast<Unsigned>(i) >> 1);
  const auto power = [](Bits k) { return Vec<T>::from_bits((k << Float<T>::mantissa) + bits(Vec<T>(1.0))); };
  return (a * power(half)) * power(i - half);
}
template <class T>
WENGERT_INLINE Vec<T> scale(Vec<T> a, Vec<T> n) {
  if (!all(abs(n) < Float<T>::bias - 30)) return far_scale(a, n);
  return Vec<T>::from_bits(bits(a) + (bits(n + magic<T>) << Float<T>::mantissa));
}
#endif

// Stores past the caches, to an address that is a multiple of vector_bytes; stream_end before anyone else reads it.
WENGERT_INLINE void stream(float* p, Vec<float> a) {
#if defined(__AVX512F__)
  _mm512_stream_ps(p, a.v);
#elif defined(__AVX2__)
  _mm256_stream_ps(p, a.v);
#elif defined(__x86_64__)
  _mm_stream_ps(p, a.v);
#else
  a.store(p);
#endif
}
WENGERT_INLINE void stream(double* p, Vec<double> a) {
#if defined(__AVX512F__)
  _mm512_stream_pd(p, a.v);
#elif defined(__AVX2__)
  _mm256_stream_pd(p, a.v);
#elif defined(__x86_64__)
  _mm_stream_pd(p, a.v);
#else
  a.store(p);
#endif
}
WENGERT_INLINE void stream_end() {
#if defined(__x86_64__)
  _mm_sfence();
#endif
}

// The whole numbers in the lanes of i, as floats.
WENGERT_INLINE Vec<float> to_float(Vec<float>::Bits i) {
  return Vec<float>::raw(__builtin_convertvector(i, Vec<float>::V));
}

// Eight numbers for lookup. A register of 16 lanes holds them twice: reading it is cheaper than spreading them.
struct Eight {
  static constexpr int size = vector_bytes == 64 ? 16 : 8;
  alignas(4 * size) float c[size];
  constexpr Eight(float c0, float c1, float c2, float c3, float c4, float c5, float c6, float c7)
      : c{c0, c1, c2, c3, c4, c5, c6, c7} {
    for (int k = 8; k < size; ++k) c[k] = c[k - 8];
  }
};

// c[i] in every lane, i mod 8.
WENGERT_INLINE Vec<float> lookup(const Eight& table, Vec<float>::Bits i) {
  const float* c = table.c;
#if defined(__AVX512F__)
  return Vec<float>::raw(
      _mm512_maskz_permutexvar_ps(static_cast<__mmask16>(-1), reinterpret_cast<__m512i>(i), _mm512_load_ps(c)));
#elif defined(__AVX2__)
  return Vec<float>::raw(_mm256_permutevar8x32_ps(_mm256_load_ps(c), reinterpret_cast<__m256i>(i)));
#else
  return Vec<float>::raw(Vec<float>::V{c[i[0] & 7], c[i[1] & 7], c[i[2] & 7], c[i[3] & 7]});
#endif
}

}  // namespace
}  // namespace wengert::kernels
