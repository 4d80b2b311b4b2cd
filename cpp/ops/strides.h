// Index arithmetic, written once: how several dense arrays are walked over the axes that they share.
#pragma once
#include <algorithm>
#include <cstring>

#include "ops/tensor.h"

namespace wengert {

// Calls f with an unsigned integer as wide as an element: what moves elements needs to know no more.
template <class F>
void dispatch_width(DType t, F&& f) {
  if (size_of(t) == 8)
    f(std::uint64_t{});
  else if (size_of(t) == 4)
    f(std::uint32_t{});
  else
    f(std::uint8_t{});
}

// Axes from the last one outwards, and how many elements each of N operands moves along each of them. Neighbouring axes
// along which every operand walks on as before are merged, so that most walks have one or two axes left.
template <int N>
struct Strides {
  int ndim = 0;
  int operands = N;  // those in use
  index_t size[Shape::max_ndim + 1];
  index_t step[N][Shape::max_ndim + 1];

  // The next axis outwards.
  void add(index_t n, const index_t* by) {
    if (n == 1) return;
    bool merges = ndim > 0;
    for (int k = 0; k < used(); ++k) merges = merges && by[k] == step[k][ndim - 1] * size[ndim - 1];
    if (merges) {
      size[ndim - 1] *= n;
    } else {
      for (int k = 0; k < used(); ++k) step[k][ndim] = by[k];
      size[ndim++] = n;
    }
  }
  // After the last axis: there is at least one.
  void close() {
    if (ndim) return;
    for (int k = 0; k < used(); ++k) step[k][0] = 0;
    size[ndim++] = 1;
  }
  int used() const { return N == 1 ? 1 : operands; }

  // Where each operand stands at position i of the axes from `axis` outwards; `count` is that position, axis by axis.
  void locate(int axis, index_t i, index_t* at, index_t* count) const {
    for (int k = 0; k < used(); ++k) at[k] = 0;
    for (int d = axis; d < ndim; ++d) {
      count[d] = i % size[d];
      i /= size[d];
      for (int k = 0; k < used(); ++k) at[k] += count[d] * step[k][d];
    }
  }

  // f(i, at) at each position [begin, end) of the axes from `axis` outwards, with the offset of each operand.
  template <class F>
  void for_each(int axis, index_t begin, index_t end, F&& f) const {
    index_t at[N], count[Shape::max_ndim + 1];
    locate(axis, begin, at, count);
    for (index_t i = begin; i < end; ++i) {
      f(i, static_cast<const index_t*>(at));
      for (int d = axis; d < ndim; ++d) {
        for (int k = 0; k < used(); ++k) at[k] += step[k][d];
        if (++count[d] < size[d]) break;
        for (int k = 0; k < used(); ++k) at[k] -= size[d] * step[k][d];
        count[d] = 0;
      }
    }
  }
};

// How operands, some without data, are laid over the axes of a result that they broadcast to.
template <int N>
Strides<N> broadcast_strides(const Array* in, int n, const Shape& out) {
  Strides<N> s;
  s.operands = n;
  index_t stride[N], by[N];
  for (int k = 0; k < n; ++k) stride[k] = 1;
  for (int i = 0; i < out.ndim(); ++i) {
    const index_t d = out.back(i);
    for (int k = 0; k < n; ++k) {
      const Shape* shape = in[k].data ? in[k].shape : nullptr;
      const bool varies = shape && i < shape->ndim() && shape->back(i) != 1;
      by[k] = varies ? stride[k] : 0;
      if (varies) stride[k] *= d;
    }
    s.add(d, by);
  }
  s.close();
  return s;
}

// Rows of an operand laid over y[rows, row], which it moves along by `step` within a row and by `along` from row to
// row: dense, the same row again and again, or one element for each row.
template <class T>
void lay_rows(const T* x, index_t step, index_t row, index_t along, index_t rows, T* y) {
  const auto copy = [](T* to, const T* from, index_t n) {
    std::memcpy(to, from, static_cast<std::size_t>(n) * sizeof(T));
  };
  if (step && along) return copy(y, x, rows * row);
  if (along == 0) {
    if (step)
      copy(y, x, row);
    else
      std::fill_n(y, row, *x);
    for (index_t done = 1; done < rows; done += std::min(done, rows - done))
      copy(y + done * row, y, std::min(done, rows - done) * row);
    return;
  }
  using Vector __attribute__((vector_size(16))) = T;
  constexpr index_t chunk = 16 / sizeof(T);  // what it has too many, the next rows overwrite
  const index_t in_chunks = rows - 1 - (chunk - 1) / row;
  index_t r = 0;
  for (T* to = y; r < in_chunks; ++r, to += row) {
    Vector value;
    for (index_t c = 0; c < chunk; ++c) value[c] = x[r];
    for (index_t j = 0; j < row; j += chunk) std::memcpy(to + j, &value, sizeof value);
  }
  for (; r < rows; ++r) std::fill_n(y + r * row, row, x[r]);
}

}  // namespace wengert
