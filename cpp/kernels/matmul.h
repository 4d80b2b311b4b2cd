// Matrix product: register tiles, blocked for the caches, packed where that pays.
//
// The same bits: each element of C is the chain fma(a[k], b[k], sum) over k = 0, 1, ..., K-1, starting at 0. Blocks
// over k continue the chain from memory, so neither blocking nor the shape of a tile shows in the result. Only for
// n <= 4, too few columns to fill a register, is the sum split, by n alone: virtual lane l of `line` sums
// k = l, l + line, ... in order, and the lanes are added by halving. Both rules hold for all transpose flags and ISAs.
// A bias is added to the finished sum, as a separate addition would, then comes the activation.
#pragma once
#include <unistd.h>

#include "kernels/pages.h"
#include "kernels/shuffle.h"
#include "kernels/table.h"
#include "kernels/vec.h"

namespace wengert::kernels {
namespace {

// Machine facts: rows and vectors of a register tile; rows times columns of a narrow product.
#if defined(__AVX512F__)
constexpr int tile_rows = 14, tile_vectors = 2, dot_sums = 16;  // 32 registers of 64 bytes
#elif defined(__aarch64__)
constexpr int tile_rows = 6, tile_vectors = 4, dot_sums = 4;  // 32 of 16 bytes
#else
constexpr int tile_rows = 6, tile_vectors = 2, dot_sums = vector_bytes / 8;  // 16 of 32 or 16 bytes
#endif
// Cache facts: the most k in a block, in bytes; bytes of a block of B (its part of L3); bytes of B from which packing
// pays; a sum that is short, and bytes of a C that is large, beside each other.
constexpr int stream_k = 4;     // rows of B read at once when a row or two of A stream over it
constexpr int turn_blocks = 2;  // registers of columns of a transposed B at once, against one row of A
constexpr index_t block_k_bytes = 4096, block_b = 4 << 20, pack_b_from = 512 << 10, short_k = 128, large_c = 2 << 20;
// Packing A pays from so many columns; packing B from so many rows. Rows whose lengths are multiples of a page lie in
// few lines of L1.
constexpr index_t pack_a_from_columns = 128, pack_b_from_rows = 128, page_bytes = 4096;
// Rows of A are packed even if they lie well, from so many columns and bytes of a row on, unless L2 is large: then it
// feeds the tiles as well from where they lie.
constexpr index_t pack_rows_columns = 256, pack_rows_bytes = 2048, large_l2 = 2 << 20;

// Bytes of L2, as far as the system tells.
WENGERT_INLINE index_t l2_bytes() {
#ifdef _SC_LEVEL2_CACHE_SIZE
  static const long known = sysconf(_SC_LEVEL2_CACHE_SIZE);
  if (known > 0) return known;
#endif
  return 1 << 20;
}
// Bytes of a block of A: its part of L2.
WENGERT_INLINE index_t block_a() { return l2_bytes() / 8 * 3; }

template <class T>
constexpr index_t block_k = block_k_bytes / sizeof(T);
template <class T>
constexpr index_t line = 64 / sizeof(T);

WENGERT_INLINE constexpr index_t smaller(index_t a, index_t b) { return a < b ? a : b; }
WENGERT_INLINE constexpr index_t ceil_div(index_t a, index_t b) { return (a + b - 1) / b; }

// Memory for packed operands: kept by the thread, freed when it exits, never shrunk. On large pages, where the system
// has them, unless it is little.
struct Workspace {
  char* memory = nullptr;
  index_t bytes = 0;
  ~Workspace() { free(memory); }

