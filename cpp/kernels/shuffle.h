// What moves values between lanes: sums over the lanes of a register, and transposed copies in blocks.
#pragma once
#include "kernels/table.h"
#include "kernels/vec.h"

// GCC's own AVX-512 header reads a value it calls undefined (GCC bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace wengert::kernels {
namespace {

// The sum of the lanes, the upper half added to the lower until one is left: the same tree for any register size, as
// long as registers that together hold the virtual lanes are first added by halving too.
#if defined(__x86_64__)
WENGERT_INLINE float sum_lanes(__m128 x) {
  x = _mm_add_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_add_ss(x, _mm_shuffle_ps(x, x, 1)));
}
WENGERT_INLINE double sum_lanes(__m128d x) { return _mm_cvtsd_f64(_mm_add_sd(x, _mm_unpackhi_pd(x, x))); }
#if defined(__AVX2__)
WENGERT_INLINE float sum_lanes(__m256 x) {
  return sum_lanes(_mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1)));
}
WENGERT_INLINE double sum_lanes(__m256d x) {
  return sum_lanes(_mm_add_pd(_mm256_castpd256_pd128(x), _mm256_extractf128_pd(x, 1)));
}
#endif
#if defined(__AVX512F__)
WENGERT_INLINE float sum_lanes(__m512 x) {
  return sum_lanes(_mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1)));
}
WENGERT_INLINE double sum_lanes(__m512d x) {
  return sum_lanes(_mm256_add_pd(_mm512_castpd512_pd256(x), _mm512_extractf64x4_pd(x, 1)));
}
#endif
#else
WENGERT_INLINE float sum_lanes(float32x4_t x) {
  const float32x2_t half = vadd_f32(vget_low_f32(x), vget_high_f32(x));
  return vget_lane_f32(half, 0) + vget_lane_f32(half, 1);
}
WENGERT_INLINE double sum_lanes(float64x2_t x) { return vgetq_lane_f64(x, 0) + vgetq_lane_f64(x, 1); }
#endif
template <class T>
WENGERT_INLINE T sum_lanes(Vec<T> x) {
#if defined(__x86_64__)
  using V = typename Vec<T>::V;
#if defined(__AVX512F__)
  return sum_lanes(static_cast<V>(x.v));
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4)
    return sum_lanes(reinterpret_cast<__m256>(static_cast<V>(x.v)));
  else
    return sum_lanes(reinterpret_cast<__m256d>(static_cast<V>(x.v)));
#else
  if constexpr (sizeof(T) == 4)
    return sum_lanes(reinterpret_cast<__m128>(static_cast<V>(x.v)));
  else
    return sum_lanes(reinterpret_cast<__m128d>(static_cast<V>(x.v)));
#endif
#else
  if constexpr (sizeof(T) == 4)
    return sum_lanes(reinterpret_cast<float32x4_t>(x.v));
  else
    return sum_lanes(reinterpret_cast<float64x2_t>(x.v));
#endif
}

// Neighbouring groups of `by` lanes change places: lane i holds what lane i ^ by held.
template <int by, class T>
WENGERT_INLINE Vec<T> swapped(Vec<T> x) {
  constexpr int W = Vec<T>::lanes, b = by;
  if constexpr (W == 16)
    return Vec<T>::raw(__builtin_shufflevector(x.v, x.v, 0 ^ b, 1 ^ b, 2 ^ b, 3 ^ b, 4 ^ b, 5 ^ b, 6 ^ b, 7 ^ b, 8 ^ b,
                                               9 ^ b, 10 ^ b, 11 ^ b, 12 ^ b, 13 ^ b, 14 ^ b, 15 ^ b));
  else if constexpr (W == 8)
    return Vec<T>::raw(__builtin_shufflevector(x.v, x.v, 0 ^ b, 1 ^ b, 2 ^ b, 3 ^ b, 4 ^ b, 5 ^ b, 6 ^ b, 7 ^ b));
  else if constexpr (W == 4)
    return Vec<T>::raw(__builtin_shufflevector(x.v, x.v, 0 ^ b, 1 ^ b, 2 ^ b, 3 ^ b));
  else
    return Vec<T>::raw(__builtin_shufflevector(x.v, x.v, 0 ^ b, 1 ^ b));
}

