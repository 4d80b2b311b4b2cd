// Elementwise kernels: every formula of ops/elementwise.def, and every pullback, as a loop over lanes.
#pragma once
#include "kernels/gamma.h"
#include "kernels/math.h"
#include "kernels/special.h"
#include "kernels/table.h"
#include "kernels/trig.h"
#include "ops/elementwise.h"

namespace wengert::kernels {
namespace {

constexpr int max_inputs = 5;  // a ternary pullback: three operands, y and g

// What a map computes, on lanes.
template <class Op>
struct Forward {
  static constexpr int inputs = Op::arity;
  static constexpr unsigned reads = (1u << inputs) - 1;
  template <class V>
  static WENGERT_INLINE V apply(const V* x) {
    if constexpr (inputs == 1)
      return Op::f(x[0]);
    else if constexpr (inputs == 2)
      return Op::f(x[0], x[1]);
    else
      return Op::f(x[0], x[1], x[2]);
  }
};

// Slopes that lanes have better than the page: there the formula stands for the tape, which differentiates it again.
WENGERT_INLINE auto slope(formula::gelu_op, auto x) { return gelu_slope(x); }
WENGERT_INLINE auto slope(formula::gelu_tanh_op, auto x) { return gelu_tanh_slope(x); }
WENGERT_INLINE auto slope(formula::mish_op, auto x) { return mish_slope(x); }
WENGERT_INLINE auto slope(formula::silu_op, auto x) { return silu_slope(x); }
// In double, of what loses digits once more when squared.
WENGERT_INLINE F64 slope(formula::atan_op, F64 x) {
  const F64 y = 1.0 / x;
  return where(abs(x) > 0x1p60, y * y, 1.0 / fma(x, x, 1.0));
}
WENGERT_INLINE F32 slope(formula::atan_op, F32 x) {
  const F32 y = 1.0 / x;
  return where(abs(x) > 0x1p30, y * y, 1.0 / fma(x, x, 1.0));
}
WENGERT_INLINE auto slope(formula::atanh_op, auto x) { return 1.0 / ((1.0 - x) * (1.0 + x)); }
// And by the first operand of two.
WENGERT_INLINE auto slope(formula::pow_op, auto a, auto b) {
  const auto y = pow_slope(abs(a), b);
  return where(a > 0.0, y, where((a == 0.0) & (b == 0.0), 0.0, b * pow(a, b - 1.0)));
}

template <class Op, int k>
struct Pullback {
  static constexpr int inputs = Op::arity + 2;
  static constexpr unsigned reads = formula::reads<Op, k>();
  template <class V>
  static WENGERT_INLINE V derivative(const V* x) {
    if constexpr (requires { slope(Op{}, x[0]); })
      return x[inputs - 1] * slope(Op{}, x[0]);
    else if constexpr (k == 0 && requires { slope(Op{}, x[0], x[1]); })
      return x[inputs - 1] * slope(Op{}, x[0], x[1]);
    else if constexpr (inputs == 3)
      return Op::template d<k>(x[0], x[1], x[2]);
    else if constexpr (inputs == 4)
      return Op::template d<k>(x[0], x[1], x[2], x[3]);
    else
      return Op::template d<k>(x[0], x[1], x[2], x[3], x[4]);
  }
  template <class V>
  static WENGERT_INLINE V apply(const V* x) {
    constexpr unsigned g = 1u << (inputs - 1);
    // A zero cotangent contributes zero, also where the local derivative is infinite or NaN.
    if constexpr (reads & ~g)
      return where(x[inputs - 1] == 0.0, 0.0, derivative(x));
    else
      return derivative(x);
  }
};

// `count` full vectors. Input k advances by `advance[k]` elements a vector: 0 for a broadcast scalar.
template <class T>
using Strip = void (*)(const T* const* in, const index_t* advance, T* out, index_t count);

template <class T, class F>
__attribute__((noinline)) void strip(const T* const* in, const index_t* advance, T* out, index_t count) {
  const T* p[F::inputs];
  index_t by[F::inputs];
  for (int k = 0; k < F::inputs; ++k) p[k] = in[k], by[k] = advance[k];
  for (index_t i = 0; i < count; ++i, out += Vec<T>::lanes) {
    Vec<T> x[F::inputs];
    for (int k = 0; k < F::inputs; ++k) {
      if (!(F::reads >> k & 1)) continue;
      x[k] = Vec<T>::load(p[k]);
      p[k] += by[k];
    }
    F::apply(x).store(out);
  }
}

// Results that no cache will hold go past the caches, by way of a strip in L1: storing them directly would first read
// what they overwrite.
constexpr index_t far_bytes = index_t{1} << 24;

template <class T>
__attribute__((noinline)) void run_far(Strip<T> body, int inputs, const T* const* in, const index_t* advance, T* out,
                                       index_t count) {
  constexpr int lanes = Vec<T>::lanes;
  constexpr index_t strip_count = 4096 / vector_bytes;
  T near[strip_count * lanes];
  const T* from[max_inputs];
  for (int k = 0; k < inputs; ++k) from[k] = in[k];
  for (index_t i = 0; i < count; i += strip_count, out += strip_count * lanes) {
    const index_t now = count - i < strip_count ? count - i : strip_count;
    body(from, advance, near, now);
    for (int k = 0; k < inputs; ++k)
      if (advance[k]) from[k] += advance[k] * now;
    for (index_t j = 0; j < now; ++j) stream(out + j * lanes, Vec<T>::load(near + j * lanes));
  }
  stream_end();
}

// Runs a strip over n elements. Broadcast scalars and the last few elements go through a register's worth of stack,
// so that there is one body, which knows neither and never touches anything outside of the arrays.
template <class T>
__attribute__((noinline)) void run(Strip<T> body, unsigned reads, int inputs, const T* const* in, const index_t* step,
                                   T* out, index_t n) {
  constexpr int lanes = Vec<T>::lanes;
  if (n <= 0) return;
  const T* from[max_inputs];
  const bool far = n * static_cast<index_t>(sizeof(T)) >= far_bytes;
  const auto apart = reinterpret_cast<std::uintptr_t>(out) % vector_bytes;
  if (far && apart && apart % sizeof(T) == 0) {  // to where a register's worth starts
    const auto head = static_cast<index_t>((vector_bytes - apart) / sizeof(T));
    run(body, reads, inputs, in, step, out, head);
    for (int k = 0; k < inputs; ++k) from[k] = in[k] ? in[k] + step[k] * head : nullptr;
    return run(body, reads, inputs, from, step, out + head, n - head);
  }
  T copy[max_inputs][lanes];
  index_t advance[max_inputs];
  for (int k = 0; k < inputs; ++k) {
    from[k] = nullptr, advance[k] = 0;
    if (!(reads >> k & 1)) continue;
    from[k] = in[k], advance[k] = step[k] * lanes;
    if (!advance[k]) {
      for (int j = 0; j < lanes; ++j) copy[k][j] = *in[k];
      from[k] = copy[k];
    }
  }
  const index_t full = n / lanes;
  if (far && !apart)
    run_far(body, inputs, from, advance, out, full);
  else if (full)
    body(from, advance, out, full);
  const int rest = static_cast<int>(n - full * lanes);
  if (!rest) return;
  for (int k = 0; k < inputs; ++k)
    if (advance[k]) {
      Vec<T>::load(from[k] + full * lanes, rest).store(copy[k]);
      from[k] = copy[k];
    }
  T last[lanes];
  body(from, advance, last, 1);
  Vec<T>::load(last).store(out + full * lanes, rest);
}

template <class T, class F>
void map(const T* const* in, const index_t* step, T* out, index_t n) {
  run<T>(strip<T, F>, F::reads, F::inputs, in, step, out, n);
}

}  // namespace
}  // namespace wengert::kernels