  // 64-byte aligned, or null if there is no memory.
  char* get(index_t wanted) {
    if (wanted > bytes) {
      constexpr size_t little = 256 << 10;
      auto size = static_cast<size_t>(wanted);
      free(memory);
      memory =
          static_cast<char*>(take_pages(size, size > little ? (size + large_page - 1) / large_page * large_page : 0));
      bytes = memory ? static_cast<index_t>(size) : 0;
    }
    return memory;
  }
};
inline Workspace& workspace() {
  static thread_local Workspace w;
  return w;
}

// Half a register, for the last columns: with AVX-512 its fma has twice the rate.
#if defined(__AVX512F__)
constexpr bool has_half = true;
template <class T>
struct Half;
#define WENGERT_HALF(T, REG, S)                                                                          \
  template <>                                                                                            \
  struct Half<T> {                                                                                       \
    static constexpr int lanes = 32 / sizeof(T);                                                         \
    REG v;                                                                                               \
    static WENGERT_INLINE __mmask8 first(int n) { return static_cast<__mmask8>((1u << n) - 1u); }        \
    static WENGERT_INLINE Half all(T x) { return {_mm256_set1_##S(x)}; }                                 \
    static WENGERT_INLINE Half load(const T* p) { return {_mm256_loadu_##S(p)}; }                        \
    static WENGERT_INLINE Half load(const T* p, int n) { return {_mm256_maskz_loadu_##S(first(n), p)}; } \
    WENGERT_INLINE void store(T* p) const { _mm256_storeu_##S(p, v); }                                   \
    WENGERT_INLINE void store(T* p, int n) const { _mm256_mask_storeu_##S(p, first(n), v); }             \
    friend WENGERT_INLINE Half operator+(Half a, Half b) { return {_mm256_add_##S(a.v, b.v)}; }          \
    friend WENGERT_INLINE Half fma(Half a, Half b, Half c) { return {_mm256_fmadd_##S(a.v, b.v, c.v)}; } \
  };
WENGERT_HALF(float, __m256, ps)
WENGERT_HALF(double, __m256d, pd)
#undef WENGERT_HALF
#else
constexpr bool has_half = false;
template <class T>
using Half = Vec<T>;
#endif

template <class V, class T>
WENGERT_INLINE V broadcast(T x) {
  if constexpr (has_half && V::lanes < Vec<T>::lanes)
    return V::all(x);
  else
    return V::raw(V::N::set1(x));
}

// How a tile starts and ends.
template <class T>
struct Ends {
  bool resume;    // continue the chain from C (a later block of k)
  const T* bias;  // then + bias (of the tile's first column), if any
  int last;       // lanes in use of the last vector
};

// C[MR, NV vectors] = A B over kc. A is by rows (element (i, k) at a[i sa + k]) or by columns (a[k sa + i]);
// B's row k is at b + k sb, its last vector read under a mask if `edge`.
template <class V, class T, int MR, int NV, bool by_rows, bool edge>
void tile(index_t kc, const T* a, index_t sa, const T* b, index_t sb, T* c, index_t ldc, const Ends<T>& e) {
  constexpr int W = V::lanes;
  const int last = e.last;
  V sum[MR][NV];
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) sum[i][j] = broadcast<V>(T(0));
  if (e.resume)
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j) sum[i][j] = V::load(c + i * ldc + j * W, j == NV - 1 ? last : W);
  if (kc >= 128 && !e.resume)  // C will be at hand by the end
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j) __builtin_prefetch(c + i * ldc + j * W, 1);
  for (index_t k = 0; k < kc; ++k) {
    V bv[NV];
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) bv[j] = edge && j == NV - 1 ? V::load(b + j * W, last) : V::load(b + j * W);
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
      const V av = broadcast<V>(by_rows ? a[i * sa] : a[i]);
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j) sum[i][j] = fma(av, bv[j], sum[i][j]);
    }
    a += by_rows ? 1 : sa;
    b += sb;
  }
  if (e.bias)
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) {
      const V bias = V::load(e.bias + j * W, j == NV - 1 ? last : W);
#pragma GCC unroll 16
      for (int i = 0; i < MR; ++i) sum[i][j] = sum[i][j] + bias;
    }
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) {
      if (j == NV - 1 && last != W)
        sum[i][j].store(c + i * ldc + j * W, last);
      else
        sum[i][j].store(c + i * ldc + j * W);
    }
}

template <class T>
using TileFn = void (*)(index_t, const T*, index_t, const T*, index_t, T*, index_t, const Ends<T>&);

// Every tile by [A by rows][edge][vectors, 0 for half of one][rows - 1].
template <class T>
struct Tiles {
  TileFn<T> fn[2][2][tile_vectors + 1][tile_rows];
  template <class V, int MR, int NV, int at>
  constexpr void put() {
    fn[0][0][at][MR - 1] = tile<V, T, MR, NV, false, false>;
    fn[0][1][at][MR - 1] = tile<V, T, MR, NV, false, true>;
    fn[1][0][at][MR - 1] = tile<V, T, MR, NV, true, false>;
    fn[1][1][at][MR - 1] = tile<V, T, MR, NV, true, true>;
  }
  template <int MR, int NV>
  constexpr void fill() {
    put<Vec<T>, MR, NV, NV>();
    if constexpr (has_half && NV == 1) put<Half<T>, MR, 1, 0>();
    if constexpr (MR > 1)
      fill<MR - 1, NV>();
    else if constexpr (NV > 1)
      fill<tile_rows, NV - 1>();
  }
  constexpr Tiles() : fn{} { fill<tile_rows, tile_vectors>(); }
};
template <class T>
constexpr Tiles<T> tiles{};

// `count` split into the fewest parts of at most `most`, as even as can be.
struct Parts {
  index_t parts, size, longer;  // the first `longer` parts have one more than `size`
  Parts(index_t count, index_t most) : parts(ceil_div(count, most)), size(count / parts), longer(count % parts) {}
  index_t begin(index_t i) const { return i * size + smaller(i, longer); }
  index_t most() const { return size + (longer > 0); }
};

// Columns of the next panel when `left` remain, and its width when packed: whole vectors, or half of one at the end.
template <class T>
WENGERT_INLINE index_t panel_width(index_t left) {
  constexpr index_t W = Vec<T>::lanes;
  if (left >= W * tile_vectors) return W * tile_vectors;
  const index_t rest = left % W;
  return has_half && rest > 0 && rest <= W / 2 && left > rest ? left - rest : left;
}
template <class T>
WENGERT_INLINE index_t padded_width(index_t width) {
  constexpr index_t W = Vec<T>::lanes;
  return has_half && width <= W / 2 ? W / 2 : ceil_div(width, W) * W;
}

// Packs rows of B into panels, each contiguous. Reads run along whole rows, as the hardware prefetches them.
template <class T>
void pack_b_rows(const T* b, index_t ldb, T* packed, index_t kc, index_t cols) {
  constexpr index_t W = Vec<T>::lanes;
  for (index_t k = 0; k < kc; ++k, b += ldb)
    for (index_t j = 0, width; j < cols; j += width) {
      width = panel_width<T>(cols - j);
      const index_t padded = padded_width<T>(width);
      T* to = packed + j * kc + k * padded;
      index_t v = 0;
      for (; v + W <= width; v += W) Vec<T>::load(b + j + v).store(to + v);
      if (v < width) Vec<T>::load(b + j + v, static_cast<int>(width - v)).store(to + v, static_cast<int>(padded - v));
    }
}

// Packs rows of the stored A (its columns, as it is transposed) into tiles of `room` a k.
template <class T>
void pack_a_columns(const T* a, index_t lda, T* packed, index_t kc, const Parts& ts, index_t room) {
  constexpr index_t W = Vec<T>::lanes;
  for (index_t k = 0; k < kc; ++k, a += lda)
    for (index_t t = 0; t < ts.parts; ++t) {
      const T* from = a + ts.begin(t);
      T* to = packed + (t * kc + k) * room;
      const index_t mr = ts.size + (t < ts.longer);
      for (index_t v = 0; v < mr; v += W) {
        const int lanes = static_cast<int>(smaller(W, mr - v));
        Vec<T>::load(from + v, lanes).store(to + v, lanes);
      }
    }
}

template <class T>
void activate(const MatMul<T>& p, T* c, index_t rows, index_t cols) {
  const index_t step[5] = {1, 1, 1, 1, 1};
  const T* in[5] = {};
  if (cols == p.ldc) cols *= rows, rows = 1;
  for (index_t i = 0; i < rows; ++i, c += p.ldc) {
    if (p.operand) in[p.operand_at] = p.operand + (c - p.c);
    in[p.c_at] = c;
    p.activation(in, step, c, cols);
  }
}

// What is left to do with finished sums of row i, columns [j, j + n): bias, store.
template <class T>
WENGERT_INLINE void finish(const MatMul<T>& p, index_t i, index_t j, Vec<T> sum, int n) {
  if (p.bias) sum = sum + Vec<T>::load(p.bias + j, n);
  sum.store(p.c + i * p.ldc + j, n);
}

// The definition of the sums, an element at a time: what is left when there is no memory to pack operands.
template <bool narrow, class T>
void plain(const MatMul<T>& p) {
  constexpr index_t lanes = narrow ? line<T> : 1;
  for (index_t i = 0; i < p.m; ++i)
    for (index_t j = 0; j < p.n; ++j) {
      Vec<T> sum[lanes];
      for (index_t l = 0; l < lanes; ++l) sum[l] = broadcast<Vec<T>>(T(0));
      for (index_t k = 0; k < p.k; ++k) {
        const T a = p.trans_a ? p.a[k * p.lda + i] : p.a[i * p.lda + k];
        const T b = p.trans_b ? p.b[j * p.ldb + k] : p.b[k * p.ldb + j];
        sum[k % lanes] = fma(broadcast<Vec<T>>(a), broadcast<Vec<T>>(b), sum[k % lanes]);
      }
      for (index_t half = lanes / 2; half > 0; half /= 2)
        for (index_t l = 0; l < half; ++l) sum[l] = sum[l] + sum[l + half];
      finish(p, i, j, sum[0], 1);
    }
  if (p.activation) activate(p, p.c, p.m, p.n);
}

// The general case: blocks of columns, of k, of rows; in each, panels of B against tiles of rows.
template <class T>
void blocked(const MatMul<T>& p, bool pack_a, bool pack_b) {
  constexpr index_t W = Vec<T>::lanes, panel = W * tile_vectors, size = sizeof(T);
  constexpr index_t room = ceil_div(tile_rows, 4) * 4;  // of a k in a packed tile of A
  const Parts ks(p.k > 0 ? p.k : 1, block_k<T>);
  // Short sums into a large C are bound by writing it: a row of tiles after the other, as memory likes it.
  const bool writes = p.k <= short_k && p.k * p.n * size <= pack_b_from && p.m * p.n * size >= large_c;
  const Parts ms(p.m, writes ? tile_rows : tile_rows * ceil_div(block_a(), tile_rows * size * ks.most()));
  const Parts ns(p.n, panel * ceil_div(block_b, panel * size * ks.most()));
  // Rows of a large B lie pages apart, which the hardware does not prefetch: do that a panel ahead.
  const bool far = !pack_b && p.m > tile_rows && p.k * p.n * size >= pack_b_from;
  T *pa = nullptr, *pb = nullptr;
  if (pack_a || pack_b) {
    const index_t a_count = pack_a ? (ceil_div(ms.most(), tile_rows)) * room * ks.most() : 0;
    const index_t b_count = pack_b ? ceil_div(ns.most(), W) * W * ks.most() : 0;
    pa = reinterpret_cast<T*>(workspace().get((a_count + b_count) * size));
    if (!pa) return plain<false>(p);
    pb = pa + a_count;
  }
  for (index_t jc = 0; jc < ns.parts; ++jc) {
    const index_t j0 = ns.begin(jc), j1 = ns.begin(jc + 1);
    for (index_t pc = 0; pc < ks.parts; ++pc) {
      const index_t k0 = ks.begin(pc), kc = p.k > 0 ? ks.begin(pc + 1) - k0 : 0;
      const bool end = pc == ks.parts - 1;
      if (pack_b && !p.trans_b) pack_b_rows(p.b + k0 * p.ldb + j0, p.ldb, pb, kc, j1 - j0);
      for (index_t ic = 0; ic < ms.parts; ++ic) {
        const index_t i0 = ms.begin(ic), rows = ms.begin(ic + 1) - i0;
        const Parts ts(rows, tile_rows);
        if (pack_a && p.trans_a) pack_a_columns(p.a + k0 * p.lda + i0, p.lda, pa, kc, ts, room);
        for (index_t j = j0, width; j < j1; j += width) {
          width = panel_width<T>(j1 - j);
          const index_t padded = padded_width<T>(width);
          const T* b = p.trans_b ? p.b + j * p.ldb + k0 : p.b + k0 * p.ldb + j;
          index_t sb = p.ldb;
          if (pack_b) {
            T* packed = pb + (j - j0) * kc;
            if (p.trans_b && ic == 0) transpose_block(b, p.ldb, packed, padded, width, kc, padded);
            b = packed, sb = padded;
          }
          const index_t vectors = padded / W;  // 0: half of one
          const int last = static_cast<int>(vectors ? width - (vectors - 1) * W : width);
          const Ends<T> ends{pc > 0, p.bias && end ? p.bias + j : nullptr, last};
          if (far && ic == 0 && j + width < j1)
            for (index_t k = 0; k < kc; ++k)
              for (index_t v = 0; v < panel; v += line<T>) __builtin_prefetch(b + k * sb + width + v);
          const auto& fn = tiles<T>.fn[!p.trans_a && !pack_a][!pack_b && padded != width][vectors];
          for (index_t t = 0; t < ts.parts; ++t) {
            const index_t i = i0 + ts.begin(t), mr = ts.size + (t < ts.longer);
            const T* a = p.trans_a ? p.a + k0 * p.lda + i : p.a + i * p.lda + k0;
            index_t sa = p.lda;
            if (pack_a) {
              T* packed = pa + t * room * kc;
              if (!p.trans_a && j == j0) transpose_block(a, p.lda, packed, room, mr, kc, room);
              a = packed, sa = room;
            }
            fn[mr - 1](kc, a, sa, b, sb, p.c + i * p.ldc + j, p.ldc, ends);
          }
        }
        if (end && p.activation) activate(p, p.c + i0 * p.ldc + j0, rows, j1 - j0);
      }
    }
  }
}

// One or two rows: B is read once, a few whole rows at a time, and the sums wait in L1.
template <int MR, class T>
void stream_rows(const MatMul<T>& p, index_t i) {
  constexpr index_t W = Vec<T>::lanes, KB = stream_k, chunk = 8192 / sizeof(T);
  const index_t ai = p.trans_a ? 1 : p.lda, ak = p.trans_a ? p.lda : 1;
  T sums[MR][chunk];
  for (index_t j0 = 0; j0 < p.n; j0 += chunk) {
    const index_t cols = smaller(chunk, p.n - j0), whole = cols / W * W;
    for (int r = 0; r < MR; ++r)
      for (index_t j = 0; j < cols; j += W) broadcast<Vec<T>>(T(0)).store(sums[r] + j);
    const T* a = p.a + i * ai;
    const T* b = p.b + j0;
    index_t k = 0;
    for (; k + KB <= p.k; k += KB, a += KB * ak, b += KB * p.ldb) {
      Vec<T> av[MR][KB];
      for (int r = 0; r < MR; ++r)
        for (int q = 0; q < KB; ++q) av[r][q] = broadcast<Vec<T>>(a[r * ai + q * ak]);
      const auto step = [&](index_t j, auto load) {
        Vec<T> s[MR];
        for (int r = 0; r < MR; ++r) s[r] = Vec<T>::load(sums[r] + j);
        for (int q = 0; q < KB; ++q) {
          const Vec<T> bv = load(b + q * p.ldb + j);
          for (int r = 0; r < MR; ++r) s[r] = fma(av[r][q], bv, s[r]);
        }
        for (int r = 0; r < MR; ++r) s[r].store(sums[r] + j);
      };
      for (index_t j = 0; j < whole; j += W) step(j, [](const T* x) { return Vec<T>::load(x); });
      const int rest = static_cast<int>(cols - whole);
      if (rest) step(whole, [rest](const T* x) { return Vec<T>::load(x, rest); });
    }
    for (; k < p.k; ++k, a += ak, b += p.ldb)
      for (int r = 0; r < MR; ++r) {
        const Vec<T> av = broadcast<Vec<T>>(a[r * ai]);
        for (index_t j = 0; j < cols; j += W) {
          const Vec<T> bv = Vec<T>::load(b + j, static_cast<int>(smaller(W, cols - j)));
          fma(av, bv, Vec<T>::load(sums[r] + j)).store(sums[r] + j);
        }
      }
    for (int r = 0; r < MR; ++r)
      for (index_t j = 0; j < cols; j += W)
        finish(p, i + r, j0 + j, Vec<T>::load(sums[r] + j), static_cast<int>(smaller(W, cols - j)));
  }
}

// Some registers' worth of columns of a transposed B, turned in registers, against one row: as many sums at once, for
// each waits for its own last addition.
template <int blocks, class T>
void turn_columns(const MatMul<T>& p, index_t i, index_t j, const T* a, index_t ak) {
  constexpr index_t W = Vec<T>::lanes, C = Turn<T>::C;
  const T* b = p.b + j * p.ldb;
  Vec<T> sum[blocks];
  for (int s = 0; s < blocks; ++s) sum[s] = broadcast<Vec<T>>(T(0));
  index_t k = 0;
  for (; k + 2 * C <= p.k; k += 2 * C)
#pragma GCC unroll 4
    for (int s = 0; s < blocks; ++s) {
      Turn<T> turn[2];
      turn_rows(b + s * W * p.ldb + k, p.ldb, turn);
#pragma GCC unroll 2
      for (index_t q = 0; q < 2; ++q) {
        Vec<T> x[C];
        turn[q].columns(x);
#pragma GCC unroll 4
        for (index_t c = 0; c < C; ++c) sum[s] = fma(broadcast<Vec<T>>(a[(k + q * C + c) * ak]), x[c], sum[s]);
      }
    }
  for (; k < p.k; ++k)
    for (int s = 0; s < blocks; ++s) {
      T x[W];
      for (int q = 0; q < W; ++q) x[q] = b[(s * W + q) * p.ldb + k];
      sum[s] = fma(broadcast<Vec<T>>(a[k * ak]), Vec<T>::load(x), sum[s]);
    }
  for (int s = 0; s < blocks; ++s) finish(p, i, j + s * W, sum[s], W);
}

// One row against a transposed B. The last columns are those of a whole register, some of them for a second time.
template <class T>
void stream_columns(const MatMul<T>& p, index_t i) {
  constexpr index_t W = Vec<T>::lanes;
  const T* a = p.trans_a ? p.a + i : p.a + i * p.lda;
  const index_t ak = p.trans_a ? p.lda : 1;
  index_t j = 0;
  for (; j + turn_blocks * W <= p.n; j += turn_blocks * W) turn_columns<turn_blocks>(p, i, j, a, ak);
  for (; j < p.n; j += W) turn_columns<1>(p, i, smaller(j, p.n - W), a, ak);
}

// Narrow products, A by rows, B by columns (column j at b + j ldb): virtual lanes over k. The sums of MR rows, still to
// be added over the lanes of a register, go to part[j][r].
template <int MR, int N, class T>
WENGERT_INLINE void dot_rows(const MatMul<T>& p, const T* a, const T* b, index_t ldb, Vec<T> (*part)[Vec<T>::lanes]) {
  constexpr int W = Vec<T>::lanes, L = line<T>, VL = L / W;
  Vec<T> sum[MR][N][VL];
  for (int r = 0; r < MR; ++r)
    for (int j = 0; j < N; ++j)
      for (int v = 0; v < VL; ++v) sum[r][j][v] = broadcast<Vec<T>>(T(0));
  const auto step = [&](auto load) {
#pragma GCC unroll 4
    for (int v = 0; v < VL; ++v) {
      Vec<T> bv[N];
#pragma GCC unroll 4
      for (int j = 0; j < N; ++j) bv[j] = load(b + j * ldb + v * W, v);
#pragma GCC unroll 16
      for (int r = 0; r < MR; ++r) {
        const Vec<T> av = load(a + r * p.lda + v * W, v);
#pragma GCC unroll 4
        for (int j = 0; j < N; ++j) sum[r][j][v] = fma(av, bv[j], sum[r][j][v]);
      }
    }
  };
  index_t k = 0;
  for (; k + L <= p.k; k += L, a += L, b += L) step([](const T* x, int) { return Vec<T>::load(x); });
  const int rest = static_cast<int>(p.k - k);
  if (rest)
    step([rest](const T* x, int v) {
      const int n = rest - v * W;
      return n >= W ? Vec<T>::load(x) : n > 0 ? Vec<T>::load(x, n) : broadcast<Vec<T>>(T(0));
    });
  for (int r = 0; r < MR; ++r)
    for (int j = 0; j < N; ++j) {
      for (int half = VL / 2; half > 0; half /= 2)
        for (int v = 0; v < half; ++v) sum[r][j][v] = sum[r][j][v] + sum[r][j][v + half];
      part[j][r] = sum[r][j][0];
    }
}

// Column j of C, rows [i, i + n), from finished sums.
template <class T>
WENGERT_INLINE void finish_column(const MatMul<T>& p, index_t i, int j, Vec<T> sum, int n) {
  if (p.ldc == 1 && !p.bias) return finish(p, 0, i, sum, n);  // C is one column: as good as a row
  T s[Vec<T>::lanes];
  sum.store(s);
  for (int r = 0; r < n; ++r) {
    if (p.bias) s[r] = s[r] + p.bias[j];
    p.c[(i + r) * p.ldc + j] = s[r];
  }
}

// As many rows as a register has lanes, so that their sums over lanes are taken together; at most `most` at a time.
template <int N, int most, class T>
void dots(const MatMul<T>& p, const T* b, index_t ldb) {
  constexpr int W = Vec<T>::lanes, MR = most < 1 ? 1 : most > W ? W : most > 4 ? most / 4 * 4 : most;
  for (index_t i = 0; i < p.m; i += W) {
    const int rows = static_cast<int>(smaller(W, p.m - i));
    Vec<T> part[N][W];
    int r = 0;
    for (; r + MR <= rows; r += MR) {
      Vec<T> some[N][W];
      dot_rows<MR, N>(p, p.a + (i + r) * p.lda, b, ldb, some);
      for (int j = 0; j < N; ++j)
        for (int q = 0; q < MR; ++q) part[j][r + q] = some[j][q];
    }
    for (; r < W; ++r) {
      Vec<T> some[N][W];
      if (r < rows) dot_rows<1, N>(p, p.a + (i + r) * p.lda, b, ldb, some);
      for (int j = 0; j < N; ++j) part[j][r] = r < rows ? some[j][0] : broadcast<Vec<T>>(T(0));
    }
    for (int j = 0; j < N; ++j)
      finish_column(p, i, j, rows > 1 ? sum_rows(part[j]) : broadcast<Vec<T>>(sum_lanes(part[j][0])), rows);
  }
}

// The same sums for a transposed A, many rows of the result at once: virtual lane l is a vector over rows.
template <int N, class T>
void dots_columns(const MatMul<T>& p, const T* b, index_t ldb) {
  constexpr index_t W = Vec<T>::lanes, L = line<T>, G = 4;  // G lanes at a time
  for (index_t i = 0; i < p.m; i += W) {
    const int rows = static_cast<int>(smaller(W, p.m - i));
    Vec<T> lane[L][N];
    for (index_t l0 = 0; l0 < L; l0 += G) {
      Vec<T> sum[G][N];
      for (int l = 0; l < G; ++l)
        for (int j = 0; j < N; ++j) sum[l][j] = broadcast<Vec<T>>(T(0));
      const auto step = [&](index_t k, int l) {
        const Vec<T> av = Vec<T>::load(p.a + (k + l) * p.lda + i, rows);
        for (int j = 0; j < N; ++j) sum[l][j] = fma(av, broadcast<Vec<T>>(b[j * ldb + k + l]), sum[l][j]);
      };
      index_t k = l0;
      for (; k + G <= p.k; k += L)
#pragma GCC unroll 4
        for (int l = 0; l < G; ++l) step(k, l);
      for (int l = 0; l < G; ++l) {
        if (k + l < p.k) step(k, l);
        for (int j = 0; j < N; ++j) lane[l0 + l][j] = sum[l][j];
      }
    }
    for (int j = 0; j < N; ++j) {
      for (index_t half = L / 2; half > 0; half /= 2)
        for (index_t l = 0; l < half; ++l) lane[l][j] = lane[l][j] + lane[l + half][j];
      finish_column(p, i, j, lane[0][j], rows);
    }
  }
}

template <int N, class T>
void narrow_product(const MatMul<T>& p) {
  const T* b = p.b;
  index_t ldb = p.ldb;
  if (!p.trans_b && !(N == 1 && p.ldb == 1)) {
    T* columns = reinterpret_cast<T*>(workspace().get(p.k * N * index_t{sizeof(T)}));
    if (!columns) return plain<true>(p);
    for (index_t k = 0; k < p.k; ++k)
      for (int j = 0; j < N; ++j) columns[j * p.k + k] = p.b[k * p.ldb + j];
    b = columns, ldb = p.k;
  }
  if (p.trans_a && !(p.m == 1 && p.lda == 1)) {
    dots_columns<N>(p, b, ldb);
  } else {
    // Rows a multiple of half a page apart share few lines of L1, so only a few are read at once.
    constexpr int sums = dot_sums / N, few = sums < 4 ? sums : 4;
    const bool crowded = p.lda * index_t{sizeof(T)} % 2048 == 0;
    crowded ? dots<N, few>(p, b, ldb) : dots<N, sums>(p, b, ldb);
  }
  if (p.activation) activate(p, p.c, p.m, N);
}

template <class T>
void matmul(const MatMul<T>& p) {
  constexpr index_t size = sizeof(T);
  if (p.m <= 0 || p.n <= 0) return;
  switch (p.n) {
    case 1:
      return narrow_product<1>(p);
    case 2:
      return narrow_product<2>(p);
    case 3:
      return narrow_product<3>(p);
    case 4:
      return narrow_product<4>(p);
  }
  if (p.m <= 2) {
    if (!p.trans_b) {
      p.m == 1 ? stream_rows<1>(p, 0) : stream_rows<2>(p, 0);
    } else if (p.n >= Vec<T>::lanes) {
      for (index_t i = 0; i < p.m; ++i) stream_columns(p, i);
    } else {
      return blocked(p, false, true);
    }
    if (p.activation) activate(p, p.c, p.m, p.n);
    return;
  }
  const index_t row_bytes = p.lda * size;
  const bool lies_well = p.trans_a ? row_bytes < page_bytes || p.m <= tile_rows : row_bytes % page_bytes != 0;
  const bool small_l2 = l2_bytes() < large_l2;
  const bool long_rows = !p.trans_a && p.n >= pack_rows_columns && p.k * size >= pack_rows_bytes && small_l2;
  const bool pack_a = p.n >= pack_a_from_columns && (!lies_well || long_rows);
  const bool pack_b = p.trans_b || (p.m >= pack_b_from_rows && p.k * p.n * size >= pack_b_from);
  blocked(p, pack_a, pack_b);
}

}  // namespace
}  // namespace wengert::kernels
