// Matrix products. The rules of MatMul{ta, tb} are MatMuls with other flags, so nothing is ever transposed in memory.
#include "ops/matmul.h"

#include <algorithm>

#include "kernels/table.h"
#include "kernels/threads.h"
#include "ops/functions.h"
#include "ops/promote.h"
#include "ops/strides.h"

namespace wengert {
namespace {

enum : index_t { ta = 1, tb = 2 };

struct MatMul final : Op {
  MatMul() : Op("matmul", 3) {
    long_from = index_t{1} << 18;
    takes_turned = true;
  }

  void run(const Array* in, int, const Array& out, Params p) const override {
    const Shape &sa = *in[0].shape, &sb = *in[1].shape, &so = *out.shape;
    const index_t m = so.back(1), n = so.back(0), k = p.word & ta ? sa.back(1) : sa.back(0);
    Strides<2> s;  // of the batch axes, which may be 1 or absent in an operand
    index_t stride[] = {m * k, k * n}, batches = 1;
    for (int i = 2; i < so.ndim(); ++i) {
      index_t by[2];
      for (int j = 0; j < 2; ++j) {
        const Shape& x = *in[j].shape;
        const bool varies = i < x.ndim() && x.back(i) > 1;
        by[j] = varies ? stride[j] : 0;
        if (varies) stride[j] *= x.back(i);
      }
      s.add(so.back(i), by);
      batches *= so.back(i);
    }
    dispatch(out.dtype, [&]<class T>(T) {
      const bool a_turned = in[0].turned, b_turned = in[1].turned;
      const auto product = [&](index_t b, const index_t* at) {
        kernels::MatMul<T> mm{in[0].as<T>() + at[0],
                              in[1].as<T>() + at[1],
                              out.as<T>() + b * m * n,
                              m,
                              n,
                              k,
                              sa.back(a_turned),
                              sb.back(b_turned),
                              n};
        mm.trans_a = bool(p.word & ta) != a_turned;
        mm.trans_b = bool(p.word & tb) != b_turned;
        matmul_parallel(mm);
      };
      // Each thread takes whole products; where there are too few of them, the threads share each.
      const double some_50_us = 6e6 * 4 / sizeof(T), flops = 2.0 * static_cast<double>(std::max<index_t>(1, m * n * k));
      const index_t grain = batches < get_num_threads() ? batches : 1 + static_cast<index_t>(some_50_us / flops);
      parallel_for(batches, grain, [&](index_t begin, index_t end) { s.for_each(0, begin, end, product); });
    });
  }