// Lane r of the result is sum_lanes(x[r]): the sums of as many registers as there are lanes, for the price of a few.
#if defined(__x86_64__)
#if defined(__AVX512F__)
#define WENGERT_MM(NAME) _mm512_##NAME
#elif defined(__AVX2__)
#define WENGERT_MM(NAME) _mm256_##NAME
#else
#define WENGERT_MM(NAME) _mm_##NAME
#endif
// Sums the 16-byte quarters (or halves) of registers: those of x[0], x[step], ... side by side.
template <int step, class T>
WENGERT_INLINE auto sum_parts(const Vec<T>* x) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) {
    const auto a =
        _mm512_add_ps(_mm512_shuffle_f32x4(x[0].v, x[step].v, 0x44), _mm512_shuffle_f32x4(x[0].v, x[step].v, 0xee));
    const auto b = _mm512_add_ps(_mm512_shuffle_f32x4(x[2 * step].v, x[3 * step].v, 0x44),
                                 _mm512_shuffle_f32x4(x[2 * step].v, x[3 * step].v, 0xee));
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
  } else {
    const auto a =
        _mm512_add_pd(_mm512_shuffle_f64x2(x[0].v, x[step].v, 0x44), _mm512_shuffle_f64x2(x[0].v, x[step].v, 0xee));
    const auto b = _mm512_add_pd(_mm512_shuffle_f64x2(x[2 * step].v, x[3 * step].v, 0x44),
                                 _mm512_shuffle_f64x2(x[2 * step].v, x[3 * step].v, 0xee));
    return _mm512_add_pd(_mm512_shuffle_f64x2(a, b, 0x88), _mm512_shuffle_f64x2(a, b, 0xdd));
  }
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4)
    return _mm256_add_ps(_mm256_permute2f128_ps(x[0].v, x[step].v, 0x20),
                         _mm256_permute2f128_ps(x[0].v, x[step].v, 0x31));
  else
    return _mm256_add_pd(_mm256_permute2f128_pd(x[0].v, x[step].v, 0x20),
                         _mm256_permute2f128_pd(x[0].v, x[step].v, 0x31));
#else
  return x[0].v;
#endif
}
WENGERT_INLINE Vec<float> sum_rows(const Vec<float>* x) {
  const auto a = WENGERT_MM(castps_pd)(sum_parts<4>(x)), b = WENGERT_MM(castps_pd)(sum_parts<4>(x + 1));
  const auto c = WENGERT_MM(castps_pd)(sum_parts<4>(x + 2)), d = WENGERT_MM(castps_pd)(sum_parts<4>(x + 3));
  const auto ab =
      WENGERT_MM(castpd_ps)(WENGERT_MM(unpacklo_pd)(a, b)) + WENGERT_MM(castpd_ps)(WENGERT_MM(unpackhi_pd)(a, b));
  const auto cd =
      WENGERT_MM(castpd_ps)(WENGERT_MM(unpacklo_pd)(c, d)) + WENGERT_MM(castpd_ps)(WENGERT_MM(unpackhi_pd)(c, d));
  return Vec<float>::raw(WENGERT_MM(shuffle_ps)(ab, cd, 0x88) + WENGERT_MM(shuffle_ps)(ab, cd, 0xdd));
}
WENGERT_INLINE Vec<double> sum_rows(const Vec<double>* x) {
  const auto a = sum_parts<2>(x), b = sum_parts<2>(x + 1);
  return Vec<double>::raw(WENGERT_MM(unpacklo_pd)(a, b) + WENGERT_MM(unpackhi_pd)(a, b));
}
#else
WENGERT_INLINE Vec<float> sum_rows(const Vec<float>* x) {
  const auto both = [](float32x4_t p, float32x4_t q) {  // {p0 + p2, p1 + p3, q0 + q2, q1 + q3}
    const float64x2_t a = vreinterpretq_f64_f32(p), b = vreinterpretq_f64_f32(q);
    return vaddq_f32(vreinterpretq_f32_f64(vzip1q_f64(a, b)), vreinterpretq_f32_f64(vzip2q_f64(a, b)));
  };
  return Vec<float>::raw(vpaddq_f32(both(x[0].v, x[1].v), both(x[2].v, x[3].v)));
}
WENGERT_INLINE Vec<double> sum_rows(const Vec<double>* x) { return Vec<double>::raw(vpaddq_f64(x[0].v, x[1].v)); }
#endif

