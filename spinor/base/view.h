// A matrix somebody else owns: pointer, shape, stride. Passed by value, never kept beyond the call.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

namespace spinor {

// A rectangle of a matrix.
struct Block {
  int64_t row = 0, col = 0, rows = 0, cols = 0;
};

template <typename T>
struct MatrixView {
  T* data = nullptr;
  int64_t rows = 0, cols = 0;
  int64_t stride = 0;  // elements from one row to the next, >= cols

  MatrixView() = default;
  MatrixView(T* d, int64_t r, int64_t c) : MatrixView(d, r, c, c) {}
  MatrixView(T* d, int64_t r, int64_t c, int64_t s) : data(d), rows(r), cols(c), stride(s) { assert(s >= c); }
  // A view of mutable elements is also a view of const ones.
  template <typename U>
    requires std::is_same_v<T, const U>
  MatrixView(MatrixView<U> v) : MatrixView(v.data, v.rows, v.cols, v.stride) {}

  T* row(int64_t i) const { return data + i * stride; }
  T& operator()(int64_t i, int64_t j) const { return data[i * stride + j]; }
  MatrixView block(int64_t row0, int64_t col0, int64_t n_rows, int64_t n_cols) const {
    return {data + row0 * stride + col0, n_rows, n_cols, stride};
  }
};

// A dense row-major matrix that owns its elements.
template <typename T>
struct Matrix {
  int64_t rows = 0, cols = 0;
  std::vector<T> data;

  Matrix() = default;
  Matrix(int64_t r, int64_t c) : rows(r), cols(c), data(static_cast<size_t>(r * c)) {}
  T& operator()(int64_t i, int64_t j) { return data[static_cast<size_t>(i * cols + j)]; }
  const T& operator()(int64_t i, int64_t j) const { return data[static_cast<size_t>(i * cols + j)]; }
  MatrixView<T> view() { return {data.data(), rows, cols}; }
  MatrixView<const T> view() const { return {data.data(), rows, cols}; }
};

}  // namespace spinor
