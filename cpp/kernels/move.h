// Kernels that only move elements: transpose, gather and scatter-add of rows.
#pragma once
#include "kernels/shuffle.h"
#include "kernels/table.h"
#include "kernels/vec.h"

namespace wengert::kernels {
namespace {

// y[b, c, r] = x[b, r, c], by square tiles, so that both sides stay within a few cache lines and pages.
template <class T>
void transpose(const T* x, T* y, index_t batch, index_t rows, index_t cols) {
  constexpr index_t tile = 32;
  for (index_t b = 0; b < batch; ++b, x += rows * cols, y += rows * cols)
    for (index_t r = 0; r < rows; r += tile)
      for (index_t c = 0; c < cols; c += tile) {
        const index_t height = rows - r < tile ? rows - r : tile, width = cols - c < tile ? cols - c : tile;
        transpose_block(x + r * cols + c, cols, y + c * rows + r, rows, height, width, height);
      }
}

template <class T>
void gather(const T* x, const index_t* index, T* y, index_t n, index_t width) {
  if (width == 1) {
    for (index_t i = 0; i < n; ++i) y[i] = x[index[i]];
    return;
  }
  for (index_t i = 0; i < n; ++i, y += width) {
    const T* row = x + index[i] * width;
    index_t j = 0;
    for (; j + Vec<T>::lanes <= width; j += Vec<T>::lanes) Vec<T>::load(row + j).store(y + j);
    if (j < width) Vec<T>::load(row + j, static_cast<int>(width - j)).store(y + j, static_cast<int>(width - j));
  }
}

template <class T>
void scatter_add(const T* x, const index_t* index, T* y, index_t n, index_t width) {
  for (index_t i = 0; i < n; ++i, x += width) {
    T* row = y + index[i] * width;
    index_t j = 0;
    for (; j + Vec<T>::lanes <= width; j += Vec<T>::lanes) (Vec<T>::load(row + j) + Vec<T>::load(x + j)).store(row + j);
    for (; j < width; ++j) row[j] = row[j] + x[j];
  }
}

}  // namespace
}  // namespace wengert::kernels