// Rows turned into columns, 16 bytes (C elements) of as many rows as there are lanes at once.
template <class T>
struct Turn {
  static constexpr index_t W = Vec<T>::lanes, C = 16 / sizeof(T);
#if defined(__x86_64__)
#if defined(__AVX512F__)
  using Reg = __m512;
#elif defined(__AVX2__)
  using Reg = __m256;
#else
  using Reg = __m128;
#endif
  Reg r[C];

  // Puts 16 bytes of row `row` in their place.
  WENGERT_INLINE void put(index_t row, const T* p) {
    const __m128 x = _mm_loadu_ps(reinterpret_cast<const float*>(p));  // bits only
    Reg& to = r[row % C];
#if defined(__AVX512F__)
    switch (row / C) {
      case 0:
        to = _mm512_castps128_ps512(x);
        break;
      case 1:
        to = _mm512_insertf32x4(to, x, 1);
        break;
      case 2:
        to = _mm512_insertf32x4(to, x, 2);
        break;
      default:
        to = _mm512_insertf32x4(to, x, 3);
    }
#elif defined(__AVX2__)
    to = row < C ? _mm256_castps128_ps256(x) : _mm256_insertf128_ps(to, x, 1);
#else
    to = x;
#endif
  }
  // Column c into x[c].
  WENGERT_INLINE void columns(Vec<T>* x) const {
    if constexpr (sizeof(T) == 4) {
      const auto a = WENGERT_MM(castps_pd)(WENGERT_MM(unpacklo_ps)(r[0], r[1]));
      const auto b = WENGERT_MM(castps_pd)(WENGERT_MM(unpackhi_ps)(r[0], r[1]));
      const auto c = WENGERT_MM(castps_pd)(WENGERT_MM(unpacklo_ps)(r[2], r[3]));
      const auto d = WENGERT_MM(castps_pd)(WENGERT_MM(unpackhi_ps)(r[2], r[3]));
      x[0].v = WENGERT_MM(castpd_ps)(WENGERT_MM(unpacklo_pd)(a, c));
      x[1].v = WENGERT_MM(castpd_ps)(WENGERT_MM(unpackhi_pd)(a, c));
      x[2].v = WENGERT_MM(castpd_ps)(WENGERT_MM(unpacklo_pd)(b, d));
      x[3].v = WENGERT_MM(castpd_ps)(WENGERT_MM(unpackhi_pd)(b, d));
    } else {
      const auto a = WENGERT_MM(castps_pd)(r[0]), b = WENGERT_MM(castps_pd)(r[1]);
      x[0].v = WENGERT_MM(unpacklo_pd)(a, b), x[1].v = WENGERT_MM(unpackhi_pd)(a, b);
    }
  }
#undef WENGERT_MM
#else
  typename Vec<T>::V r[C];
  WENGERT_INLINE void put(index_t row, const T* p) { r[row] = Vec<T>::load(p).v; }
  WENGERT_INLINE void columns(Vec<T>* x) const {
    if constexpr (sizeof(T) == 4) {
      const float64x2_t a = vreinterpretq_f64_f32(vzip1q_f32(r[0], r[1]));
      const float64x2_t b = vreinterpretq_f64_f32(vzip2q_f32(r[0], r[1]));
      const float64x2_t c = vreinterpretq_f64_f32(vzip1q_f32(r[2], r[3]));
      const float64x2_t d = vreinterpretq_f64_f32(vzip2q_f32(r[2], r[3]));
      x[0].v = vreinterpretq_f32_f64(vzip1q_f64(a, c)), x[1].v = vreinterpretq_f32_f64(vzip2q_f64(a, c));
      x[2].v = vreinterpretq_f32_f64(vzip1q_f64(b, d)), x[3].v = vreinterpretq_f32_f64(vzip2q_f64(b, d));
    } else {
      x[0].v = vzip1q_f64(r[0], r[1]), x[1].v = vzip2q_f64(r[0], r[1]);
    }
  }
#endif
};

