// Scans along an axis: running products, and the linear recurrences that are their derivatives. With
// y[i] = x[i] y[i-1], the derivative to x[i] is y[i-1] s[i], where s[i] = g[i] + x[i+1] s[i+1]: no division, so a zero
// is like any other number.
#include <algorithm>
#include <type_traits>

#include "kernels/threads.h"
#include "ops/functions.h"

namespace wengert {
namespace {

// Walks every line along an axis, many lines abreast: for each element body(where it is, how far from the one before,
// whether it is the first of its line, the line's state).
template <class T, class Body>
void walk(const Shape& shape, int axis, bool backwards, Body body) {
  constexpr index_t most = 64, rows = 8;
  index_t width = 1, outer = 1;
  const index_t n = shape.back(axis);
  for (int i = 0; i < axis; ++i) width *= shape.back(i);
  for (int i = axis + 1; i < shape.ndim(); ++i) outer *= shape.back(i);
  if (n * width * outer == 0) return;
  const auto lines = [&](index_t first, auto count, auto apart) {
    T state[most];
    const index_t step = backwards ? -width : width;
    first += backwards ? (n - 1) * width : 0;
    for (index_t l = 0; l < count; ++l) body(first + l * apart, step, std::true_type{}, state[l]);
    for (index_t k = 1; k < n; ++k) {
      first += step;
      for (index_t l = 0; l < count; ++l) body(first + l * apart, step, std::false_type{}, state[l]);
    }
  };
  const index_t abreast = width == 1 ? rows : most, across = width == 1 ? outer : width;
  const index_t strips = (across + abreast - 1) / abreast;
  parallel_for(width == 1 ? strips : outer * strips, std::max<index_t>(1, 32768 / (n * abreast)),
               [&](index_t begin, index_t end) {
                 for (index_t s = begin; s < end; ++s) {
                   const index_t at = s % strips * abreast, count = std::min(abreast, across - at);
                   if (width == 1 && count == 1)  // known here, the state stays in a register
                     lines(at * n, std::integral_constant<index_t, 1>{}, n);
                   else if (width == 1)
                     lines(at * n, count, n);
                   else
                     lines(s / strips * n * width + at, count, std::integral_constant<index_t, 1>{});
                 }
               });
}

// x moved on by one place along an axis counted from the back, or back by one; `fill` enters.
Tensor moved(const Tensor& x, index_t axis, bool backwards, double fill) {
  const int at = x.ndim() - 1 - static_cast<int>(axis);
  if (x.shape()[at] == 0) return x;
  Shape rest = x.shape(), edge = x.shape();
  rest[at] -= 1;
  edge[at] = 1;
  std::vector<index_t> start(static_cast<std::size_t>(x.ndim()), 0), step(start.size(), 1);
  start[static_cast<std::size_t>(at)] = backwards;
  const Tensor kept = slice(x, start, step, rest), entering = full(x.dtype(), edge, fill);
  const Tensor parts[] = {backwards ? kept : entering, backwards ? entering : kept};
  return concat(parts, at);
}

// s[i] = b[i] + c s[i-1], where c is a[i], or, `late`, a[i-1]; backwards, with i+1 for i-1. Word: the axis from the
// back, then the two flags. Its transpose walks the other way with the coefficients of the other kind.
struct Recurrence final : Op {
  static constexpr index_t backwards = 64, late = 128;
  Recurrence() : Op("recurrence", 1 | reads_output) {}
  void run(const Array* in, int, const Array& out, Params p) const override {
    dispatch(out.dtype, [&]<class T>(T) {
      const T *a = in[0].as<T>(), *b = in[1].as<T>();
      T* s = out.as<T>();
      const index_t word = p.word;
      walk<T>(*out.shape, axis(word), word & backwards, [=](index_t i, index_t step, auto first, T& state) {
        state = first ? b[i] : b[i] + a[word & late ? i - step : i] * state;
        s[i] = state;
      });
    });
  }
  static int axis(index_t word) { return static_cast<int>(word & 63); }
  static index_t transposed(index_t word) { return word ^ (backwards | late); }
  static Tensor of(const Tensor& a, const Tensor& b, index_t word);
  // The cotangent of the coefficients, from that of s.
  static Tensor by_coefficients(const Tensor& cotangent, const Tensor& s, index_t word) {
    const bool back = word & backwards;
    if (word & late) return moved(cotangent, axis(word), !back, 0) * s;
    return cotangent * moved(s, axis(word), back, 0);
  }
  void vjp(Pullback& p) const override {
    const index_t word = p.params().word;
    const Tensor g = of(p.input(0), p.g(), transposed(word));
    if (p.needs(0)) p.add(0, by_coefficients(g, p.output(), word));
    if (p.needs(1)) p.add(1, g);
  }
  Tensor jvp(Pushforward& p) const override {
    const index_t word = p.params().word;
    const bool back = word & backwards;
    Tensor t = p.has_tangent(1) ? p.tangent(1) : Tensor();
    if (p.has_tangent(0)) {
      Tensor u = word & late ? moved(p.tangent(0) * p.output(), axis(word), back, 0)
                             : p.tangent(0) * moved(p.output(), axis(word), back, 0);
      t = t ? t + u : u;
    }
    return of(p.input(0), t, word);
  }
};
const Recurrence recurrence_op;

Tensor Recurrence::of(const Tensor& a, const Tensor& b, index_t word) {  // b may have a leading axis more
  return apply(recurrence_op, {broadcast_to(a, b.shape()), b}, b.dtype(), b.shape(), word);
}

// (x, y, g) to the cotangent of x.
struct CumulativeProdPullback final : Op {
  CumulativeProdPullback() : Op("cumulative_prod'", 7) {}
  void run(const Array* in, int, const Array& out, Params p) const override {
    dispatch(out.dtype, [&]<class T>(T) {
      const T *x = in[0].as<T>(), *y = in[1].as<T>(), *g = in[2].as<T>();
      T* dx = out.as<T>();
      walk<T>(*out.shape, static_cast<int>(p.word), true, [=](index_t i, index_t step, auto first, T& s) {
        if (first) {
          s = g[i];
        } else {
          const index_t after = i - step;
          dx[after] = s * y[i];
          s = g[i] + x[after] * s;
        }
        dx[i] = s;
      });
    });
  }
  static Tensor formula(const Tensor& x, const Tensor& y, const Tensor& g, index_t axis) {
    return moved(y, axis, false, 1) * Recurrence::of(x, g, axis | Recurrence::backwards | Recurrence::late);
  }
  void vjp(Pullback& p) const override {
    p.begin_formula();
    p.end_formula(formula(p.input(0), p.input(1), p.input(2), p.params().word));
  }
  Tensor jvp(Pushforward& p) const override {
    p.begin_formula();
    return p.end_formula(formula(p.input(0), p.input(1), p.input(2), p.params().word));
  }
};
const CumulativeProdPullback cumulative_prod_pullback;

// Word: the axis, from the back.
struct CumulativeProd final : Op {
  CumulativeProd() : Op("cumulative_prod", 1 | reads_output) {}
  void run(const Array* in, int, const Array& out, Params p) const override {
    dispatch(out.dtype, [&]<class T>(T) {
      const T* x = in[0].as<T>();
      T* y = out.as<T>();
      walk<T>(*out.shape, static_cast<int>(p.word), false, [=](index_t i, index_t, auto first, T& product) {
        product = first ? x[i] : product * x[i];
        y[i] = product;
      });
    });
  }
  void vjp(Pullback& p) const override {
    const Tensor x = p.input(0), y = p.output(), g = p.g();
    const index_t axis = p.params().word;
    if (g.shape() == x.shape())
      p.add(0, apply(cumulative_prod_pullback, {x, y, g}, x.dtype(), x.shape(), axis));
    else
      p.add(0, CumulativeProdPullback::formula(x, y, g, axis));
  }
  Tensor jvp(Pushforward& p) const override {
    const index_t axis = p.params().word;
    return Recurrence::of(p.input(0), p.tangent(0) * moved(p.output(), axis, false, 1), axis);
  }
};
const CumulativeProd cumulative_prod_op;

}  // namespace

Tensor cumulative_prod(const Tensor& x, index_t axis) {
  axis = normalize_axis("cumulative_prod", axis, x.ndim());
  return apply(cumulative_prod_op, {x}, x.dtype(), x.shape(), x.ndim() - 1 - axis);
}

}  // namespace wengert
