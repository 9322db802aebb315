// For tests: what GPTQ is given, and GPTQ as it was published.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "spinor/quant/bands.h"
#include "spinor/quant/gptq.h"

namespace spinor::testing_quant {

// h = l l'.
inline Matrix<double> cholesky(const Matrix<double>& h) {
  Matrix<double> l(h.rows, h.rows);
  for (int64_t i = 0; i < h.rows; ++i) {
    for (int64_t j = 0; j <= i; ++j) {
      double sum = h(i, j);
      for (int64_t k = 0; k < j; ++k) sum -= l(i, k) * l(j, k);
      l(i, j) = i == j ? std::sqrt(sum) : sum / l(j, j);
    }
  }
  return l;
}

inline Matrix<double> permuted(const Matrix<double>& h, const std::vector<int64_t>& order) {
  Matrix<double> result(h.rows, h.rows);
  for (int64_t i = 0; i < h.rows; ++i)
    for (int64_t j = 0; j < h.rows; ++j) result(i, j) = h(order[static_cast<size_t>(i)], order[static_cast<size_t>(j)]);
  return result;
}

inline Matrix<float> narrowed(const Matrix<double>& m) {
  Matrix<float> result(m.rows, m.cols);
  std::ranges::transform(m.data, result.data.begin(), [](double x) { return static_cast<float>(x); });
  return result;
}

struct Result {
  Matrix<float> w;
  Matrix<uint8_t> codes;
  std::vector<double> errors;

  bool operator==(const Result& other) const {
    return w.data == other.w.data && codes.data == other.codes.data && errors == other.errors;
  }
};

inline Result quantized_by(const WeightEncoder& encoder, const Matrix<float>& w, const Matrix<float>& lower,
                           const std::vector<int64_t>& order, int64_t block_size = 24, int threads = 1) {
  Result result{w, Matrix<uint8_t>(w.rows, w.cols), {}};
  result.errors = gptq(encoder, {result.w.view(), result.codes.view(), lower.view(), order}, block_size, threads);
  return result;
}

inline Affine affine_at(const WeightEncoder& encoder, int64_t row, int64_t col) {
  const GroupGrid grid(encoder.layout());
  return encoder.affine(row / grid.size().group_rows * grid.cols() + col / grid.size().group_cols);
}

// GPTQ as it was published, in double: the upper factor of the inverse; the columns to come are moved.
struct Classical {
  Matrix<double> w;  // in the order of processing; what codes stand for
  Matrix<uint8_t> codes;

  // `columns`: of the weight, in the order of processing.
  Classical(const WeightEncoder& encoder, const Matrix<float>& weight, const Matrix<double>& h,
            const std::vector<int64_t>& columns)
      : w(weight.rows, weight.cols), codes(weight.rows, weight.cols) {
    const Matrix<double> u = upper_factor_of_inverse(permuted(h, columns));
    for (int64_t i = 0; i < w.rows; ++i) {
      for (int64_t k = 0; k < w.cols; ++k) w(i, k) = weight(i, columns[static_cast<size_t>(k)]);
      for (int64_t k = 0; k < w.cols; ++k) {
        const auto x = static_cast<float>(w(i, k));
        const Affine affine = affine_at(encoder, i, columns[static_cast<size_t>(k)]);
        float back = 0;
        quantize(encoder.numbers(), &x, 1, {1, 1}, &affine, &codes(i, k));
        EXPECT_TRUE(dequantize(encoder.numbers(), &codes(i, k), 1, {1, 1}, &affine, &back));
        const double error = (w(i, k) - back) / u(k, k);
        w(i, k) = back;
        for (int64_t j = k + 1; j < w.cols; ++j) w(i, j) -= error * u(k, j);
      }
    }
  }

 private:
  static Matrix<double> upper_factor_of_inverse(const Matrix<double>& h) {
    const int64_t n = h.rows;
    const Matrix<double> l = cholesky(h);
    Matrix<double> inverse(n, n);
    for (int64_t col = 0; col < n; ++col) {  // l l' x = e
      std::vector<double> x(static_cast<size_t>(n));
      x[static_cast<size_t>(col)] = 1;
      for (int64_t i = 0; i < n; ++i) {
        for (int64_t j = 0; j < i; ++j) x[static_cast<size_t>(i)] -= l(i, j) * x[static_cast<size_t>(j)];
        x[static_cast<size_t>(i)] /= l(i, i);
      }
      for (int64_t i = n - 1; i >= 0; --i) {
        for (int64_t j = i + 1; j < n; ++j) x[static_cast<size_t>(i)] -= l(j, i) * x[static_cast<size_t>(j)];
        x[static_cast<size_t>(i)] /= l(i, i);
      }
      for (int64_t i = 0; i < n; ++i) inverse(i, col) = x[static_cast<size_t>(i)];
    }
    const Matrix<double> lower = cholesky(inverse);
    Matrix<double> upper(n, n);
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = i; j < n; ++j) upper(i, j) = lower(j, i);
    return upper;
  }
};

// (w - q) h (w - q)' of each row.
inline std::vector<double> output_errors(const Matrix<float>& w, const Matrix<float>& q, const Matrix<double>& h) {
  std::vector<double> errors(static_cast<size_t>(w.rows));
  for (int64_t i = 0; i < w.rows; ++i)
    for (int64_t j = 0; j < w.cols; ++j)
      for (int64_t k = 0; k < w.cols; ++k)
        errors[static_cast<size_t>(i)] +=
            (double{w(i, j)} - double{q(i, j)}) * h(j, k) * (double{w(i, k)} - double{q(i, k)});
  return errors;
}

}  // namespace spinor::testing_quant
