// For tests: weights full of awkward values, and whole weights through the codecs.
#pragma once

#include <bit>
#include <cmath>
#include <cstring>

#include "spinor/base/view.h"
#include "spinor/quant/decoder.h"
#include "spinor/quant/encoder.h"

namespace spinor::testing_quant {

inline uint64_t hash_of(uint64_t index, uint64_t seed) {
  uint64_t h = index + seed * 1000003;
  for (const uint64_t factor : {0x9E3779B1u, 0x85EBCA77u}) {
    h = h * factor & 0xffffffff;
    h ^= h >> 15;
  }
  return h;
}

// As tests/golden/make_codecs.py. By row mod 8: three of ordinary rows, ties, zeros with and without sign, denormals,
// an outlier, one sign.
inline Matrix<float> awkward_weight(int64_t rows, int64_t cols, uint64_t seed) {
  Matrix<float> w(rows, cols);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < cols; ++j) {
      const auto h = static_cast<int64_t>(hash_of(static_cast<uint64_t>(i * cols + j), seed));
      float x = std::ldexp(static_cast<float>(h % 65536 - 32768), static_cast<int>(-21 + (h >> 16) % 4));
      if (i % 8 == 3) x = static_cast<float>(h % 31 - 15) / 2;
      if (i % 8 == 4) x = h % 2 == 0 ? 0.0F : -0.0F;
      if (i % 8 == 5) x = std::ldexp(static_cast<float>(h % 4096 - 2048), -149);
      if (i % 8 == 6 && h % 97 == 0) x = -3000.25F;
      w(i, j) = i % 8 == 7 ? std::fabs(x) : x;
    }
  }
  return w;
}

// A cut into tiles that respects the granularity of codes.
struct Cut {
  int64_t rows, cols;  // of a tile
  bool backwards = false;
};

template <class Work>
void for_each_tile(const WeightLayout& layout, const Cut& cut, Work work) {
  const int64_t down = (layout.rows + cut.rows - 1) / cut.rows, across = (layout.cols + cut.cols - 1) / cut.cols;
  for (int64_t k = 0; k < down * across; ++k) {
    const int64_t at = cut.backwards ? down * across - 1 - k : k;
    const int64_t row = at / across * cut.rows, col = at % across * cut.cols;
    work(row, col, std::min(cut.rows, layout.rows - row), std::min(cut.cols, layout.cols - col));
  }
}

inline Cut whole(const WeightLayout& layout) {
  return {layout.rows, layout.cols};
}

inline bool whole_groups(const WeightLayout& layout, const Cut& cut) {
  const Granularity g = granularity(layout);
  return (cut.rows % g.group_rows == 0 || cut.rows >= layout.rows) &&
         (cut.cols % g.group_cols == 0 || cut.cols >= layout.cols);
}

inline void observe(WeightEncoder& encoder, const Matrix<float>& w, const Cut& cut) {
  const int passes = encoder.passes(whole_groups(encoder.layout(), cut));
  for (int pass = 0; pass < passes; ++pass) {
    for_each_tile(encoder.layout(), cut, [&](int64_t row, int64_t col, int64_t rows, int64_t cols) {
      encoder.observe(pass, row, col, w.view().block(row, col, rows, cols));
    });
    encoder.end_pass(pass);
  }
}

// Where a tile's codes begin in a row; the columns before it fill whole bytes.
inline int64_t offset(const WeightEncoder& encoder, int64_t col) {
  return encoder.row_bytes(col);
}

// All tensors of the weight, in the order of stored_tensors().
inline std::vector<std::vector<std::byte>> encode(WeightEncoder& encoder, const Matrix<float>& w, const Cut& cut) {
  const WeightLayout& layout = encoder.layout();
  const int64_t stride = encoder.row_bytes(layout.cols);
  std::vector<std::vector<std::byte>> tensors(stored_tensors(layout).size());
  tensors[0].resize(static_cast<size_t>(layout.rows * stride));
  for_each_tile(layout, cut, [&](int64_t row, int64_t col, int64_t rows, int64_t cols) {
    encoder.encode(row, col, w.view().block(row, col, rows, cols),
                   tensors[0].data() + row * stride + offset(encoder, col), stride);
  });
  for (size_t i = 1; i < tensors.size(); ++i) tensors[i] = encoder.small_tensor(i);
  return tensors;
}

inline std::vector<std::vector<std::byte>> quantized(const WeightLayout& layout, const Matrix<float>& w,
                                                     const ObserverOptions& observer = {},
                                                     QuantizationArithmetic arithmetic = QuantizationArithmetic::exact,
                                                     const std::vector<float>& importance = {}) {
  WeightEncoder encoder(layout, observer, arithmetic);
  if (!importance.empty()) encoder.set_importance(importance);
  observe(encoder, w, whole(layout));
  return encode(encoder, w, whole(layout));
}

template <typename T = float>
Matrix<T> decoded(const WeightLayout& layout, std::vector<std::vector<std::byte>> tensors) {
  const std::vector<std::byte> codes = std::move(tensors.front());
  tensors.erase(tensors.begin());
  const WeightDecoder decoder(layout, std::move(tensors));
  Matrix<T> w(layout.rows, layout.cols);
  decoder.decode(0, 0, codes.data(), decoder.row_bytes(layout.cols), w.view());
  return w;
}

}  // namespace spinor::testing_quant
