#include "ops/map.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "kernels/threads.h"
#include "ops/elementwise.h"
#include "ops/functions.h"
#include "ops/kinks.h"
#include "ops/promote.h"
#include "ops/strides.h"

namespace wengert {
namespace {

constexpr int max_operands = 5;
using Walk = Strides<max_operands>;

// Elements worth a thread. With one operand it is mostly computing that takes time; with more, moving the memory, and
// what fits in the cache of one core is best left there.
index_t parallel_grain(int operands) { return operands > 1 ? 65536 : 32768; }

// Rows that are too short for a call of the kernel each are laid out in the first cache, many at a time.
constexpr index_t short_row = 128, few_rows = 16, tile_size = 1024;

template <class T>
class Tiles {
 public:
  Tiles(const Walk& w, const Array* in, index_t rows) : w_(w), in_(in), rows_(rows) {
    index_t dense = 1;
    for (int d = 0; d < w.ndim; dense *= w.size[d++])
      for (int k = 0; k < w.used(); ++k) {
        is_dense_[k] = (d == 0 || is_dense_[k]) && w.step[k][d] == dense;
        is_scalar_[k] = (d == 0 || is_scalar_[k]) && w.step[k][d] == 0;
      }
  }
  // Operand k along the rows [begin, end), and its step.
  const T* operand(int k, index_t begin, index_t end, index_t& step) {
    const T* x = in_[k].as<T>();
    step = !is_scalar_[k];
    if (is_scalar_[k]) return x;
    const index_t row = w_.size[0], stretch = w_.size[1], along = w_.step[k][1];
    if (is_dense_[k]) return x + begin * row;
    const index_t first = begin % stretch;
    const bool repeats = along == 0 && end - begin <= stretch - first;  // one row all the way
    index_t at[max_operands], count[Shape::max_ndim + 1];
    for (index_t r = begin; r < end;) {
      const index_t in_stretch = r % stretch, n = std::min(stretch - in_stretch, end - r);
      w_.locate(2, r / stretch, at, count);
      const T* from = x + at[k] + in_stretch * along;
      if (repeats && from == laid_[k]) break;
      laid_[k] = repeats ? from : nullptr;
      lay_rows(from, w_.step[k][0], row, along, repeats ? rows_ : n, tile_[k] + (r - begin) * row);
      r += n;
    }
    return tile_[k];
  }

