// Indexing: slices, and gathering by integers. Each op and its transpose are a pair, so the rules close.
#include <algorithm>
#include <cstring>

#include "kernels/table.h"
#include "kernels/threads.h"
#include "ops/functions.h"
#include "ops/strides.h"

namespace wengert {
namespace {

// Visits the elements of a slice: f(offset in the whole array, offset in the slice, length of a run, step in the run).
template <class F>
void for_each_run(const Shape& whole, const Shape& part, const Attrs& a, F&& f) {
  if (part.size() == 0) return;
  const int given = static_cast<int>(a.list.size());
  Strides<1> s;
  index_t stride = 1, origin = 0;
  for (int i = 0; i < part.ndim(); ++i) {  // from the last axis; axes beyond those given are taken whole
    const index_t by = stride * (i < given ? a.list2[static_cast<std::size_t>(i)] : 1);
    if (i < given) origin += stride * a.list[static_cast<std::size_t>(i)];
    s.add(part.back(i), &by);
    stride *= whole.back(i);
  }
  s.close();
  const index_t run = s.size[0];
  s.for_each(1, 0, part.size() / run,
             [&](index_t i, const index_t* at) { f(origin + *at, i * run, run, s.step[0][0]); });
}

// For operations that change a part of operand 0: the rest of the result, unless it stands there already.
void copy_unless_in_place(const Array& in, const Array& out) {
  if (out.data != in.data)
    std::memcpy(out.data, in.data, static_cast<std::size_t>(out.shape->size() * size_of(out.dtype)));
}

// Attrs: start and step of each axis, from the last.
std::vector<index_t> from_front(const std::vector<index_t>& back, int ndim, index_t missing) {
  std::vector<index_t> front(static_cast<std::size_t>(ndim), missing);
  for (std::size_t i = 0; i < back.size(); ++i) front[static_cast<std::size_t>(ndim) - 1 - i] = back[i];
  return front;
}

// y, at a slice of it, += x. Contributions to a part of an array are added to zeros, so that none leaves a -0 behind.
void add_where_sliced(const Array& x, const Array& y, const Attrs& a) {
  const auto add = [&]<class T>(T) {
    for_each_run(*y.shape, *x.shape, a, [&](index_t to, index_t from, index_t n, index_t step) {
      const T* from_x = x.as<T>() + from;
      T* to_y = y.as<T>() + to;
      if constexpr (std::is_floating_point_v<T>)
        if (step == 1 && n >= 16) {
          const T* both[] = {to_y, from_x};
          const index_t steps[] = {1, 1};
          return kernels::table<T>().map[map_add](both, steps, to_y, n);
        }
      for (index_t i = 0; i < n; ++i) to_y[i * step] = static_cast<T>(to_y[i * step] + from_x[i]);
    });
  };
  if (y.dtype == DType::i64) return add(std::uint64_t{});
  if (y.dtype == DType::b8) return add(bool{});
  dispatch(y.dtype, add);
}

struct Slice final : Op {
  Slice() : Op("slice") {}
  void run(const Array* in, int, const Array& out, Params p) const override {
    dispatch_width(out.dtype, [&]<class W>(W) {
      for_each_run(*in[0].shape, *out.shape, *p.attrs, [&](index_t from, index_t to, index_t n, index_t step) {
        const W* x = in[0].as<W>() + from;
        W* y = out.as<W>() + to;
        if (step == 1)
          std::memcpy(y, x, static_cast<std::size_t>(n) * sizeof(W));
        else
          for (index_t i = 0; i < n; ++i) y[i] = x[i * step];
      });
    });
  }
  void vjp(Pullback& p) const override {
    const Tensor g = p.g();
    const Attrs& a = *p.params().attrs;
    const std::vector<index_t> start = from_front(a.list, g.ndim(), 0), step = from_front(a.list2, g.ndim(), 1);
    Tensor total = p.take(0);
    p.add(0,
          total ? add_slice(std::move(total), g, start, step) : unslice(g, start, step, p.batched(p.input_shape(0))));
  }
  Tensor jvp(Pushforward& p) const override {
    const Tensor t = p.tangent(0);
    const Attrs& a = *p.params().attrs;
    return slice(t, from_front(a.list, t.ndim(), 0), from_front(a.list2, t.ndim(), 1), p.batched(p.output_shape()));
  }
};
const Slice slice_op;

struct Unslice final : Op {
  Unslice() : Op("unslice") {}
  void run(const Array* in, int, const Array& out, Params p) const override {
    std::memset(out.data, 0, static_cast<std::size_t>(out.shape->size() * size_of(out.dtype)));
    add_where_sliced(in[0], out, *p.attrs);
  }
  void vjp(Pullback& p) const override {
    const Tensor g = p.g();
    const Attrs& a = *p.params().attrs;
    p.add(0, slice(g, from_front(a.list, g.ndim(), 0), from_front(a.list2, g.ndim(), 1), p.batched(p.input_shape(0))));
  }
  Tensor jvp(Pushforward& p) const override {
    const Tensor t = p.tangent(0);
    const Attrs& a = *p.params().attrs;
    return unslice(t, from_front(a.list, t.ndim(), 0), from_front(a.list2, t.ndim(), 1), p.batched(p.output_shape()));
  }
};
const Unslice unslice_op;

// Operand 0 with operand 1 added where a slice takes it from.
struct AddSlice final : Op {
  AddSlice() : Op("add_slice") { in_place = true; }
  void run(const Array* in, int, const Array& out, Params p) const override {
    copy_unless_in_place(in[0], out);
    add_where_sliced(in[1], out, *p.attrs);
  }
  void vjp(Pullback& p) const override {
    if (p.needs(0)) p.add(0, p.lazy_g());
    if (!p.needs(1)) return;
    const Tensor g = p.g();
    const Attrs& a = *p.params().attrs;
    p.add(1, slice(g, from_front(a.list, g.ndim(), 0), from_front(a.list2, g.ndim(), 1), p.batched(p.input_shape(1))));
  }
  Tensor jvp(Pushforward& p) const override {
    if (!p.has_tangent(1)) return p.tangent(0);
    const Tensor t = p.tangent(1);
    const Attrs& a = *p.params().attrs;
    return add_slice(p.tangent(0), t, from_front(a.list, t.ndim(), 0), from_front(a.list2, t.ndim(), 1));
  }
};
const AddSlice add_slice_op;

// x as [outer, size, width] around the axis that `back` counts from the end.
struct Around {
  index_t outer = 1, size, width = 1;
  Around(const Shape& s, int back) : size(s.back(back)) {
    for (int i = 0; i < back; ++i) width *= s.back(i);
    for (int i = back + 1; i < s.ndim(); ++i) outer *= s.back(i);
  }
};

// Indices from the front: negative ones count from the end, others out of range are refused. `spare` holds a copy where
// one is needed.
const index_t* in_range(const char* op, const Array& indices, const Array& whole, index_t back,
                        std::vector<index_t>& spare) {
  const index_t n = indices.shape->size(), size = whole.shape->back(static_cast<int>(back));
  const index_t* at = indices.as<index_t>();
  bool negative = false;
  for (index_t i = 0; i < n; ++i) {
    if (at[i] < -size || at[i] >= size)
      throw std::out_of_range(std::string(op) + ": index " + std::to_string(at[i]) + " is out of range for axis " +
                              std::to_string(whole.shape->ndim() - 1 - back) + " of size " + std::to_string(size));
    negative = negative || at[i] < 0;
  }
  if (!negative) return at;
  spare.assign(at, at + n);
  for (index_t& i : spare) i += i < 0 ? size : 0;
  return spare.data();
}

// Word: the axis, from the end.
struct Gather final : Op {
  Gather() : Op("gather", 2) {}
  void run(const Array* in, int, const Array& out, Params p) const override {
    const Around a(*in[0].shape, static_cast<int>(p.word));
    const index_t n = in[1].shape->size();
    std::vector<index_t> spare;
    const index_t* indices = in_range("gather", in[1], in[0], p.word, spare);
    auto each = [&]<class T>(T) {
      for (index_t o = 0; o < a.outer; ++o)
        parallel_for(n, 1 + 16384 / std::max<index_t>(1, a.width), [&](index_t begin, index_t end) {
          kernels::table<T>().gather(in[0].as<T>() + o * a.size * a.width, indices + begin,
                                     out.as<T>() + (o * n + begin) * a.width, end - begin, a.width);
        });
    };
    if (is_float(out.dtype)) return dispatch(out.dtype, each);
    dispatch_width(out.dtype, [&]<class W>(W) {
      for (index_t o = 0; o < a.outer; ++o)
        for (index_t i = 0; i < n; ++i)
          std::copy_n(in[0].as<W>() + (o * a.size + indices[i]) * a.width, a.width,
                      out.as<W>() + (o * n + i) * a.width);
    });
  }
  void vjp(Pullback& p) const override {
    const index_t axis = -1 - p.params().word;
    Tensor total = p.take(0);
    p.add(0, total ? add_gathered(std::move(total), p.g(), p.input(1), axis)
                   : scatter_add(p.g(), p.input(1), axis, p.input_shape(0).back(static_cast<int>(p.params().word))));
  }
  Tensor jvp(Pushforward& p) const override { return gather(p.tangent(0), p.input(1), -1 - p.params().word); }
};
const Gather gather_op;

// Whole numbers wrap around, as NumPy's do.
template <class T>
void add_whole(const T* x, const index_t* indices, T* y, index_t n, const Around& a) {
  for (index_t o = 0; o < a.outer; ++o, y += a.size * a.width)
    for (index_t i = 0; i < n; ++i)
      for (index_t j = 0; j < a.width; ++j, ++x) {
        T& sum = y[indices[i] * a.width + j];
        sum = static_cast<T>(sum + *x);
      }
}

// y[.., indices[i], ..] += x[.., i, ..]
void add_at(const Array& x, const Array& indices, const Array& y, index_t back) {
  const Around a(*y.shape, static_cast<int>(back));
  const index_t n = indices.shape->size();
  std::vector<index_t> spare;
  const index_t* at = in_range("scatter_add", indices, y, back, spare);
  if (y.dtype == DType::i64) return add_whole(x.as<std::uint64_t>(), at, y.as<std::uint64_t>(), n, a);
  if (y.dtype == DType::b8) return add_whole(x.as<bool>(), at, y.as<bool>(), n, a);
  dispatch(y.dtype, [&]<class T>(T) {
    for (index_t o = 0; o < a.outer; ++o)
      kernels::table<T>().scatter_add(x.as<T>() + o * n * a.width, at, y.as<T>() + o * a.size * a.width, n, a.width);
  });
}

struct ScatterAdd final : Op {
  ScatterAdd() : Op("scatter_add", 2) {}
  void run(const Array* in, int, const Array& out, Params p) const override {
    std::memset(out.data, 0, static_cast<std::size_t>(out.shape->size() * size_of(out.dtype)));
    add_at(in[0], in[1], out, p.word);
  }
  void vjp(Pullback& p) const override { p.add(0, gather(p.g(), p.input(1), -1 - p.params().word)); }
  Tensor jvp(Pushforward& p) const override {
    const int back = static_cast<int>(p.params().word);
    return scatter_add(p.tangent(0), p.input(1), -1 - p.params().word, p.output_shape().back(back));
  }
};
const ScatterAdd scatter_add_op;

// Operand 0 with operand 1 added where a gather by operand 2 takes it from.
struct AddGathered final : Op {
  AddGathered() : Op("add_gathered", 4) { in_place = true; }
  void run(const Array* in, int, const Array& out, Params p) const override {
    copy_unless_in_place(in[0], out);
    add_at(in[1], in[2], out, p.word);
  }
  void vjp(Pullback& p) const override {
    if (p.needs(0)) p.add(0, p.lazy_g());
    if (p.needs(1)) p.add(1, gather(p.g(), p.input(2), -1 - p.params().word));
  }
  Tensor jvp(Pushforward& p) const override {
    if (!p.has_tangent(1)) return p.tangent(0);
    return add_gathered(p.tangent(0), p.tangent(1), p.input(2), -1 - p.params().word);
  }
};
const AddGathered add_gathered_op;

AttrsRef slice_attrs(std::span<const index_t> start, std::span<const index_t> step) {
  auto* attrs = new Attrs;
  AttrsRef keep(attrs);
  attrs->list.assign(start.rbegin(), start.rend());
  attrs->list2.assign(step.rbegin(), step.rend());
  return keep;
}

}  // namespace

Tensor slice(const Tensor& x, std::span<const index_t> start, std::span<const index_t> step, const Shape& shape) {
  return apply(slice_op, {x}, x.dtype(), shape, 0, slice_attrs(start, step));
}
Tensor unslice(const Tensor& x, std::span<const index_t> start, std::span<const index_t> step, const Shape& shape) {
  return apply(unslice_op, {x}, x.dtype(), shape, 0, slice_attrs(start, step));
}
Tensor add_slice(Tensor total, const Tensor& x, std::span<const index_t> start, std::span<const index_t> step) {
  const DType dtype = total.dtype();
  Shape shape = total.shape();
  const Tensor in[] = {std::move(total), cast(x, dtype)};
  return apply(add_slice_op, in, dtype, std::move(shape), 0, slice_attrs(start, step));
}

Tensor gather(const Tensor& x, const Tensor& indices, index_t axis) {
  axis = normalize_axis("gather", axis, x.ndim());
  if (indices.dtype() != DType::i64 || indices.ndim() != 1)
    throw TypeError("gather: indices must be a one-dimensional integer array");
  Shape out = x.shape();
  out[static_cast<int>(axis)] = indices.size();
  return apply(gather_op, {x, indices}, x.dtype(), std::move(out), x.ndim() - 1 - axis);
}

Tensor scatter_add(const Tensor& x, const Tensor& indices, index_t axis, index_t size) {
  axis = normalize_axis("scatter_add", axis, x.ndim());
  Shape out = x.shape();
  out[static_cast<int>(axis)] = size;
  return apply(scatter_add_op, {x, indices}, x.dtype(), std::move(out), x.ndim() - 1 - axis);
}

Tensor add_gathered(Tensor total, const Tensor& x, const Tensor& indices, index_t axis) {
  axis = normalize_axis("add_gathered", axis, total.ndim());
  const DType dtype = total.dtype();
  const index_t word = total.ndim() - 1 - axis;
  Shape shape = total.shape();
  const Tensor in[] = {std::move(total), cast(x, dtype), indices};
  return apply(add_gathered_op, in, dtype, std::move(shape), word);
}

}  // namespace wengert