// 32 bytes of as many rows as there are lanes, `ld` apart, become two Turns.
template <class T>
WENGERT_INLINE void turn_rows(const T* x, index_t ld, Turn<T>* turn) {
  constexpr index_t W = Turn<T>::W, C = Turn<T>::C;
#if defined(__AVX512F__)
  // By halves of a register, half as many insertions: on the processors that have these, they compete with the fma.
  const __m512i low = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13), high = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
  __m512d rows[2 * C];
#pragma GCC unroll 8
  for (index_t q = 0; q < 2 * C; ++q) {
    const auto* first = reinterpret_cast<const double*>(x + q * ld);  // bits only
    const auto* second = reinterpret_cast<const double*>(x + (q + W / 2) * ld);
    rows[q] = _mm512_insertf64x4(_mm512_castpd256_pd512(_mm256_loadu_pd(first)), _mm256_loadu_pd(second), 1);
  }
#pragma GCC unroll 4
  for (index_t q = 0; q < C; ++q) {
    turn[0].r[q] = _mm512_castpd_ps(_mm512_permutex2var_pd(rows[q], low, rows[q + C]));
    turn[1].r[q] = _mm512_castpd_ps(_mm512_permutex2var_pd(rows[q], high, rows[q + C]));
  }
#else
#pragma GCC unroll 16
  for (index_t r = 0; r < W; ++r, x += ld) turn[0].put(r, x), turn[1].put(r, x + C);
#endif
}

// Four elements, whatever the target's registers.
template <class T>
struct Quad {
  typedef T V __attribute__((vector_size(4 * sizeof(T))));
  typedef typename Float<T>::Int I __attribute__((vector_size(4 * sizeof(T))));
};
#if defined(__clang__)
#define WENGERT_SHUFFLE(A, B, ...) __builtin_shufflevector(A, B, __VA_ARGS__)
#else
#define WENGERT_SHUFFLE(A, B, ...) __builtin_shuffle(A, B, typename Quad<T>::I{__VA_ARGS__})
#endif