  // C = AB: dA = G B', dB = A' G, each product in the order that the flags ask for.
  static Tensor da(const Tensor& g, const Tensor& b, index_t f) {
    return f & ta ? matmul(b, g, f & tb, true) : matmul(g, b, false, !(f & tb));
  }
  static Tensor db(const Tensor& a, const Tensor& g, index_t f) {
    return f & tb ? matmul(g, a, true, f & ta) : matmul(a, g, !(f & ta), false);
  }
  // Undoes the broadcasting of batch axes.
  static void add(Pullback& p, int k, Tensor c) {
    const Shape &own = p.input_shape(k), want = p.batched(own);
    const int lead = want.ndim() - own.ndim();
    std::vector<index_t> axes;
    for (int i = 2; i < c.ndim() - lead; ++i)
      if (i >= own.ndim() || (own.back(i) == 1 && c.shape().back(i) != 1)) axes.push_back(-1 - i);
    if (!axes.empty()) c = sum(c, axes, true);
    p.add(k, c.shape() == want ? c : reshape(c, want));
  }
  // Derivatives along the unit arrays are one operand, repeated, on a diagonal: of C = AB, dC_pq / dA_rs = [p = r] B_sq
  // and dC_pq / dB_sr = [q = r] A_ps. `x` is turned to (rows, cols) if need be, repeated along a new axis at
  // `repeated`, and put on the diagonal of axis `axis` and a new one at `at`; the first two axes count the unit arrays.
  static Tensor on_diagonal(const Tensor& x, bool turned, int repeated, index_t times, int axis, int at,
                            Shape batched) {
    const Tensor t = turned ? transpose(x) : x;
    Shape one = Shape::ones(3), full = one;
    for (int i = 0, k = 0; i < 3; ++i) {
      one[i] = i == repeated ? 1 : t.shape()[k];
      full[i] = i == repeated ? times : t.shape()[k++];
    }
    return reshape(embed_diagonal(broadcast_to(reshape(t, one), full), axis, at), std::move(batched));
  }
  void vjp(Pullback& p) const override {
    const index_t f = p.params().word;
    if (is_basis(p.lazy_g()) && p.output_shape().ndim() == 2) {
      const index_t m = p.output_shape()[0], n = p.output_shape()[1];
      const bool a_turned = f & ta, b_turned = f & tb;
      if (p.needs(0))
        p.add(0, on_diagonal(p.input(1), !b_turned, 0, m, 0, a_turned ? 3 : 2, p.batched(p.input_shape(0))));
      if (p.needs(1))
        p.add(1, on_diagonal(p.input(0), a_turned, 1, n, 1, b_turned ? 2 : 3, p.batched(p.input_shape(1))));
      return;
    }
    const Tensor g = p.g();
    if (p.needs(0)) add(p, 0, da(g, p.input(1), f));
    if (p.needs(1)) add(p, 1, db(p.input(0), g, f));
  }
  Tensor jvp(Pushforward& p) const override {
    const index_t f = p.params().word;
    // A tangent's leading axis must stand before all batch axes of the result.
    auto lift = [&](int k) {
      Tensor t = p.tangent(k);
      if (t.ndim() == p.input_shape(k).ndim()) return t;
      Shape s = Shape::ones(p.output_shape().ndim() + 1);
      s[0] = t.shape()[0];
      for (int i = 0; i < p.input_shape(k).ndim(); ++i) s.back(i) = p.input_shape(k).back(i);
      return reshape(t, s);
    };
    // The tangent of operand k by the product's other operand, along the unit arrays or any others.
    auto product = [&](int k) {
      if (!is_basis(p.tangent(k)) || p.output_shape().ndim() != 2)
        return k == 0 ? matmul(lift(0), p.input(1), f & ta, f & tb) : matmul(p.input(0), lift(1), f & ta, f & tb);
      const bool a_turned = f & ta, b_turned = f & tb;
      const int r = k == 0 ? a_turned : !b_turned;  // where the unit arrays count the rows or columns of C
      return on_diagonal(p.input(1 - k), k == 0 ? b_turned : !a_turned, r, p.output_shape()[k], r, 2 + k,
                         p.batched(p.output_shape()));
    };
    Tensor t;
    if (p.has_tangent(0)) t = product(0);
    if (p.has_tangent(1)) {
      Tensor u = product(1);
      t = t ? t + u : u;
    }
    return t;
  }
};
const MatMul matmul_op;

// Of int64, which wraps around as NumPy's does. Both operands are laid out with all batch axes, neither transposed.
struct WholeMatMul final : Op {
  WholeMatMul() : Op("matmul") { differentiable = false; }
  void run(const Array* in, int, const Array& out, Params) const override {
    const index_t m = out.shape->back(1), n = out.shape->back(0), k = in[0].shape->back(0), size = out.shape->size();
    const auto *a = in[0].as<std::uint64_t>(), *b = in[1].as<std::uint64_t>();
    auto* c = out.as<std::uint64_t>();
    std::fill_n(c, size, 0);
    for (index_t batch = 0; batch < size; batch += m * n, a += m * k, b += k * n)
      for (index_t i = 0; i < m; ++i)
        for (index_t j = 0; j < k; ++j)
          for (index_t l = 0; l < n; ++l) c[batch + i * n + l] += a[i * k + j] * b[j * n + l];
  }
  void vjp(Pullback&) const override {}
  Tensor jvp(Pushforward&) const override { return {}; }
};
const WholeMatMul whole_matmul_op;

[[noreturn]] void refuse(const Tensor& a, const Tensor& b, const std::string& why) {
  throw std::invalid_argument("matmul: " + a.shape().str() + " @ " + b.shape().str() + ": " + why);
}

}  // namespace

bool is_matmul(const Op& op) { return &op == &matmul_op; }
std::pair<bool, bool> matmul_flags(index_t word) { return {word & ta, word & tb}; }
index_t matmul_turning(index_t word, std::size_t k) { return word ^ (k == 0 ? ta : tb); }

Tensor matmul(const Tensor& a, const Tensor& b, bool trans_a, bool trans_b) {
  if (a.dtype() != b.dtype() || a.dtype() == DType::b8) {
    const DType t = promote(a.dtype(), b.dtype());
    if (t == DType::b8) return cast(matmul(cast(a, DType::i64), cast(b, DType::i64), trans_a, trans_b), t);
    return matmul(cast(a, t), cast(b, t), trans_a, trans_b);
  }
  if (a.ndim() == 0 || b.ndim() == 0) refuse(a, b, "operands need at least one axis; use * for numbers");
  if (a.ndim() == 1 || b.ndim() == 1) {  // vectors are rows on the left, columns on the right
    const Tensor a2 = a.ndim() == 1 ? reshape(a, {1, a.shape()[0]}) : a;
    const Tensor b2 = b.ndim() == 1 ? reshape(b, {b.shape()[0], 1}) : b;
    const bool fa = a.ndim() > 1 && trans_a, fb = b.ndim() > 1 && trans_b;
    if (a2.shape().back(fa ? 1 : 0) != b2.shape().back(fb ? 0 : 1))
      refuse(a, b,
             "inner sizes " + std::to_string(a2.shape().back(fa ? 1 : 0)) + " and " +
                 std::to_string(b2.shape().back(fb ? 0 : 1)) + " differ");
    const Tensor c = matmul(a2, b2, fa, fb);
    std::vector<index_t> dims(c.shape().begin(), c.shape().end());
    if (b.ndim() == 1) dims.pop_back();
    if (a.ndim() == 1) dims.erase(dims.end() - (b.ndim() == 1 ? 1 : 2));
    return reshape(c, Shape(dims));
  }
  const index_t m = a.shape().back(trans_a ? 0 : 1), k = a.shape().back(trans_a ? 1 : 0);
  const index_t kb = b.shape().back(trans_b ? 0 : 1), n = b.shape().back(trans_b ? 1 : 0);
  if (k != kb) refuse(a, b, "inner sizes " + std::to_string(k) + " and " + std::to_string(kb) + " differ");
  if (a.ndim() > 2 && b.ndim() == 2 && !trans_a) {  // one tall product instead of many
    index_t rows = 1;
    for (int i = 1; i < a.ndim(); ++i) rows *= a.shape().back(i);
    Shape out = a.shape();
    out.back(0) = n;
    return reshape(matmul(reshape(a, {rows, k}), b, false, trans_b), out);
  }
  const Shape batch_a(std::span(a.shape().begin(), a.shape().end() - 2));
  const Shape batch_b(std::span(b.shape().begin(), b.shape().end() - 2));
  const Shape* batches[] = {&batch_a, &batch_b};
  Shape batch;
  try {
    batch = broadcast("matmul", batches);
  } catch (const std::invalid_argument&) {
    refuse(a, b, "batch axes do not broadcast");
  }
  Shape out = Shape::ones(batch.ndim() + 2);
  std::copy(batch.begin(), batch.end(), out.begin());
  out.back(1) = m;
  out.back(0) = n;
  if (!is_float(a.dtype())) {
    const auto laid_out = [&](const Tensor& x, bool turned) {
      Shape full = out;
      full.back(1) = x.shape().back(turned ? 0 : 1);
      full.back(0) = x.shape().back(turned ? 1 : 0);
      return broadcast_to(turned ? transpose(x) : x, full);
    };
    return apply(whole_matmul_op, {laid_out(a, trans_a), laid_out(b, trans_b)}, a.dtype(), out);
  }
  return apply(matmul_op, {a, b}, a.dtype(), std::move(out), (trans_a ? index_t{ta} : 0) | (trans_b ? index_t{tb} : 0));
}

}  // namespace wengert
