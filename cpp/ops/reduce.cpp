// Reductions over any axes, and the softmax family and layer norm over the last.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/table.h"
#include "kernels/threads.h"
#include "ops/functions.h"

namespace wengert {

std::vector<index_t> all_axes(const Tensor& x) {
  std::vector<index_t> axes(static_cast<std::size_t>(x.ndim()));
  std::iota(axes.begin(), axes.end(), 0);
  return axes;
}

namespace {

// Axes as bits, counted from the end: the same word holds under extra leading axes.
index_t axes_word(const char* op, const Tensor& x, Axes axes) {
  index_t word = 0;
  for (index_t a : axes) {
    const index_t bit = index_t{1} << (x.ndim() - 1 - normalize_axis(op, a, x.ndim()));
    if (word & bit) throw std::invalid_argument(std::string(op) + ": axis " + std::to_string(a) + " is named twice");
    word |= bit;
  }
  return word;
}
Shape reduced(const Shape& s, index_t word, bool keepdims) {
  std::vector<index_t> dims;
  for (int i = s.ndim() - 1; i >= 0; --i) {
    if (!(word >> i & 1))
      dims.push_back(s.back(i));
    else if (keepdims)
      dims.push_back(1);
  }
  return Shape(dims);
}
index_t reduced_size(const Shape& s, index_t word) {
  index_t n = 1;
  for (int i = 0; i < s.ndim(); ++i)
    if (word >> i & 1) n *= s.back(i);
  return n;
}

// As [outer, n, inner] with the reduced axes in the middle; false if they are not neighbours.
struct Blocks {
  index_t outer = 1, n = 1, inner = 1;
};
bool as_blocks(const Shape& s, index_t word, Blocks& b) {
  int stage = 0;  // inner, n, outer
  for (int i = 0; i < s.ndim(); ++i) {
    const index_t d = s.back(i);
    if (d == 1) continue;
    const bool reduced = word >> i & 1;
    if (stage == 0 && reduced) stage = 1;
    if (stage == 1 && !reduced) stage = 2;
    if (stage == 2 && reduced) return false;
    (stage == 0 ? b.inner : stage == 1 ? b.n : b.outer) *= d;
  }
  return true;
}

template <class T>
using ReduceKernel = void (*)(const T*, T*, index_t, index_t, index_t, index_t);

// Whole numbers and booleans, over the middle axis of b: never by way of floats.
template <class T, class F>
void fold(const T* x, T* y, const Blocks& b, F&& f) {
  for (index_t o = 0; o < b.outer; ++o, y += b.inner) {
    std::fill_n(y, b.inner, T{});  // of nothing
    for (index_t i = 0; i < b.n; ++i, x += b.inner)
      for (index_t j = 0; j < b.inner; ++j) y[j] = i ? f(y[j], x[j]) : x[j];
  }
}

struct Reduce : Op {
  using Op::Op;
  virtual ReduceKernel<float> kernel(float) const = 0;
  virtual ReduceKernel<double> kernel(double) const = 0;
  virtual index_t whole(index_t, index_t) const { return 0; }  // of two whole numbers, if it takes any
  void run(const Array* in, int, const Array& out, Params p) const final {
    constexpr index_t columns = 128;  // as many as a kernel takes at a time
    Blocks b;
    as_blocks(*in[0].shape, p.word, b);
    const auto of_two = [this](auto x, auto y) { return static_cast<decltype(x)>(whole(x, y)); };
    if (out.dtype == DType::i64) return fold(in[0].as<index_t>(), out.as<index_t>(), b, of_two);
    if (out.dtype == DType::b8) return fold(in[0].as<bool>(), out.as<bool>(), b, of_two);
    dispatch(out.dtype, [&]<class T>(T) {
      ReduceKernel<T> f = kernel(T{});
      if (b.outer > 1) {
        parallel_for(b.outer, std::max<index_t>(1, 32768 / std::max<index_t>(1, b.n * b.inner)),
                     [&](index_t begin, index_t end) {
                       f(in[0].as<T>() + begin * b.n * b.inner, out.as<T>() + begin * b.inner, end - begin, b.n,
                         b.inner, b.inner);
                     });
      } else if (b.inner > columns && b.n * b.inner >= 65536) {
        // Blocks of columns, as wide as there are threads for: along a row, memory is read in one stretch.
        const index_t blocks = (b.inner + columns - 1) / columns, threads = get_num_threads();
        parallel_for(blocks, (blocks + threads - 1) / threads, [&](index_t begin, index_t end) {
          const index_t first = begin * columns, width = std::min(b.inner, end * columns) - first;
          f(in[0].as<T>() + first, out.as<T>() + first, b.outer, b.n, width, b.inner);
        });
      } else {
        f(in[0].as<T>(), out.as<T>(), b.outer, b.n, b.inner, b.inner);
      }
    });
  }
  // g of the result's shape, with ones where axes were summed away: it broadcasts against the operand.
  static Tensor spread(const Tensor& g, const Shape& in, index_t word, bool batch) {
    Shape s = Shape::ones(in.ndim() + batch);
    if (batch) s[0] = g.shape()[0];
    int from = 0;
    for (int i = 0; i < in.ndim(); ++i)
      if (!(word >> i & 1)) s.back(i) = g.shape().back(from++);
    return reshape(g, s);
  }
  static Tensor spread_g(const Pullback& p) {
    return spread(p.lazy_g(), p.input_shape(0), p.params().word, p.batched({}).ndim() > 0);
  }
  static std::vector<index_t> axes(index_t word) {
    std::vector<index_t> a;
    for (int i = 0; i < Shape::max_ndim; ++i)
      if (word >> i & 1) a.push_back(-1 - i);
    return a;
  }
};

struct Sum final : Reduce {
  Sum() : Reduce("sum") { sign = Sign::as_operand; }
  ReduceKernel<float> kernel(float) const override { return kernels::table<float>().sum; }
  ReduceKernel<double> kernel(double) const override { return kernels::table<double>().sum; }
  index_t whole(index_t a, index_t b) const override {  // wraps around, as NumPy's
    return static_cast<index_t>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
  }
  void vjp(Pullback& p) const override { p.add(0, spread_g(p)); }
  Tensor jvp(Pushforward& p) const override { return sum(p.tangent(0), axes(p.params().word)); }
};
const Sum sum_op;

// Its derivative is x / norm: not by way of the square, which leaves the range long before x does.
struct Norm final : Reduce {
  Norm() : Reduce("norm", 1 | reads_output) { sign = Sign::not_negative; }
  Tensor squared(const Tensor&, const Origin& from) const override {
    return sum(square(from.operands[0]), axes(from.params.word));
  }
  ReduceKernel<float> kernel(float) const override { return kernels::table<float>().norm; }
  ReduceKernel<double> kernel(double) const override { return kernels::table<double>().norm; }
  static Tensor direction(const Tensor& x, const Tensor& y, index_t word) {
    return x / spread(where(y == 0.0, 1.0, y), x.shape(), word, false);
  }
  void vjp(Pullback& p) const override {
    const Tensor x = p.input(0), y = p.output();
    const index_t word = p.params().word;
    p.add(0, where(spread(y, x.shape(), word, false) == 0.0, 0.0, spread_g(p)) * direction(x, y, word));
  }
  Tensor jvp(Pushforward& p) const override {
    const index_t word = p.params().word;
    const Tensor y = p.output();
    return where(y == 0.0, 0.0, sum(p.tangent(0) * direction(p.input(0), y, word), axes(word)));
  }
};
const Norm norm_op;

// The cotangent is split evenly over ties; NaN elements of a NaN maximum get 1 each.
struct Extremum final : Reduce {
  bool greatest;
  explicit Extremum(bool g) : Reduce(g ? "max" : "min", 1 | reads_output), greatest(g) {}
  ReduceKernel<float> kernel(float) const override {
    return greatest ? kernels::table<float>().max : kernels::table<float>().min;
  }
  ReduceKernel<double> kernel(double) const override {
    return greatest ? kernels::table<double>().max : kernels::table<double>().min;
  }
  index_t whole(index_t a, index_t b) const override { return greatest ? std::max(a, b) : std::min(a, b); }
  // 1 where x attains y, shared out.
  static Tensor shares(const Tensor& x, const Tensor& y, index_t word) {
    const Tensor y1 = spread(y, x.shape(), word, false);
    const Tensor nan = x != x;
    const Tensor hit = x == y1;
    return nan + hit / maximum(sum(hit, axes(word), true), 1.0);
  }
  void vjp(Pullback& p) const override { p.add(0, spread_g(p) * shares(p.input(0), p.output(), p.params().word)); }
  Tensor jvp(Pushforward& p) const override {
    const index_t word = p.params().word;
    return sum(p.tangent(0) * shares(p.input(0), p.output(), word), axes(word));
  }
};
const Extremum max_op(true), min_op(false);

Tensor reduce(const Reduce& op, const Tensor& x, Axes axes, bool keepdims) {
  if (&op == &sum_op && x.dtype() == DType::b8) return reduce(op, cast(x, DType::i64), axes, keepdims);
  const index_t word = axes_word(op.name, x, axes);
  if ((&op == &max_op || &op == &min_op) && reduced_size(x.shape(), word) == 0 && x.size() == 0 &&
      reduced(x.shape(), word, false).size())
    throw std::invalid_argument(std::string(op.name) + ": axis of size 0 in shape " + x.shape().str() + " has no " +
                                (op.name[1] == 'a' ? "largest" : "smallest") + " element");
  Tensor y;
  if (Blocks b; !as_blocks(x.shape(), word, b)) {  // move the reduced axes to the end
    std::vector<index_t> perm, last;
    for (int i = 0; i < x.ndim(); ++i) (word >> (x.ndim() - 1 - i) & 1 ? last : perm).push_back(i);
    const auto n_last = last.size();
    perm.insert(perm.end(), last.begin(), last.end());
    std::vector<index_t> tail(n_last);
    for (std::size_t i = 0; i < n_last; ++i) tail[i] = -1 - static_cast<index_t>(i);
    y = reduce(op, permute(x, perm), tail, false);
  } else {
    y = apply(op, {x}, x.dtype(), reduced(x.shape(), word, false), word);
  }
  return keepdims ? reshape(y, reduced(x.shape(), word, true)) : y;
}

// --- rows: the last axis ---------------------------------------------------------------------------------------
template <class F>
void over_rows(const Shape& shape, F&& f) {
  const index_t n = shape.ndim() ? shape.back(0) : 1, rows = n ? shape.size() / n : 0;
  parallel_for(rows, std::max<index_t>(1, 4096 / std::max<index_t>(1, n)),
               [&](index_t begin, index_t end) { f(begin, end - begin, n); });
}

// p (t - <p, t>): the Jacobian of softmax is symmetric, so this is its rule in both modes.
Tensor softmax_rule(const Tensor& p, const Tensor& t) {
  const index_t last[] = {-1};
  return p * (t - sum(p * t, last, true));
}

struct SoftmaxPullback final : Op {
  SoftmaxPullback() : Op("softmax'", 3) {}
  void run(const Array* in, int, const Array& out, Params) const override {
    dispatch(out.dtype, [&]<class T>(T) {
      over_rows(*out.shape, [&](index_t r, index_t rows, index_t n) {
        kernels::table<T>().softmax_pullback(in[0].as<T>() + r * n, in[1].as<T>() + r * n, out.as<T>() + r * n, rows,
                                             n);
      });
    });
  }
  void vjp(Pullback& p) const override {
    p.begin_formula();
    p.end_formula(softmax_rule(p.input(0), p.input(1)));
  }
  Tensor jvp(Pushforward& p) const override {
    p.begin_formula();
    return p.end_formula(softmax_rule(p.input(0), p.input(1)));
  }
};
const SoftmaxPullback softmax_pullback;

Tensor apply_softmax_pullback(const Tensor& y, const Tensor& t) {
  if (y.shape() == t.shape()) return apply(softmax_pullback, {y, t}, y.dtype(), y.shape());
  return softmax_rule(y, t);
}

struct Softmax final : Op {
  Softmax() : Op("softmax", reads_output) {}
  void run(const Array* in, int, const Array& out, Params) const override {
    dispatch(out.dtype, [&]<class T>(T) {
      over_rows(*out.shape, [&](index_t r, index_t rows, index_t n) {
        kernels::table<T>().softmax(in[0].as<T>() + r * n, out.as<T>() + r * n, rows, n);
      });
    });
  }
  void vjp(Pullback& p) const override { p.add(0, apply_softmax_pullback(p.output(), p.g())); }
  Tensor jvp(Pushforward& p) const override { return apply_softmax_pullback(p.output(), p.tangent(0)); }
};
const Softmax softmax_op;

// y = x - logsumexp(x): dx = g - softmax sum(g).
struct LogSoftmax final : Op {
  LogSoftmax() : Op("log_softmax", reads_output) {}
  void run(const Array* in, int, const Array& out, Params) const override {
    dispatch(out.dtype, [&]<class T>(T) {
      over_rows(*out.shape, [&](index_t r, index_t rows, index_t n) {
        kernels::table<T>().log_softmax(in[0].as<T>() + r * n, out.as<T>() + r * n, rows, n);
      });
    });
  }
  void vjp(Pullback& p) const override {
    const index_t last[] = {-1};
    const Tensor g = p.g();
    p.add(0, g - exp(p.output()) * sum(g, last, true));
  }
  Tensor jvp(Pushforward& p) const override {
    const index_t last[] = {-1};
    const Tensor t = p.tangent(0);
    return t - sum(exp(p.output()) * t, last, true);
  }
};
const LogSoftmax log_softmax_op;

// Its derivative is softmax(x); 0 where all of x is -inf. Not exp(x - y), which magnifies the rounding of y.
struct LogSumExp final : Op {
  LogSumExp() : Op("logsumexp", 1 | reads_output) {}
  void run(const Array* in, int, const Array& out, Params) const override {
    dispatch(out.dtype, [&]<class T>(T) {
      if (in[0].shape->back(0) == 0) std::fill_n(out.as<T>(), out.shape->size(), -std::numeric_limits<T>::infinity());
      over_rows(*in[0].shape, [&](index_t r, index_t rows, index_t n) {
        kernels::table<T>().logsumexp(in[0].as<T>() + r * n, out.as<T>() + r, rows, n);
      });
    });
  }
  static Tensor weights(const Tensor& x, const Tensor& y) {
    return where(Reduce::spread(y, x.shape(), 1, false) == -__builtin_inf(), 0.0, softmax(x));
  }
  void vjp(Pullback& p) const override {
    p.add(0,
          Reduce::spread(p.lazy_g(), p.input_shape(0), 1, p.batched({}).ndim() > 0) * weights(p.input(0), p.output()));
  }
  Tensor jvp(Pushforward& p) const override {
    const index_t last[] = {-1};
    return sum(p.tangent(0) * weights(p.input(0), p.output()), last);
  }
};
const LogSumExp logsumexp_op;

// y = (x - mean) / sqrt(variance + eps). Its Jacobian is symmetric too: one rule for both modes. The word holds eps.
// Deviations are squared in units of the largest, as their own squares may leave the range; the unit cancels.
Tensor layer_norm_rule(const Tensor& x, const Tensor& t, double eps) {
  const index_t last[] = {-1};
  const Tensor y = layer_norm(x, eps), d = x - mean(x, last, true);
  const double root = std::sqrt(eps), least = x.dtype() == DType::f32 ? 0x1p-124 : 0x1p-1020;
  const Tensor unit = detach(max(maximum(abs(d), std::max(root, least)), last, true));
  const Tensor spread = sqrt(mean(square(d / unit), last, true) + square(root / unit)) * unit;
  return (t - mean(t, last, true) - y * mean(t * y, last, true)) / spread;
}

struct LayerNormPullback final : Op {
  LayerNormPullback() : Op("layer_norm'", 3) {}
  void run(const Array* in, int, const Array& out, Params p) const override {
    dispatch(out.dtype, [&]<class T>(T) {
      over_rows(*out.shape, [&](index_t r, index_t rows, index_t n) {
        kernels::table<T>().layer_norm_pullback(in[0].as<T>() + r * n, in[1].as<T>() + r * n, out.as<T>() + r * n, rows,
                                                n, std::bit_cast<double>(p.word));
      });
    });
  }
  void vjp(Pullback& p) const override {
    p.begin_formula();
    p.end_formula(layer_norm_rule(p.input(0), p.input(1), std::bit_cast<double>(p.params().word)));
  }
  Tensor jvp(Pushforward& p) const override {
    p.begin_formula();
    return p.end_formula(layer_norm_rule(p.input(0), p.input(1), std::bit_cast<double>(p.params().word)));
  }
};
const LayerNormPullback layer_norm_pullback;

struct LayerNorm final : Op {
  LayerNorm() : Op("layer_norm", 1) {}
  void run(const Array* in, int, const Array& out, Params p) const override {
    dispatch(out.dtype, [&]<class T>(T) {
      over_rows(*out.shape, [&](index_t r, index_t rows, index_t n) {
        kernels::table<T>().layer_norm(in[0].as<T>() + r * n, out.as<T>() + r * n, rows, n,
                                       std::bit_cast<double>(p.word));
      });
    });
  }
  static Tensor derivative(const Tensor& x, const Tensor& t, index_t word) {
    if (x.shape() == t.shape()) return apply(layer_norm_pullback, {x, t}, x.dtype(), x.shape(), word);
    return layer_norm_rule(x, t, std::bit_cast<double>(word));
  }
  void vjp(Pullback& p) const override { p.add(0, derivative(p.input(0), p.g(), p.params().word)); }
  Tensor jvp(Pushforward& p) const override { return derivative(p.input(0), p.tangent(0), p.params().word); }
};
const LayerNorm layer_norm_op;

// --- cross-entropy on integer labels ---------------------------------------------------------------------------
// d loss / dx = softmax(x) - onehot(label), times the row's cotangent.
Tensor one_hot(const Tensor& labels, DType dtype, index_t classes) {
  Shape shape = Shape::ones(labels.ndim() + 1);
  std::copy(labels.shape().begin(), labels.shape().end(), shape.begin());
  shape.back(0) = classes;
  Tensor t = full(dtype, shape, 0);
  dispatch(dtype, [&]<class T>(T) {
    for (index_t i = 0; i < labels.size(); ++i) t.data<T>()[i * classes + labels.data<index_t>()[i]] = 1;
  });
  return t;
}

struct CrossEntropyPullback final : Op {
  CrossEntropyPullback() : Op("softmax_cross_entropy'", 7) {}
  void run(const Array* in, int, const Array& out, Params) const override {
    dispatch(out.dtype, [&]<class T>(T) {
      over_rows(*out.shape, [&](index_t r, index_t rows, index_t n) {
        kernels::table<T>().cross_entropy_pullback(in[0].as<T>() + r * n, in[1].as<index_t>() + r, in[2].as<T>() + r,
                                                   out.as<T>() + r * n, rows, n);
      });
    });
  }
  static Tensor formula(const Tensor& x, const Tensor& labels, const Tensor& g) {
    return Reduce::spread(g, x.shape(), 1, false) * (softmax(x) - one_hot(labels, x.dtype(), x.shape().back(0)));
  }
  void vjp(Pullback& p) const override {
    p.begin_formula();
    p.end_formula(formula(p.input(0), p.input(1), p.input(2)));
  }
  Tensor jvp(Pushforward& p) const override {
    p.begin_formula();
    return p.end_formula(formula(p.input(0), p.input(1), p.input(2)));
  }
};
const CrossEntropyPullback cross_entropy_pullback;

struct CrossEntropy final : Op {
  CrossEntropy() : Op("softmax_cross_entropy", 3) {}
  void run(const Array* in, int, const Array& out, Params) const override {
    const index_t classes = in[0].shape->back(0);
    for (index_t i = 0; i < in[1].shape->size(); ++i)
      if (const index_t label = in[1].as<index_t>()[i]; label < 0 || label >= classes)
        throw std::out_of_range("softmax_cross_entropy: label " + std::to_string(label) + " at position " +
                                std::to_string(i) + " is not in [0, " + std::to_string(classes) + ")");
    dispatch(out.dtype, [&]<class T>(T) {
      over_rows(*in[0].shape, [&](index_t r, index_t rows, index_t n) {
        kernels::table<T>().cross_entropy(in[0].as<T>() + r * n, in[1].as<index_t>() + r, out.as<T>() + r, rows, n);
      });
    });
  }
  void vjp(Pullback& p) const override {
    const Tensor x = p.input(0), labels = p.input(1), g = p.g();
    if (g.shape() == labels.shape()) {
      p.add(0, apply(cross_entropy_pullback, {x, labels, g}, x.dtype(), x.shape()));
    } else {
      p.add(0, Reduce::spread(g, x.shape(), 1, true) * (softmax(x) - one_hot(labels, x.dtype(), x.shape().back(0))));
    }
  }
  Tensor jvp(Pushforward& p) const override {
    const Tensor x = p.input(0);
    const index_t last[] = {-1};
    return sum(p.tangent(0) * (softmax(x) - one_hot(p.input(1), x.dtype(), x.shape().back(0))), last);
  }
};
const CrossEntropy cross_entropy_op;

// Applies `f`, which works on the last axis, along another one.
template <class F>
Tensor along(const char* op, const Tensor& x, index_t axis, F&& f) {
  if (!is_float(x.dtype())) return along(op, cast(x, DType::f64), axis, f);
  axis = normalize_axis(op, axis, x.ndim());
  if (axis == x.ndim() - 1) return f(x);
  std::vector<index_t> swap = all_axes(x);
  std::swap(swap[static_cast<std::size_t>(axis)], swap.back());
  return permute(f(permute(x, swap)), swap);
}

}  // namespace

Tensor sum(const Tensor& x, Axes axes, bool keepdims) { return reduce(sum_op, x, axes, keepdims); }
Tensor norm(const Tensor& x, Axes axes, bool keepdims) {
  return reduce(norm_op, is_float(x.dtype()) ? x : cast(x, DType::f64), axes, keepdims);
}
Tensor max(const Tensor& x, Axes axes, bool keepdims) { return reduce(max_op, x, axes, keepdims); }
Tensor min(const Tensor& x, Axes axes, bool keepdims) { return reduce(min_op, x, axes, keepdims); }

Tensor mean(const Tensor& x, Axes axes, bool keepdims) {
  if (!is_float(x.dtype())) return mean(cast(x, DType::f64), axes, keepdims);
  const index_t n = reduced_size(x.shape(), axes_word("mean", x, axes));
  return sum(x, axes, keepdims) / static_cast<double>(n);
}

Tensor logsumexp(const Tensor& x, Axes axes, bool keepdims) {
  if (!is_float(x.dtype())) return logsumexp(cast(x, DType::f64), axes, keepdims);
  const index_t word = axes_word("logsumexp", x, axes);
  std::vector<index_t> perm, last, rows;
  for (int i = 0; i < x.ndim(); ++i) (word >> (x.ndim() - 1 - i) & 1 ? last : perm).push_back(i);
  for (index_t a : perm) rows.push_back(x.shape()[static_cast<int>(a)]);
  rows.push_back(reduced_size(x.shape(), word));
  const bool moved = !last.empty() && !perm.empty() && last.front() < perm.back();
  perm.insert(perm.end(), last.begin(), last.end());
  const Tensor flat = reshape(moved ? permute(x, perm) : x, Shape(rows));
  rows.pop_back();
  const Tensor y = apply(logsumexp_op, {flat}, x.dtype(), Shape(rows));
  return keepdims ? reshape(y, reduced(x.shape(), word, true)) : y;
}

Tensor softmax(const Tensor& x, index_t axis) {
  return along("softmax", x, axis, [](const Tensor& t) { return apply(softmax_op, {t}, t.dtype(), t.shape()); });
}
Tensor log_softmax(const Tensor& x, index_t axis) {
  return along("log_softmax", x, axis,
               [](const Tensor& t) { return apply(log_softmax_op, {t}, t.dtype(), t.shape()); });
}

Tensor layer_norm(const Tensor& x, double eps) {
  if (!is_float(x.dtype())) return layer_norm(cast(x, DType::f64), eps);
  if (x.ndim() == 0) throw std::invalid_argument("layer_norm: a row has at least one axis, got shape ()");
  return apply(layer_norm_op, {x}, x.dtype(), x.shape(), std::bit_cast<index_t>(eps));
}

Tensor softmax_cross_entropy(const Tensor& x, const Tensor& labels) {
  if (!is_float(x.dtype()))
    throw TypeError("softmax_cross_entropy: scores must be floats, got " + std::string(name_of(x.dtype())));
  if (labels.dtype() != DType::i64)
    throw TypeError("softmax_cross_entropy: labels must be integers, got " + std::string(name_of(labels.dtype())));
  if (x.ndim() == 0 || !(reduced(x.shape(), 1, false) == labels.shape()))
    throw std::invalid_argument("softmax_cross_entropy: scores of shape " + x.shape().str() +
                                " need one label a row, got labels of shape " + labels.shape().str());
  return apply(cross_entropy_op, {x, labels}, x.dtype(), labels.shape());
}

}  // namespace wengert