 private:
  const Walk& w_;
  const Array* in_;
  index_t rows_;
  bool is_dense_[max_operands], is_scalar_[max_operands];
  const T* laid_[max_operands] = {};  // the row that fills a tile
  T tile_[max_operands][tile_size];
};

template <class T>
void run_short_rows(kernels::Map<T> f, const Walk& w, const Array* in, index_t rows, T* y) {
  const index_t row = w.size[0], together = tile_size / row;
  parallel_for((rows + together - 1) / together, 64, [&](index_t begin, index_t end) {
    Tiles<T> tiles(w, in, together);
    for (index_t i = begin; i < end; ++i) {
      const index_t first = i * together, last = std::min(rows, first + together);
      const T* from[max_operands];
      index_t step[max_operands];
      for (int k = 0; k < w.used(); ++k) from[k] = tiles.operand(k, first, last, step[k]);
      f(from, step, y + first * row, (last - first) * row);
    }
  });
}

// The commonest case, without index arithmetic: each operand is as large as the result, or one number.
bool is_flat(const Array* in, int n, index_t size, index_t* step) {
  for (int k = 0; k < n; ++k) {
    const index_t own = in[k].data ? in[k].shape->size() : 1;
    step[k] = own == size && in[k].data;
    if (own != size && own != 1) return false;
  }
  return true;
}

template <class T>
void run_map(kernels::Map<T> f, const Array* in, int n, const Array& out) {
  T* y = out.as<T>();
  const index_t size = out.shape->size();
  if (size == 0) return;
  index_t step[max_operands];
  const auto grain = [&] { return parallel_grain(static_cast<int>(std::count(step, step + n, 1))); };
  if (is_flat(in, n, size, step)) {
    parallel_for(size, grain(), [&](index_t begin, index_t end) {
      const T* at[max_operands];
      for (int k = 0; k < n; ++k) at[k] = in[k].as<T>() + begin * step[k];
      f(at, step, y + begin, end - begin);
    });
    return;
  }
  const Walk w = broadcast_strides<max_operands>(in, n, *out.shape);
  for (int k = 0; k < n; ++k) step[k] = w.step[k][0];
  const index_t row = w.size[0];
  if (row < short_row && size / row > few_rows) return run_short_rows(f, w, in, size / row, y);
  parallel_for(size / row, std::max<index_t>(1, grain() / row), [&](index_t begin, index_t end) {
    w.for_each(1, begin, end, [&](index_t i, const index_t* at) {
      const T* from[max_operands];
      for (int k = 0; k < n; ++k) from[k] = in[k].as<T>() + at[k];
      f(from, step, y + i * row, row);
    });
  });
}

// --- the page of derivatives, as objects -----------------------------------------------------------------------
using formula::reads;

template <class F, int k>
Tensor expand(const Tensor* in) {
  if constexpr (F::arity == 1)
    return F::template d<k>(in[0], in[1], in[2]);
  else if constexpr (F::arity == 2)
    return F::template d<k>(in[0], in[1], in[2], in[3]);
  else
    return F::template d<k>(in[0], in[1], in[2], in[3], in[4]);
}

// Bits of the operands and of the result, as Op::reads wants them.
template <class F, int... k>
constexpr unsigned reads_of() {
  constexpr unsigned bits = (reads<F, k>() | ... | 0u);
  constexpr unsigned operands = (1u << F::arity) - 1;
  return (bits & operands) | (bits >> F::arity & 1u ? reads_output : 0u);
}

#define DOMAIN(...) {__VA_ARGS__}
#define DOMAIN2(...) {__VA_ARGS__}
#define DOMAIN3(...) {__VA_ARGS__}
#define PULLBACK(NAME, K, D) \
  {#NAME "'", reads<formula::NAME##_op, K>(), map_##NAME##_d##K, &NAME##_object, expand<formula::NAME##_op, K>, #D}
#define UNARY(NAME, DOC, DOMAIN, F, DX)                                                                            \
  constexpr double NAME##_domain[] = DOMAIN;                                                                       \
  extern const Elementwise NAME##_object;                                                                          \
  const ElementwisePullback NAME##_pullbacks[] = {PULLBACK(NAME, 0, DX)};                                          \
  const Elementwise NAME##_object(#NAME, reads_of<formula::NAME##_op, 0>(), map_##NAME, 1, DOC, #F, NAME##_domain, \
                                  NAME##_pullbacks);
#define BINARY(NAME, DOC, DOMAIN, F, DA, DB)                                                                          \
  constexpr double NAME##_domain[] = DOMAIN;                                                                          \
  extern const Elementwise NAME##_object;                                                                             \
  const ElementwisePullback NAME##_pullbacks[] = {PULLBACK(NAME, 0, DA), PULLBACK(NAME, 1, DB)};                      \
  const Elementwise NAME##_object(#NAME, reads_of<formula::NAME##_op, 0, 1>(), map_##NAME, 2, DOC, #F, NAME##_domain, \
                                  NAME##_pullbacks);
#define TERNARY(NAME, DOC, DOMAIN, F, DA, DB, DC)                                                         \
  constexpr double NAME##_domain[] = DOMAIN;                                                              \
  extern const Elementwise NAME##_object;                                                                 \
  const ElementwisePullback NAME##_pullbacks[] = {PULLBACK(NAME, 0, DA), PULLBACK(NAME, 1, DB),           \
                                                  PULLBACK(NAME, 2, DC)};                                 \
  const Elementwise NAME##_object(#NAME, reads_of<formula::NAME##_op, 0, 1, 2>(), map_##NAME, 3, DOC, #F, \
                                  NAME##_domain, NAME##_pullbacks);
#define PREDICATE(NAME, DOC, DOMAIN, F)      \
  constexpr double NAME##_domain[] = DOMAIN; \
  const Elementwise NAME##_object(#NAME, 0, map_##NAME, 2, DOC, #F, NAME##_domain, {});
#include "ops/elementwise.def"
#undef PULLBACK

}  // namespace

#define UNARY(NAME, DOC, DOMAIN, F, DX) \
  Tensor NAME(const Tensor& x) { return apply(NAME##_object, {&x, 1}); }
#define BINARY(NAME, DOC, DOMAIN, F, DA, DB)      \
  Tensor NAME(const Tensor& a, const Tensor& b) { \
    const Tensor in[] = {a, b};                   \
    return apply(NAME##_object, in);              \
  }
#define TERNARY(NAME, DOC, DOMAIN, F, DA, DB, DC)                  \
  Tensor NAME(const Tensor& a, const Tensor& b, const Tensor& c) { \
    const Tensor in[] = {a, b, c};                                 \
    return apply(NAME##_object, in);                               \
  }
#define PREDICATE(NAME, DOC, DOMAIN, F) BINARY(NAME, DOC, DOMAIN, F, , )
#include "ops/elementwise.def"

std::span<const Elementwise* const> elementwise_ops() {
  static const Elementwise* const all[] = {
#define UNARY(NAME, DOC, DOMAIN, F, DX) &NAME##_object,
#define BINARY(NAME, DOC, DOMAIN, F, DA, DB) &NAME##_object,
#define TERNARY(NAME, DOC, DOMAIN, F, DA, DB, DC) &NAME##_object,
#define PREDICATE(NAME, DOC, DOMAIN, F) &NAME##_object,
#include "ops/elementwise.def"
  };
  return all;
}

const MapOp* as_map(const Op& op) { return op.elementwise ? static_cast<const MapOp*>(&op) : nullptr; }
bool is_add(const Op& op) { return &op == &add_object; }
int first_value(const Elementwise& op) { return &op == &where_object; }

void MapOp::run(const Array* in, int n, const Array& out, Params) const {
  dispatch(out.dtype, [&]<class T>(T) { run_map<T>(kernels::table<T>().map[map], in, n, out); });
}

ElementwisePullback::ElementwisePullback(const char* name, unsigned reads, int map, const Elementwise* op,
                                         Tensor (*f)(const Tensor*), const char* t)
    : MapOp(name, reads, map), of(op), formula(f), text(t), passes_g(std::strcmp(t, "g") == 0) {}

Elementwise::Elementwise(const char* name, unsigned reads, int map, int n, const char* d, const char* t,
                         const double* dom, std::span<const ElementwisePullback> p)
    : MapOp(name, reads, map), arity(n), doc(d), text(t), domain(dom), pullbacks(p) {
  differentiable = !p.empty();
  const std::string_view op = name;
  const auto is_one_of = [op](std::initializer_list<std::string_view> names) {
    return std::find(names.begin(), names.end(), op) != names.end();
  };
  smooths = is_one_of({"square", "multiply", "pow"})   ? Smooths::powers
            : is_one_of({"abs", "relu", "leaky_relu"}) ? Smooths::by_sign
                                                       : Smooths::nothing;
  sign = op == "negative"                     ? Sign::opposite
         : op == "multiply" || op == "divide" ? Sign::product
         : op == "add"                        ? Sign::sum
         : op == "pow"                        ? Sign::power
         : is_one_of({"square", "abs", "exp", "exp2", "cosh", "hypot", "relu", "sigmoid", "softplus"})
             ? Sign::not_negative
             : Sign::unknown;
}

namespace {
// The pullback of `op` to operand k, applied to g: in reverse a cotangent, forward a tangent.
template <class Rule>
Tensor apply_pullback(const Elementwise& op, int k, const Rule& rule, Tensor g) {
  const ElementwisePullback& p = op.pullbacks[static_cast<std::size_t>(k)];
  if (p.passes_g) return g;
  Tensor in[max_operands];
  const Shape* shapes[max_operands];
  int n_shapes = 0;
  for (int i = 0; i <= op.arity; ++i)
    if (p.reads >> i & 1) {
      in[i] = i < op.arity ? rule.input(i) : rule.output();
      shapes[n_shapes++] = &in[i].shape();
    }
  shapes[n_shapes++] = &g.shape();
  const DType dtype = g.dtype();
  Shape shape = broadcast(op.name, {shapes, static_cast<std::size_t>(n_shapes)});
  in[op.arity + 1] = std::move(g);
  return apply(p, {in, static_cast<std::size_t>(op.arity + 2)}, dtype, std::move(shape));
}

// Along the unit arrays, it is what it makes of ones, on a diagonal.
template <class Rule>
Tensor apply_pullback_along(const Elementwise& op, int k, const Rule& rule, Tensor g) {
  const Shape& shape = rule.output_shape();
  const bool sparse = is_basis(g) && rule.input_shape(k) == shape;
  if (!sparse || op.pullbacks[static_cast<std::size_t>(k)].passes_g) return apply_pullback(op, k, rule, std::move(g));
  const Tensor slopes = apply_pullback(op, k, rule, full(g.dtype(), Shape::ones(shape.ndim()), 1));
  const Tensor flat = reshape(broadcast_to(slopes, shape), {shape.size()});
  return reshape(embed_diagonal(flat, 0, 1), rule.batched(shape));
}
}  // namespace

namespace {
// What a rule that is differentiated in turn does instead of its own work, where the op's kinks are none (ops/kinks.h):
// a formula, or a constant slope. Mostly neither.
struct Smooth {
  Tensor formula;
  std::optional<double> slope;
};
template <class Rule>
Smooth smooth(const Elementwise& op, Rule& rule) {
  if (op.smooths == Smooths::by_sign) return {{}, slope_by_sign(op, rule.sign(0))};
  const bool product = op.text == std::string_view("a * b");  // of one operand with itself: others are left unread
  if (product && &rule.input_shape(0) != &rule.input_shape(1)) return {};
  Tensor in[2];
  for (int k = 0; k < op.arity; ++k) in[k] = rule.input(k);
  return {even_power(op, {in, static_cast<std::size_t>(op.arity)}), {}};
}
}  // namespace

void Elementwise::vjp(Pullback& p) const {
  if (smooths != Smooths::nothing && p.recorded()) {
    p.begin_formula();
    const Smooth s = smooth(*this, p);
    p.end_formula(s.formula);
    if (s.formula) return;
    if (s.slope) return p.add_broadcast(0, p.lazy_g() * *s.slope);
  }
  for (int k = 0; k < arity; ++k)
    if (p.needs(k)) p.add_broadcast(k, apply_pullback_along(*this, k, p, p.lazy_g()));
}

Tensor Elementwise::jvp(Pushforward& p) const {
  if (smooths != Smooths::nothing && p.recorded()) {
    p.begin_formula();
    const Smooth s = smooth(*this, p);
    Tensor t = p.end_formula(s.formula);
    if (t) return t;
    if (s.slope) return p.tangent(0) * *s.slope;
  }
  Tensor total;
  for (int k = 0; k < arity; ++k) {
    if (!p.has_tangent(k)) continue;
    Tensor t = p.tangent(k);
    const int missing = p.output_shape().ndim() - p.input_shape(k).ndim();
    if (const int lead = t.ndim() - p.input_shape(k).ndim(); lead && missing) {  // (batch, 1..., shape)
      Shape s = Shape::ones(t.ndim() + missing);
      s[0] = t.shape()[0];
      for (int i = 0; i < p.input_shape(k).ndim(); ++i) s.back(i) = t.shape().back(i);
      t = reshape(t, s);
    }
    t = apply_pullback_along(*this, k, p, std::move(t));
    total = total ? total + t : t;
  }
  return total;
}

// "A zero cotangent contributes zero", at every order: where g is 0 a pullback is 0 whatever its operands are, so they
// get nothing from there, however infinite the derivatives of its formula. What is finite must pass: it is 0 there by
// itself, but its derivative by g is not.
namespace {
// Stands between an operand and the formula: operand 0, whose own cotangent does not pass where operand 1, the g of the
// formula, is 0 and it is infinite or NaN.
struct Gate final : Op {
  Gate() : Op("gate", 2) { alias = true; }
  void run(const Array*, int, const Array&, Params) const override {}
  void vjp(Pullback& p) const override {
    if (p.needs(0)) p.add_broadcast(0, unless_undefined(p.input(1), p.lazy_g(), 0.0));
  }
  Tensor jvp(Pushforward& p) const override {
    return p.has_tangent(0) ? p.tangent(0) : full(p.output_dtype(), p.output_shape(), 0);
  }
};
const Gate gate_op;

Tensor gate(const Tensor& x, const Tensor& g) {
  if (!x.requires_grad()) return x;
  const Shape* shapes[] = {&x.shape(), &g.shape()};
  const Tensor full_x = broadcast_to(x, broadcast("gate", shapes));  // to stop it before broadcasting is undone
  return apply(gate_op, {full_x, g}, x.dtype(), full_x.shape());
}

// The formula of a pullback in place of its kernel.
template <class Rule>
Tensor expand(const ElementwisePullback& op, const Rule& rule) {
  Tensor in[max_operands];
  const int last = rule.n_inputs() - 1;
  in[last] = rule.input(last);
  for (int k = 0; k < last; ++k)
    if (op.reads >> k & 1) in[k] = gate(rule.input(k), in[last]);
  return op.formula(in);
}
}  // namespace

void ElementwisePullback::vjp(Pullback& p) const {
  p.begin_formula();
  p.end_formula(expand(*this, p));
}

// Forwards, what comes out of the formula is looked at instead: without a tangent of its operands, which contribute
// nothing where g is 0, the pullback of g's tangent is left.
Tensor ElementwisePullback::jvp(Pushforward& p) const {
  p.begin_formula();
  const Tensor t = p.end_formula(expand(*this, p));
  Tensor in[max_operands], of_g(0.0);
  const int last = p.n_inputs() - 1;
  bool moves = false;
  for (int k = 0; k < last; ++k) {
    if (!(reads >> k & 1)) continue;
    in[k] = p.input(k);
    moves = moves || p.has_tangent(k);
  }
  if (!moves) return t;
  if (p.has_tangent(last)) {
    in[last] = p.tangent(last);
    of_g = apply(*this, {in, static_cast<std::size_t>(last + 1)}, t.dtype(), t.shape());
  }
  return unless_undefined(p.input(last), t, of_g);
}

Tensor apply(const Elementwise& op, std::span<const Tensor> operands) {
  const auto n = operands.size();
  bool plain = true;  // one float dtype everywhere
  for (const Tensor& t : operands) plain = plain && t.dtype() == operands[0].dtype() && !t.get()->weak;
  plain = plain && is_float(operands[0].dtype());
  bool chosen_from_numbers = false;
  Tensor cast_operands[3];
  if (!plain) {
    const auto first = static_cast<std::size_t>(first_value(op));
    const auto values = operands.subspan(first);
    // As in a formula, where(x > 0, 1, 0) * x: of the dtype of what it meets.
    chosen_from_numbers = first && std::all_of(values.begin(), values.end(), [](auto& t) { return t.get()->weak; });
    const DType dtype = promote_to_float(values);
    bool fits = true;  // numbers beside float64
    for (const Tensor& t : operands) fits = fits && t.dtype() == dtype;
    if (!fits) {
      if (first) cast_operands[0] = cast(cast(operands[0], DType::b8), dtype);  // whether it is 0 must not be rounded
      for (std::size_t k = first; k < n; ++k) cast_operands[k] = cast(operands[k], dtype);
      operands = {cast_operands, n};
    }
  }
  const Shape* shapes[3];
  bool same = true;
  for (std::size_t k = 0; k < n; ++k) {
    shapes[k] = &operands[k].shape();
    same = same && *shapes[k] == *shapes[0];
  }
  const Tensor y = apply(op, operands, operands[0].dtype(), same ? *shapes[0] : broadcast(op.name, {shapes, n}));
  if (chosen_from_numbers) y.get()->weak = true;
  return y;
}

}  // namespace wengert
