// The kernel table: every kernel of one instruction set and one float type, as plain function
// pointers. It is all that ops, engine and benchmarks see of the kernels; which ISA stands behind it
// is decided once, at load (select.cpp). Kernels know pointers and sizes, never shapes or tapes.
//
// All arrays are dense and row-major. No pointer needs any alignment; lengths may be zero.
#pragma once
#include <cstdint>

namespace wengert {
using index_t = std::int64_t;

// One entry per elementwise function: each op of ops/elementwise.def, then each of its pullbacks.
enum MapId : int {
#define UNARY(NAME, DOC, DOMAIN, F, DX) map_##NAME, map_##NAME##_d0,
#define BINARY(NAME, DOC, DOMAIN, F, DA, DB) map_##NAME, map_##NAME##_d0, map_##NAME##_d1,
#define TERNARY(NAME, DOC, DOMAIN, F, DA, DB, DC) map_##NAME, map_##NAME##_d0, map_##NAME##_d1, map_##NAME##_d2,
#define PREDICATE(NAME, DOC, DOMAIN, F) map_##NAME,
#include "ops/elementwise.def"
  n_maps
};

namespace kernels {

// y[i] = f(in[0][i*step[0]], in[1][i*step[1]], ...); a step is 1, or 0 for a broadcast scalar.
// A pullback's inputs are (operands..., y, g); those its formula does not read may be null.
// `out` may be one of the inputs (same index), never a shifted overlap.
template <class T>
using Map = void (*)(const T* const* in, const index_t* step, T* out, index_t n);

// C[m,n] = op(A)[m,k] op(B)[k,n]; lda, ldb, ldc are row lengths of the arrays as stored:
// A is stored (m,k), or (k,m) with trans_a; B is stored (k,n), or (n,k) with trans_b.
// Then C += bias[n] (if any), then C = activation(C) (if any): a unary map, or one of C and `operand`, an array laid
// out like C; `c_at` and `operand_at` say which inputs of the map they are. Every element is one sum over k in an order
// that depends on k and n alone.
template <class T>
struct MatMul {
  const T* a;
  const T* b;
  T* c;
  index_t m, n, k, lda, ldb, ldc;
  bool trans_a = false, trans_b = false;
  const T* bias = nullptr;
  Map<T> activation = nullptr;
  const T* operand = nullptr;
  int c_at = 0, operand_at = 0;
};

// In place. SGD: d = g + weight_decay p; v = momentum v + d; p -= lr (nesterov ? d + momentum v : v).
// Without momentum, v may be null.
template <class T>
struct Sgd {
  T* p;
  const T* g;
  T* v;
  index_t n;
  double lr, momentum, weight_decay;
  bool nesterov;
};

// In place. Adam (Kingma & Ba 2015); decoupled: AdamW (Loshchilov & Hutter 2019).
// m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2; p -= lr (m/correction1) / (sqrt(v/correction2) + eps),
// with correction_i = 1 - b_i^t. Weight decay adds weight_decay p to g, or, decoupled, p *= 1 - lr weight_decay.
template <class T>
struct Adam {
  T* p;
  const T* g;
  T* m;
  T* v;
  index_t n;
  double lr, beta1, beta2, eps, weight_decay, correction1, correction2;
  bool decoupled;
};

template <class T>
struct Table {
  const char* isa;
  Map<T> map[n_maps];

  void (*matmul)(const MatMul<T>&);

  // Reduce the middle axis of x[outer, n, stride] to y[outer, stride], of which only the first `inner` columns: a part
  // of the columns has the bits that all of them have. n = 0 gives sum 0; max and min need n >= 1 and give NaN where
  // any element is NaN.
  void (*sum)(const T* x, T* y, index_t outer, index_t n, index_t inner, index_t stride);
  void (*norm)(const T* x, T* y, index_t outer, index_t n, index_t inner, index_t stride);  // at any scale
  void (*max)(const T* x, T* y, index_t outer, index_t n, index_t inner, index_t stride);
  void (*min)(const T* x, T* y, index_t outer, index_t n, index_t inner, index_t stride);

  // Rows of x[rows, n]; logsumexp gives y[rows], cross_entropy gives loss[rows] = logsumexp(x) - x[label].
  void (*logsumexp)(const T* x, T* y, index_t rows, index_t n);
  void (*softmax)(const T* x, T* y, index_t rows, index_t n);
  void (*log_softmax)(const T* x, T* y, index_t rows, index_t n);
  void (*softmax_pullback)(const T* y, const T* g, T* dx, index_t rows, index_t n);      // y (g - <g, y>)
  void (*log_softmax_pullback)(const T* y, const T* g, T* dx, index_t rows, index_t n);  // g - exp(y) sum(g)
  void (*cross_entropy)(const T* x, const index_t* label, T* loss, index_t rows, index_t n);
  void (*cross_entropy_pullback)(const T* x, const index_t* label, const T* g, T* dx, index_t rows, index_t n);

  void (*layer_norm)(const T* x, T* y, index_t rows, index_t n, double eps);  // (x - mean) / sqrt(variance + eps)
  void (*layer_norm_pullback)(const T* x, const T* g, T* dx, index_t rows, index_t n, double eps);

  void (*transpose)(const T* x, T* y, index_t batch, index_t rows, index_t cols);  // y[b, c, r] = x[b, r, c]

  // Rows of `width` elements: y[i] = x[index[i]];  y[index[i]] += x[i], in the order of i. Indices are in range.
  void (*gather)(const T* x, const index_t* index, T* y, index_t n, index_t width);
  void (*scatter_add)(const T* x, const index_t* index, T* y, index_t n, index_t width);

  void (*sgd)(const Sgd<T>&);
  void (*adam)(const Adam<T>&);
};

// The table of the chosen ISA: WENGERT_ISA if set, else the best that this CPU runs.
template <class T>
const Table<T>& table();
// The table of a named ISA, or null if it is not in this build or this CPU lacks it.
template <class T>
const Table<T>* table(const char* isa);

}  // namespace kernels
}  // namespace wengert
