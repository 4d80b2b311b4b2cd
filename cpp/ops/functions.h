// The functions of the library, for rules and for C++ users. Elementwise ones come from the page of derivatives.
// Axes count from the front, or from the back if negative, as in NumPy. Errors name the op and the shapes.
#pragma once
#include "ops/tensor.h"

namespace wengert {

#define UNARY(NAME, DOC, DOMAIN, F, DX) Tensor NAME(const Tensor& x);
#define BINARY(NAME, DOC, DOMAIN, F, DA, DB) Tensor NAME(const Tensor& a, const Tensor& b);
#define TERNARY(NAME, DOC, DOMAIN, F, DA, DB, DC) Tensor NAME(const Tensor& a, const Tensor& b, const Tensor& c);
#define PREDICATE(NAME, DOC, DOMAIN, F) Tensor NAME(const Tensor& a, const Tensor& b);
#include "ops/elementwise.def"

inline Tensor operator-(const Tensor& x) { return negative(x); }
inline Tensor operator+(const Tensor& a, const Tensor& b) { return add(a, b); }
inline Tensor operator-(const Tensor& a, const Tensor& b) { return subtract(a, b); }
inline Tensor operator*(const Tensor& a, const Tensor& b) { return multiply(a, b); }
inline Tensor operator/(const Tensor& a, const Tensor& b) { return divide(a, b); }
inline Tensor operator<(const Tensor& a, const Tensor& b) { return less(a, b); }
inline Tensor operator<=(const Tensor& a, const Tensor& b) { return less_equal(a, b); }
inline Tensor operator>(const Tensor& a, const Tensor& b) { return greater(a, b); }
inline Tensor operator>=(const Tensor& a, const Tensor& b) { return greater_equal(a, b); }
inline Tensor operator==(const Tensor& a, const Tensor& b) { return equal(a, b); }
inline Tensor operator!=(const Tensor& a, const Tensor& b) { return not_equal(a, b); }
inline Tensor operator&(const Tensor& a, const Tensor& b) { return logical_and(a, b); }
inline Tensor operator|(const Tensor& a, const Tensor& b) { return logical_or(a, b); }

using Axes = std::span<const index_t>;
std::vector<index_t> all_axes(const Tensor& x);

// Linear algebra
Tensor matmul(const Tensor& a, const Tensor& b, bool trans_a = false, bool trans_b = false);

// Reductions
Tensor sum(const Tensor& x, Axes axes, bool keepdims = false);
Tensor norm(const Tensor& x, Axes axes, bool keepdims = false);  // sqrt(sum(x^2)), at any scale; derivatives 0 at 0
Tensor mean(const Tensor& x, Axes axes, bool keepdims = false);
Tensor max(const Tensor& x, Axes axes, bool keepdims = false);
Tensor min(const Tensor& x, Axes axes, bool keepdims = false);
Tensor logsumexp(const Tensor& x, Axes axes, bool keepdims = false);
Tensor softmax(const Tensor& x, index_t axis = -1);
Tensor log_softmax(const Tensor& x, index_t axis = -1);
Tensor layer_norm(const Tensor& x, double eps);  // rows of the last axis: (x - mean) / sqrt(variance + eps)
// One loss a row of x[..., classes]: logsumexp(row) - row[label].
Tensor softmax_cross_entropy(const Tensor& x, const Tensor& labels);

Tensor cumulative_prod(const Tensor& x, index_t axis);  // of floats

// Shapes
Tensor cast(const Tensor& x, DType dtype);
Tensor detach(const Tensor& x);  // shares memory, takes no part in differentiation
Tensor copy(const Tensor& x);    // likewise, with memory of its own
const Op& copy_op();
Tensor reshape(const Tensor& x, Shape shape);
Tensor broadcast_to(const Tensor& x, const Shape& shape);
Tensor permute(const Tensor& x, Axes axes);
Tensor transpose(const Tensor& x);  // swaps the last two axes
Tensor concat(std::span<const Tensor> xs, index_t axis);
// y[.., i, .., j, ..] = x[.., i, ..] if i = j, else 0: the new axis j stands at `new_axis` of y. And its transpose.
Tensor embed_diagonal(const Tensor& x, index_t axis, index_t new_axis);
Tensor take_diagonal(const Tensor& y, index_t axis, index_t dropped_axis);

// Indexing
// Every axis from `start` by `step`, `shape[i]` elements; `unslice` puts them back into zeros of `shape`.
Tensor slice(const Tensor& x, std::span<const index_t> start, std::span<const index_t> step, const Shape& shape);
Tensor unslice(const Tensor& x, std::span<const index_t> start, std::span<const index_t> step, const Shape& shape);
// Along `axis`, the entries that the 1-d `indices` name; `scatter_add` adds them up into zeros, `size` long there.
Tensor gather(const Tensor& x, const Tensor& indices, index_t axis);
Tensor scatter_add(const Tensor& x, const Tensor& indices, index_t axis, index_t size);
// `total`, and x added where `slice` or `gather` would take it from: in its memory, if that is nobody else's.
Tensor add_slice(Tensor total, const Tensor& x, std::span<const index_t> start, std::span<const index_t> step);
Tensor add_gathered(Tensor total, const Tensor& x, const Tensor& indices, index_t axis);

// Changes in place
void assign(const Tensor& leaf, const Tensor& value);
const Op& assign_op();  // with `is_initial` as its word it says what a leaf held before its first change
constexpr index_t is_initial = 1;
// One optimizer step for all of these parameters. `numbers` is float64: {lr, momentum, weight_decay} and
// {lr, beta1, beta2, eps, weight_decay}; the velocity may be empty; `steps` counts the steps.
struct SgdSlot {
  Tensor p, g, velocity;
};
void sgd_step(std::span<const SgdSlot> slots, const Tensor& numbers, bool nesterov);
struct AdamSlot {
  Tensor p, g, mean, square, steps;
};
void adam_step(std::span<const AdamSlot> slots, const Tensor& numbers, bool decoupled);

// Random numbers: 1 / (1 - p) with probability 1 - p, else 0. `state` is int64: {key, counter}; each draw counts on, so
// the masks depend on nothing but the key and how many were drawn.
Tensor dropout_mask(const Shape& shape, DType dtype, double p, const Tensor& state);

index_t normalize_axis(const char* op, index_t axis, int ndim);  // from the front; IndexError if out of range

}  // namespace wengert
