#include "spinor/linalg/signed_hadamard.h"

#include <algorithm>
#include <numeric>

#include "spinor/linalg/reflect.h"
#include "spinor/linalg/scale.h"

namespace spinor {
namespace {

template <typename T>
T* grown(std::vector<T>& scratch, int64_t elements) {
  if (std::ssize(scratch) < elements) scratch.resize(static_cast<size_t>(elements));
  return scratch.data();
}

template <typename T>
void multiply_columns(MatrixView<T> x, const std::vector<float>& signs) {
  if (signs.empty()) return;
  for (int64_t i = 0; i < x.rows; ++i) scale(x.row(i), signs.data(), x.cols);
}

template <typename T>
void multiply_rows(MatrixView<T> x, const std::vector<float>& signs) {
  for (size_t i = 0; i < signs.size(); ++i)
    if (signs[i] < 0) negate(x.row(static_cast<int64_t>(i)), x.cols);
}

template <typename T>
const T* vector_of(const Reflection& reflection) {
  if constexpr (std::is_same_v<T, double>)
    return reflection.v.data();
  else
    return reflection.narrow.data();
}

template <typename T>
void reflect_each_row(const Reflection& reflection, MatrixView<T> x) {
  if (!reflection.empty()) reflect_rows(x, vector_of<T>(reflection), static_cast<T>(reflection.factor));
}

template <typename T>
void reflect_each_column(const Reflection& reflection, MatrixView<T> x, T* sums) {
  if (!reflection.empty()) reflect_columns(x, vector_of<T>(reflection), static_cast<T>(reflection.factor), sums);
}

}  // namespace

Reflection::Reflection(std::vector<double> vector, double two_over_its_square)
    : v(std::move(vector)), factor(two_over_its_square) {
  for (const double entry : v) narrow.push_back(static_cast<float>(entry));
}

int64_t SignedHadamard::bytes() const {
  return 2 * h.base() * h.base() + (std::ssize(left) + std::ssize(right)) * 4 + std::ssize(permutation) * 8 +
         std::ssize(reflection.v) * 12;
}

Matrix<double> SignedHadamard::matrix() const {
  const int64_t n = h.order();
  std::vector<size_t> p(static_cast<size_t>(n));
  for (size_t i = 0; i < p.size(); ++i) p[i] = permutation.empty() ? i : static_cast<size_t>(permutation[i]);
  const auto sign = [](const std::vector<float>& signs, size_t i) { return signs.empty() ? 1.0 : signs[i]; };
  Matrix<double> m(n, n);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) {
      const size_t pi = p[static_cast<size_t>(i)], pj = p[static_cast<size_t>(j)];
      m(i, j) = sign(left, pi) * h.sign(static_cast<int64_t>(pj), static_cast<int64_t>(pi)) * sign(right, pj) * scale;
    }
  if (reflection.empty()) return m;
  std::vector<double> v;
  for (const size_t pi : p) v.push_back(reflection.v[pi]);
  reflect_rows(m.view(), v.data(), reflection.factor);
  return m;
}

// With a permutation: x P goes to scratch, and back as z P^T.
template <typename T>
void SignedHadamard::multiply_right(MatrixView<T> x, bool transposed, std::vector<T>& scratch) const {
  const std::vector<int64_t>& p = permutation;
  const MatrixView<T> z = p.empty() ? x : MatrixView<T>(grown(scratch, x.rows * x.cols), x.rows, x.cols);
  for (int64_t i = 0; i < x.rows; ++i)
    for (size_t j = 0; j < p.size(); ++j) z(i, p[j]) = x(i, static_cast<int64_t>(j));
  if (transposed) reflect_each_row(reflection, z);
  multiply_columns(z, transposed ? right : left);
  h.rows(z, static_cast<T>(scale), !transposed);
  multiply_columns(z, transposed ? left : right);
  if (!transposed) reflect_each_row(reflection, z);
  for (int64_t i = 0; i < x.rows; ++i)
    for (size_t j = 0; j < p.size(); ++j) x(i, static_cast<int64_t>(j)) = z(i, p[j]);
}

// With a permutation: P^T x goes to scratch, and back as P z. Behind it, the sums of a reflection.
template <typename T>
void SignedHadamard::multiply_left(MatrixView<T> x, bool transposed, std::vector<T>& scratch) const {
  const std::vector<int64_t>& p = permutation;
  const int64_t copied = p.empty() ? 0 : x.rows * x.cols;
  T* room = grown(scratch, copied + (reflection.empty() ? 0 : x.cols));
  const MatrixView<T> z = p.empty() ? x : MatrixView<T>(room, x.rows, x.cols);
  for (size_t i = 0; i < p.size(); ++i) std::copy_n(x.row(static_cast<int64_t>(i)), x.cols, z.row(p[i]));
  if (!transposed) reflect_each_column(reflection, z, room + copied);
  multiply_rows(z, transposed ? left : right);
  h.columns(z, static_cast<T>(scale), !transposed);
  multiply_rows(z, transposed ? right : left);
  if (transposed) reflect_each_column(reflection, z, room + copied);
  for (size_t i = 0; i < p.size(); ++i) std::copy_n(z.row(p[i]), x.cols, x.row(static_cast<int64_t>(i)));
}

template void SignedHadamard::multiply_right(MatrixView<float>, bool, std::vector<float>&) const;
template void SignedHadamard::multiply_right(MatrixView<double>, bool, std::vector<double>&) const;
template void SignedHadamard::multiply_left(MatrixView<float>, bool, std::vector<float>&) const;
template void SignedHadamard::multiply_left(MatrixView<double>, bool, std::vector<double>&) const;

Reflection reflection_that_fixes_ones(const SignedHadamard& r) {
  const int64_t n = r.h.order();
  Matrix<double> image(1, n);
  image.data = {r.left.begin(), r.left.end()};
  if (r.left.empty()) image.data.assign(static_cast<size_t>(n), 1);
  r.h.rows(image.view(), 1.0, true);  // sums of signs: exact
  multiply_columns(image.view(), r.right);
  const double root = std::sqrt(static_cast<double>(n));
  const double sum = std::accumulate(image.data.begin(), image.data.end(), 0.0) / root;
  for (double& v : image.data) v = v / root - 1;
  if (std::ranges::all_of(image.data, [](double v) { return v == 0; })) return {};
  return Reflection(std::move(image.data), 1 / (static_cast<double>(n) - sum));  // v . v = n + n - 2 sum
}

}  // namespace spinor
