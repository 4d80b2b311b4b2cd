// Kernels that only move elements: transpose, gather and scatter-add of rows.
#pragma once
#include "kernels/table.h"

namespace wengert::kernels {
namespace {

// y[b, c, r] = x[b, r, c], by square tiles so that both sides stay within a few cache lines.
template <class T>
void transpose(const T* x, T* y, index_t batch, index_t rows, index_t cols) {
  constexpr index_t tile = 16;
  for (index_t b = 0; b < batch; ++b, x += rows * cols, y += rows * cols)
    for (index_t r0 = 0; r0 < rows; r0 += tile)
      for (index_t c0 = 0; c0 < cols; c0 += tile)
        for (index_t c = c0; c < cols && c < c0 + tile; ++c)
          for (index_t r = r0; r < rows && r < r0 + tile; ++r) y[c * rows + r] = x[r * cols + c];
}

template <class T>
void gather(const T* x, const index_t* index, T* y, index_t n, index_t width) {
  for (index_t i = 0; i < n; ++i, y += width) {
    const T* row = x + index[i] * width;
    for (index_t j = 0; j < width; ++j) y[j] = row[j];
  }
}

template <class T>
void scatter_add(const T* x, const index_t* index, T* y, index_t n, index_t width) {
  for (index_t i = 0; i < n; ++i, x += width) {
    T* row = y + index[i] * width;
    for (index_t j = 0; j < width; ++j) row[j] = row[j] + x[j];
  }
}

}  // namespace
}  // namespace wengert::kernels
