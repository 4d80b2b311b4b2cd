// Shapes: cast, reshape, broadcast_to, permute, concat. All are linear: the forward rule is the op itself.
#include <algorithm>
#include <cstring>

#include "kernels/table.h"
#include "kernels/threads.h"
#include "ops/functions.h"
#include "ops/kinks.h"
#include "ops/promote.h"
#include "ops/strides.h"

namespace wengert {

index_t normalize_axis(const char* op, index_t axis, int ndim) {
  if (axis < -ndim || axis >= ndim)
    throw std::out_of_range(std::string(op) + ": axis " + std::to_string(axis) + " is out of range for " +
                            std::to_string(ndim) + " dimensions");
  return axis < 0 ? axis + ndim : axis;
}

namespace {

template <class F>
decltype(auto) dispatch_any(DType t, F&& f) {
  switch (t) {
    case DType::f32:
      return f(float{});
    case DType::f64:
      return f(double{});
    case DType::i64:
      return f(index_t{});
    default:
      return f(bool{});
  }
}

struct Cast final : Op {
  explicit Cast(bool keeps_gradient) : Op("cast") { differentiable = keeps_gradient; }
  void run(const Array* in, int, const Array& out, Params) const override {
    const index_t n = out.shape->size();
    dispatch_any(in[0].dtype, [&]<class From>(From) {
      dispatch_any(out.dtype, [&]<class To>(To) {
        const From* x = in[0].as<From>();
        To* y = out.as<To>();
        parallel_for(n, 16384, [=](index_t begin, index_t end) {
          for (index_t i = begin; i < end; ++i) y[i] = static_cast<To>(x[i]);
        });
      });
    });
  }
  void vjp(Pullback& p) const override { p.add(0, cast(p.lazy_g(), p.input_dtype(0))); }
  Tensor jvp(Pushforward& p) const override { return cast(p.tangent(0), p.output_dtype()); }
};
const Cast cast_op(true), cast_to_constant(false);

// The same values, in memory of their own or shared, cut from the gradient. On a recording they stay connected.
struct Cut final : Op {
  Cut(const char* name, bool share) : Op(name) {
    alias = share;
    differentiable = false;
  }
  void run(const Array* in, int, const Array& out, Params) const override {
    std::memcpy(out.data, in[0].data, static_cast<std::size_t>(out.shape->size() * size_of(out.dtype)));
  }
  void vjp(Pullback&) const override {}
  Tensor jvp(Pushforward&) const override { return {}; }
};
const Cut detach_op("detach", true), the_copy_op("copy", false);

struct Reshape final : Op {
  Reshape() : Op("reshape") {
    alias = true;
    sign = Sign::as_operand;
  }
  Tensor squared(const Tensor& y, const Origin& from) const override {
    const Tensor s = squared_of(from.operands[0]);
    return s ? reshape(s, y.shape()) : s;
  }
  void run(const Array*, int, const Array&, Params) const override {}
  void vjp(Pullback& p) const override { p.add(0, reshaped(p.g(), p.batched(p.input_shape(0)))); }
  Tensor jvp(Pushforward& p) const override { return reshaped(p.tangent(0), p.batched(p.output_shape())); }
  static Tensor reshaped(const Tensor& t, const Shape& batched) {
    Tensor r = reshape(t, batched);
    r.get()->basis = is_basis(t);
    return r;
  }
};
const Reshape reshape_op;

struct BroadcastTo final : Op {
  BroadcastTo() : Op("broadcast_to") { sign = Sign::as_operand; }
  void run(const Array* in, int, const Array& out, Params) const override {
    if (out.shape->size() == 0) return;
    const Strides<1> s = broadcast_strides<1>(in, 1, *out.shape);
    dispatch_width(out.dtype, [&]<class W>(W) { lay(s, s.ndim - 1, in[0].as<W>(), out.as<W>()); });
  }
  // The axes up to `axis`; gives how many elements they are.
  template <class W>
  static index_t lay(const Strides<1>& s, int axis, const W* x, W* y) {
    const index_t *size = s.size, *step = s.step[0];
    if (axis <= 1) {
      const index_t rows = axis ? size[1] : 1;
      lay_rows(x, step[0], size[0], axis ? step[1] : 0, rows, y);
      return rows * size[0];
    }
    const index_t block = lay(s, axis - 1, x, y), n = size[axis];
    if (step[axis])
      for (index_t i = 1; i < n; ++i) lay(s, axis - 1, x + i * step[axis], y + i * block);
    else
      lay_rows(y, 1, block, 0, n, y);
    return n * block;
  }
  void vjp(Pullback& p) const override { p.add_broadcast(0, p.lazy_g()); }
  Tensor jvp(Pushforward& p) const override {
    const Tensor t = p.tangent(0);
    const int lead = t.ndim() - p.input_shape(0).ndim();
    Shape s = Shape::ones(lead + p.output_shape().ndim());
    if (lead) s[0] = t.shape()[0];
    for (int i = 0; i < p.input_shape(0).ndim(); ++i) s.back(i) = p.input_shape(0).back(i);
    return broadcast_to(reshape(t, s), p.batched(p.output_shape()));
  }
};
const BroadcastTo broadcast_op;

// Attrs: for each axis of the result, from the last, the operand's axis, also from the last.
struct Permute final : Op {
  explicit Permute(bool of_matrix) : Op("permute") {
    turns = of_matrix;
    sign = Sign::as_operand;
  }
  void run(const Array* in, int, const Array& out, Params p) const override {
    dispatch_any(out.dtype, [&]<class T>(T) { run_as<T>(in[0], out, p.attrs->list); });
  }
  template <class T>
  static void run_as(const Array& in, const Array& out, const std::vector<index_t>& axes) {
    const int ndim = out.shape->ndim();
    const index_t size = out.shape->size();
    if (size == 0) return;
    const T* x = in.as<T>();
    T* y = out.as<T>();
    // Leading axes that stay put are a batch; what remains is often one transposition of two blocks.
    int moved = ndim;
    while (moved > 0 && axes[static_cast<std::size_t>(moved - 1)] == moved - 1) --moved;
    index_t batch = 1;
    for (int i = moved; i < ndim; ++i) batch *= out.shape->back(i);
    if constexpr (sizeof(T) >= 4 && !std::is_same_v<T, index_t>) {
      for (int cut = 1; cut < moved; ++cut) {
        bool rotates = true;
        for (int i = 0; i < moved; ++i) rotates = rotates && axes[static_cast<std::size_t>(i)] == (i + cut) % moved;
        if (!rotates) continue;
        index_t cols = 1;  // of the operand: its last `cut` axes
        for (int i = 0; i < cut; ++i) cols *= in.shape->back(i);
        kernels::table<T>().transpose(x, y, batch, size / batch / cols, cols);
        return;
      }
    }
    index_t stride[Shape::max_ndim], step = 1;
    for (int i = 0; i < ndim; ++i) stride[i] = step, step *= in.shape->back(i);
    Strides<1> s;
    for (int i = 0; i < ndim; ++i) s.add(out.shape->back(i), &stride[axes[static_cast<std::size_t>(i)]]);
    s.close();
    const index_t row = s.size[0], by = s.step[0][0];
    s.for_each(1, 0, size / row, [&](index_t i, const index_t* at) {
      const T* from = x + *at;
      T* to = y + i * row;
      if (by == 1)
        std::copy_n(from, row, to);
      else
        for (index_t j = 0; j < row; ++j) to[j] = from[j * by];
    });
  }
  // The axes from the front, for an array with or without the leading batch axis.
  static std::vector<index_t> from_front(const std::vector<index_t>& back, int ndim, bool inverse) {
    const int n = static_cast<int>(back.size());
    std::vector<index_t> front(static_cast<std::size_t>(ndim));
    for (int i = 0; i < ndim; ++i) {
      const index_t from = i < n ? back[static_cast<std::size_t>(i)] : i;
      if (inverse)
        front[static_cast<std::size_t>(ndim - 1 - from)] = ndim - 1 - i;
      else
        front[static_cast<std::size_t>(ndim - 1 - i)] = ndim - 1 - from;
    }
    return front;
  }
  void vjp(Pullback& p) const override {
    const Tensor g = p.lazy_g();
    p.add(0, permute(g, from_front(p.params().attrs->list, g.ndim(), true)));
  }
  Tensor jvp(Pushforward& p) const override {
    const Tensor t = p.tangent(0);
    return permute(t, from_front(p.params().attrs->list, t.ndim(), false));
  }
};
const Permute permute_op(false), matrix_op(true);

// Word: the axis, from the end.
struct Concat final : Op {
  Concat() : Op("concat") {}
  void run(const Array* in, int n, const Array& out, Params p) const override {
    const int axis = static_cast<int>(p.word);
    auto below = static_cast<std::size_t>(size_of(out.dtype));
    for (int i = 0; i < axis; ++i) below *= static_cast<std::size_t>(out.shape->back(i));
    index_t outer = 1;
    for (int i = axis + 1; i < out.shape->ndim(); ++i) outer *= out.shape->back(i);
    char* y = static_cast<char*>(out.data);
    for (index_t o = 0; o < outer; ++o)
      for (int k = 0; k < n; ++k) {
        const std::size_t bytes = below * static_cast<std::size_t>(in[k].shape->back(axis));
        if (bytes) std::memcpy(y, static_cast<const char*>(in[k].data) + static_cast<std::size_t>(o) * bytes, bytes);
        y += bytes;
      }
  }
  void vjp(Pullback& p) const override {
    const int axis = static_cast<int>(p.params().word);
    const Tensor g = p.g();
    index_t at = 0;
    for (int k = 0; k < p.n_inputs(); ++k) {
      const Shape want = p.batched(p.input_shape(k));
      if (p.needs(k)) {
        std::vector<index_t> start(static_cast<std::size_t>(g.ndim()), 0), step(start.size(), 1);
        start[static_cast<std::size_t>(g.ndim() - 1 - axis)] = at;
        p.add(k, slice(g, start, step, want));
      }
      at += want.back(axis);
    }
  }
  Tensor jvp(Pushforward& p) const override {
    std::vector<Tensor> tangents;
    for (int k = 0; k < p.n_inputs(); ++k) tangents.push_back(p.tangent(k));
    return concat(tangents, -1 - p.params().word);
  }
};
const Concat concat_op;

// Word: the axis of x that is doubled and the new axis of y, both from the end.
struct Diagonal : Op {
  using Op::Op;
  static index_t word(int axis, int new_axis) { return axis | index_t{new_axis} << 8; }
  static int axis(index_t word) { return static_cast<int>(word & 255); }
  static int new_axis(index_t word) { return static_cast<int>(word >> 8); }