// y[c ldy + r] = x[r ldx + c] for r, c < 4, in the instructions that suit the element's size.
template <class T>
WENGERT_INLINE void transpose4(const T* x0, const T* x1, const T* x2, const T* x3, T* y, index_t ldy) {
  using V = typename Quad<T>::V;
  V r0, r1, r2, r3, s0, s1, s2, s3;
  __builtin_memcpy(&r0, x0, sizeof r0);
  __builtin_memcpy(&r1, x1, sizeof r1);
  __builtin_memcpy(&r2, x2, sizeof r2);
  __builtin_memcpy(&r3, x3, sizeof r3);
  if constexpr (sizeof(T) == 4) {
    const V a = WENGERT_SHUFFLE(r0, r1, 0, 4, 1, 5), b = WENGERT_SHUFFLE(r0, r1, 2, 6, 3, 7);
    const V c = WENGERT_SHUFFLE(r2, r3, 0, 4, 1, 5), d = WENGERT_SHUFFLE(r2, r3, 2, 6, 3, 7);
    s0 = WENGERT_SHUFFLE(a, c, 0, 1, 4, 5), s1 = WENGERT_SHUFFLE(a, c, 2, 3, 6, 7);
    s2 = WENGERT_SHUFFLE(b, d, 0, 1, 4, 5), s3 = WENGERT_SHUFFLE(b, d, 2, 3, 6, 7);
  } else {
    const V a = WENGERT_SHUFFLE(r0, r1, 0, 4, 2, 6), b = WENGERT_SHUFFLE(r0, r1, 1, 5, 3, 7);
    const V c = WENGERT_SHUFFLE(r2, r3, 0, 4, 2, 6), d = WENGERT_SHUFFLE(r2, r3, 1, 5, 3, 7);
    s0 = WENGERT_SHUFFLE(a, c, 0, 1, 4, 5), s1 = WENGERT_SHUFFLE(b, d, 0, 1, 4, 5);
    s2 = WENGERT_SHUFFLE(a, c, 2, 3, 6, 7), s3 = WENGERT_SHUFFLE(b, d, 2, 3, 6, 7);
  }
  __builtin_memcpy(y, &s0, sizeof s0);
  __builtin_memcpy(y + ldy, &s1, sizeof s1);
  __builtin_memcpy(y + 2 * ldy, &s2, sizeof s2);
  __builtin_memcpy(y + 3 * ldy, &s3, sizeof s3);
}
#undef WENGERT_SHUFFLE

// y[c ldy + r] = x[r ldx + c] for r < rows, c < cols, a cache line of each row of x at a time. Within y's rows, up to
// `room` >= rows elements may be overwritten with anything: with room for a multiple of 4 there is no scalar rest.
template <class T>
void transpose_block(const T* x, index_t ldx, T* y, index_t ldy, index_t rows, index_t cols, index_t room) {
  constexpr index_t line = 64 / sizeof(T), W = Turn<T>::W, C = Turn<T>::C;
  for (index_t c0 = 0; c0 < cols; c0 += line) {
    const index_t c1 = c0 + line < cols ? c0 + line : cols;
    if (c1 < cols)  // rows are often a page apart, which stops the hardware from prefetching
      for (index_t r = 0; r < rows; ++r) __builtin_prefetch(x + r * ldx + c0 + 2 * line);
    index_t r = 0;
    for (; r + W <= room && r < rows; r += W) {
      const T* row[W];  // those beyond the last are replaced by copies of the last
      for (index_t q = 0; q < W; ++q) row[q] = x + (r + q < rows ? r + q : rows - 1) * ldx;
      T* to = y + c0 * ldy + r;
      index_t c = c0;
      for (; c + C <= c1; c += C, to += C * ldy) {
        Turn<T> turn;
#pragma GCC unroll 16
        for (index_t q = 0; q < W; ++q) turn.put(q, row[q] + c);
        Vec<T> column[C];
        turn.columns(column);
#pragma GCC unroll 4
        for (index_t i = 0; i < C; ++i) column[i].store(to + i * ldy);
      }
      for (; c < c1; ++c, to += ldy)
        for (index_t q = 0; q < W; ++q) to[q] = row[q][c];
    }
    for (; r + 4 <= room && r < rows; r += 4) {
      const T* x0 = x + r * ldx;
      const T* x1 = r + 1 < rows ? x0 + ldx : x0;
      const T* x2 = r + 2 < rows ? x1 + ldx : x1;
      const T* x3 = r + 3 < rows ? x2 + ldx : x2;
      T* to = y + c0 * ldy + r;
      index_t c = c0;
      for (; c + 4 <= c1; c += 4, to += 4 * ldy) transpose4(x0 + c, x1 + c, x2 + c, x3 + c, to, ldy);
      for (; c < c1; ++c, to += ldy) to[0] = x0[c], to[1] = x1[c], to[2] = x2[c], to[3] = x3[c];
    }
    for (; r < rows; ++r)
      for (index_t c = c0; c < c1; ++c) y[c * ldy + r] = x[r * ldx + c];
  }
}

}  // namespace
}  // namespace wengert::kernels
