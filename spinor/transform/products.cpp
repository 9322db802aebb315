#include "spinor/transform/products.h"

#include <algorithm>
#include <array>
#include <functional>

#include "spinor/base/parallel.h"
#include "spinor/model/weight_reader.h"

namespace spinor {
namespace {

constexpr int64_t kBlockElements = 1 << 17;
constexpr int64_t kParts = 64;  // a constant: sums over parts must not depend on the number of threads

// Calls visit(first row, rows as doubles) for the rows of w from `first` to `last`, a megabyte or two at a time.
void for_rows(const WeightReader& reader, int64_t cols, int64_t first, int64_t last,
              const std::function<void(int64_t, MatrixView<const double>)>& visit) {
  const int64_t step = std::max<int64_t>(1, kBlockElements / std::max<int64_t>(1, cols));
  std::vector<std::byte> bytes;
  std::vector<double> x;
  for (; first < last; first += step) {
    const Block block{first, 0, std::min(step, last - first), cols};
    x.resize(static_cast<size_t>(block.rows * cols));
    reader.read(block, bytes);
    reader.load(block, bytes, block, MatrixView<double>(x.data(), block.rows, cols));
    visit(first, {x.data(), block.rows, cols});
  }
}

// Cuts the rows of w into at most `parts` equal ranges and calls work(part, first, last) for each, on several threads.
void for_row_ranges(const CheckpointTensor& w, int64_t parts, int threads,
                    const std::function<void(int64_t, int64_t, int64_t)>& work) {
  const int64_t rows = w.info.rows(), size = (rows + parts - 1) / parts;
  parallel_for(parts, threads,
               [&](int64_t part, int) { work(part, std::min(rows, part * size), std::min(rows, (part + 1) * size)); });
}

struct Sums {
  double sum, squares;
};

// Eight partial sums: the compiler may use vectors, and the order of additions is the same on every machine.
Sums dot(const double* a, const double* b, int64_t n) {
  std::array<double, 8> sum{}, squares{};
  int64_t j = 0;
  for (; j + 8 <= n; j += 8)
    for (size_t l = 0; l < 8; ++l) {
      const double p = a[j + static_cast<int64_t>(l)] * b[j + static_cast<int64_t>(l)];
      sum[l] += p;
      squares[l] += p * p;
    }
  for (; j < n; ++j) {
    const double p = a[j] * b[j];
    sum[0] += p;
    squares[0] += p * p;
  }
  Sums total{};
  for (size_t l = 0; l < 8; ++l) total = {total.sum + sum[l], total.squares + squares[l]};
  return total;
}

}  // namespace

RowProducts row_products(const Checkpoint& checkpoint, const CheckpointTensor& w, const Matrix<double>& x,
                         int threads) {
  RowProducts result{{x.rows, w.info.rows()}, {x.rows, w.info.rows()}};
  const WeightReader reader(checkpoint, w);
  const auto multiply = [&](int64_t first, MatrixView<const double> rows) {
    for (int64_t i = 0; i < rows.rows; ++i)
      for (int64_t p = 0; p < x.rows; ++p) {
        const auto [sum, squares] = dot(rows.row(i), x.view().row(p), rows.cols);
        result.y(p, first + i) = sum;
        result.energy(p, first + i) = squares;
      }
  };
  for_row_ranges(w, kParts, threads,
                 [&](int64_t, int64_t first, int64_t last) { for_rows(reader, w.info.cols(), first, last, multiply); });
  return result;
}

Matrix<double> combine_rows(const Checkpoint& checkpoint, const CheckpointTensor& w, const Matrix<double>& z,
                            int threads) {
  const int64_t cols = w.info.cols();
  const WeightReader reader(checkpoint, w);
  std::vector<Matrix<double>> sums(kParts);
  for_row_ranges(w, kParts, threads, [&](int64_t part, int64_t begin, int64_t end) {
    Matrix<double>& sum = sums[static_cast<size_t>(part)] = {z.rows, cols};
    for_rows(reader, cols, begin, end, [&](int64_t first, MatrixView<const double> rows) {
      for (int64_t i = 0; i < rows.rows; ++i)
        for (int64_t p = 0; p < z.rows; ++p)
          for (int64_t j = 0; j < cols; ++j) sum(p, j) += z(p, first + i) * rows(i, j);
    });
  });
  Matrix<double> total(z.rows, cols);
  for (const Matrix<double>& sum : sums)
    for (size_t i = 0; i < total.data.size(); ++i) total.data[i] += sum.data[i];
  return total;
}

std::vector<double> values(const Checkpoint& checkpoint, const CheckpointTensor& w) {
  std::vector<double> result;
  result.reserve(static_cast<size_t>(w.info.elements()));
  for_rows(WeightReader(checkpoint, w), w.info.cols(), 0, w.info.rows(), [&](int64_t, MatrixView<const double> rows) {
    result.insert(result.end(), rows.data, rows.data + rows.rows * rows.cols);
  });
  return result;
}

}  // namespace spinor