  // f(offset in x, offset in y, length, step in y) for each row of x.
  template <class F>
  static void for_each_row(const Shape& x, const Shape& y, index_t word, F&& f) {
    if (x.size() == 0) return;
    const int ndim = x.ndim(), fresh = new_axis(word);
    index_t stride[Shape::max_ndim + 1], step = 1;
    for (int i = 0; i < y.ndim(); ++i) stride[i] = step, step *= y.back(i);
    const index_t along = stride[fresh];
    for (int i = fresh; i < ndim; ++i) stride[i] = stride[i + 1];
    stride[axis(word)] += along;
    Strides<1> s;
    for (int i = 0; i < ndim; ++i) s.add(x.back(i), &stride[i]);
    s.close();
    const index_t row = s.size[0];
    s.for_each(1, 0, x.size() / row, [&](index_t i, const index_t* at) { f(i * row, *at, row, s.step[0][0]); });
  }
};

struct EmbedDiagonal final : Diagonal {
  EmbedDiagonal() : Diagonal("embed_diagonal") {}
  void run(const Array* in, int, const Array& out, Params p) const override {
    std::memset(out.data, 0, static_cast<std::size_t>(out.shape->size() * size_of(out.dtype)));
    dispatch(out.dtype, [&]<class T>(T) {
      for_each_row(*in[0].shape, *out.shape, p.word, [&](index_t from, index_t to, index_t n, index_t step) {
        const T* x = in[0].as<T>() + from;
        T* y = out.as<T>() + to;
        for (index_t i = 0; i < n; ++i) y[i * step] = x[i];
      });
    });
  }
  void vjp(Pullback& p) const override {
    p.add(0, take_diagonal(p.g(), -1 - axis_in_y(p.params().word), -1 - new_axis(p.params().word)));
  }
  Tensor jvp(Pushforward& p) const override {
    return embed_diagonal(p.tangent(0), -1 - axis(p.params().word), -1 - new_axis(p.params().word));
  }
  static int axis_in_y(index_t word) { return axis(word) + (axis(word) >= new_axis(word)); }
};
const EmbedDiagonal embed_diagonal_op;

struct TakeDiagonal final : Diagonal {
  TakeDiagonal() : Diagonal("take_diagonal") {}
  void run(const Array* in, int, const Array& out, Params p) const override {
    dispatch(out.dtype, [&]<class T>(T) {
      for_each_row(*out.shape, *in[0].shape, p.word, [&](index_t to, index_t from, index_t n, index_t step) {
        const T* y = in[0].as<T>() + from;
        T* x = out.as<T>() + to;
        for (index_t i = 0; i < n; ++i) x[i] = y[i * step];
      });
    });
  }
  void vjp(Pullback& p) const override {
    p.add(0, embed_diagonal(p.g(), -1 - axis(p.params().word), -1 - new_axis(p.params().word)));
  }
  Tensor jvp(Pushforward& p) const override {
    const index_t w = p.params().word;
    return take_diagonal(p.tangent(0), -1 - EmbedDiagonal::axis_in_y(w), -1 - new_axis(w));
  }
};
const TakeDiagonal take_diagonal_op;

}  // namespace

Tensor embed_diagonal(const Tensor& x, index_t axis, index_t new_axis) {
  const int ndim = x.ndim();
  const index_t from = normalize_axis("embed_diagonal", axis, ndim);
  const index_t to = normalize_axis("embed_diagonal", new_axis, ndim + 1);
  std::vector<index_t> dims(x.shape().begin(), x.shape().end());
  dims.insert(dims.begin() + to, x.shape()[static_cast<int>(from)]);
  return apply(embed_diagonal_op, {x}, x.dtype(), Shape(dims),
               Diagonal::word(ndim - 1 - static_cast<int>(from), ndim - static_cast<int>(to)));
}

Tensor take_diagonal(const Tensor& y, index_t axis, index_t dropped_axis) {
  const int ndim = y.ndim();
  const index_t from = normalize_axis("take_diagonal", axis, ndim);
  const index_t to = normalize_axis("take_diagonal", dropped_axis, ndim);
  if (from == to || y.shape()[static_cast<int>(from)] != y.shape()[static_cast<int>(to)])
    throw std::invalid_argument("take_diagonal: axes " + std::to_string(from) + " and " + std::to_string(to) +
                                " of shape " + y.shape().str() + " are not two axes of one size");
  std::vector<index_t> dims(y.shape().begin(), y.shape().end());
  dims.erase(dims.begin() + to);
  const index_t kept = from - (from > to);
  return apply(take_diagonal_op, {y}, y.dtype(), Shape(dims),
               Diagonal::word(ndim - 2 - static_cast<int>(kept), ndim - 1 - static_cast<int>(to)));
}

Tensor basis(DType dtype, const Shape& shape) {
  const index_t n = shape.size();
  Shape s = Shape::ones(shape.ndim() + 1);
  s[0] = n;
  std::copy(shape.begin(), shape.end(), s.begin() + 1);
  Tensor t = full(dtype, s, 0);
  dispatch(dtype, [&]<class T>(T) {
    for (index_t i = 0; i < n; ++i) t.data<T>()[i * (n + 1)] = 1;
  });
  t.get()->basis = true;
  return t;
}

Tensor cast(const Tensor& x, DType dtype) {
  if (x.dtype() == dtype && !x.get()->weak) return x;
  Tensor y = apply(is_float(dtype) ? cast_op : cast_to_constant, {x}, dtype, x.shape());
  y.get()->number = x.get()->weak;
  return y;
}

Tensor detach(const Tensor& x) { return apply(detach_op, {x}, x.dtype(), x.shape()); }
Tensor copy(const Tensor& x) { return apply(the_copy_op, {x}, x.dtype(), x.shape()); }
const Op& copy_op() { return the_copy_op; }

Tensor reshape(const Tensor& x, Shape shape) {
  if (x.shape() == shape) return x;
  if (x.size() != shape.size())
    throw std::invalid_argument("reshape: " + x.shape().str() + " has " + std::to_string(x.size()) +
                                " elements, which do not fill " + shape.str());
  return apply(reshape_op, {x}, x.dtype(), std::move(shape));
}

Tensor broadcast_to(const Tensor& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  bool fits = x.ndim() <= shape.ndim();
  for (int i = 0; fits && i < x.ndim(); ++i) fits = x.shape().back(i) == shape.back(i) || x.shape().back(i) == 1;
  if (!fits) throw std::invalid_argument("broadcast_to: " + x.shape().str() + " does not broadcast to " + shape.str());
  return apply(broadcast_op, {x}, x.dtype(), shape);
}

Tensor permute(const Tensor& x, Axes axes) {
  const int ndim = x.ndim();
  if (static_cast<int>(axes.size()) != ndim)
    throw std::invalid_argument("permute: " + std::to_string(axes.size()) + " axes for an array of shape " +
                                x.shape().str());
  auto* attrs = new Attrs;
  AttrsRef keep(attrs);
  attrs->list.assign(static_cast<std::size_t>(ndim), -1);
  std::vector<index_t> dims(static_cast<std::size_t>(ndim));
  std::vector<bool> used(static_cast<std::size_t>(ndim), false);
  bool same = true;
  for (int i = 0; i < ndim; ++i) {
    const index_t from = normalize_axis("permute", axes[static_cast<std::size_t>(i)], ndim);
    if (used[static_cast<std::size_t>(from)])
      throw std::invalid_argument("permute: axis " + std::to_string(from) + " is named twice");
    used[static_cast<std::size_t>(from)] = true;
    dims[static_cast<std::size_t>(i)] = x.shape()[static_cast<int>(from)];
    attrs->list[static_cast<std::size_t>(ndim - 1 - i)] = ndim - 1 - from;
    same = same && from == i;
  }
  if (same) return x;
  if (ndim == 2) return transpose(x);
  return apply(permute_op, {x}, x.dtype(), Shape(dims), 0, keep);
}

Tensor transpose(const Tensor& x) {
  if (x.ndim() < 2) throw std::invalid_argument("transpose: needs two axes, got shape " + x.shape().str());
  if (x.ndim() == 2) {
    static const AttrsRef swap = [] {
      auto* attrs = new Attrs;
      attrs->list = {1, 0};
      return AttrsRef(attrs);
    }();
    const Op& op = is_float(x.dtype()) ? matrix_op : permute_op;
    return apply(op, std::span(&x, 1), x.dtype(), {x.shape()[1], x.shape()[0]}, 0, swap);
  }
  std::vector<index_t> axes = all_axes(x);
  std::swap(axes[axes.size() - 1], axes[axes.size() - 2]);
  return permute(x, axes);
}

Tensor concat(std::span<const Tensor> xs, index_t axis) {
  if (xs.empty()) throw std::invalid_argument("concat: needs at least one array");
  const Shape& first = xs[0].shape();
  if (first.ndim() == 0) throw std::invalid_argument("concat: zero-dimensional arrays cannot be joined; use stack");
  axis = normalize_axis("concat", axis, first.ndim());
  Shape out = first;
  DType dtype = xs[0].dtype();
  bool mixed = false;
  for (const Tensor& x : xs) {
    bool fits = x.ndim() == first.ndim();
    for (int i = 0; fits && i < first.ndim(); ++i) fits = i == axis || x.shape()[i] == first[i];
    if (!fits)
      throw std::invalid_argument("concat: shapes " + first.str() + " and " + x.shape().str() +
                                  " differ outside of axis " + std::to_string(axis));
    if (&x != &xs[0]) out[static_cast<int>(axis)] += x.shape()[static_cast<int>(axis)];
    mixed = mixed || x.dtype() != dtype || x.get()->weak;
  }
  std::vector<Tensor> same;
  if (mixed) {
    dtype = promote(xs);
    for (const Tensor& x : xs) same.push_back(cast(x, dtype));
    xs = same;
  }
  return apply(concat_op, xs, dtype, out, first.ndim() - 1 - axis);
}

}  // namespace wengert
