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
  const int64_t unit = reader.granularity().rows;
  const int64_t step = std::max<int64_t>(1, kBlockElements / std::max<int64_t>(1, cols * unit)) * unit;
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

// Cuts the rows from `first` to `last` into at most kParts equal ranges of whole units and calls work(part, begin, end)
// for each, on several threads.
void for_row_ranges(int64_t first, int64_t last, int64_t unit, int threads,
                    const std::function<void(int64_t, int64_t, int64_t)>& work) {
  const int64_t size = (last - first + kParts * unit - 1) / (kParts * unit) * unit;
  parallel_for(kParts, threads, [&](int64_t part, int) {
    work(part, std::min(last, first + part * size), std::min(last, first + (part + 1) * size));
  });
}

struct SumsOfRow {
  double sum, squares;
};

// Eight partial sums: the compiler may use vectors, and the order of additions is the same on every machine.
SumsOfRow dot(const double* a, const double* b, int64_t n) {
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
  SumsOfRow total{};
  for (size_t l = 0; l < 8; ++l) total = {total.sum + sum[l], total.squares + squares[l]};
  return total;
}

}  // namespace

namespace {

// Of some rows of w.
RowProducts products_of_rows(const Checkpoint& checkpoint, const CheckpointTensor& w, const Matrix<double>& x,
                             int threads, int64_t begin, int64_t end) {
  RowProducts result{{x.rows, end - begin}, {x.rows, end - begin}};
  const WeightReader reader(checkpoint, w);
  const auto multiply = [&](int64_t first, MatrixView<const double> rows) {
    for (int64_t i = 0; i < rows.rows; ++i)
      for (int64_t p = 0; p < x.rows; ++p) {
        const auto [sum, squares] = dot(rows.row(i), x.view().row(p), rows.cols);
        result.y(p, first - begin + i) = sum;
        result.energy(p, first - begin + i) = squares;
      }
  };
  for_row_ranges(begin, end, reader.granularity().rows, threads,
                 [&](int64_t, int64_t first, int64_t last) { for_rows(reader, w.info.cols(), first, last, multiply); });
  return result;
}

// Columns side by side.
void append_products(RowProducts& all, const RowProducts& more) {
  const auto joined = [](const Matrix<double>& a, const Matrix<double>& b) {
    Matrix<double> c(b.rows, a.cols + b.cols);
    for (int64_t i = 0; i < c.rows; ++i) {
      for (int64_t j = 0; j < a.cols; ++j) c(i, j) = a(i, j);
      for (int64_t j = 0; j < b.cols; ++j) c(i, a.cols + j) = b(i, j);
    }
    return c;
  };
  all = {joined(all.y, more.y), joined(all.energy, more.energy)};
}

Matrix<double> columns(const Matrix<double>& z, int64_t first, int64_t count) {
  Matrix<double> some(z.rows, count);
  for (int64_t i = 0; i < z.rows; ++i)
    for (int64_t j = 0; j < count; ++j) some(i, j) = z(i, first + j);
  return some;
}

}  // namespace

RowProducts row_products(const Checkpoint& checkpoint, const CheckpointTensor& w, const Matrix<double>& x,
                         int threads) {
  return products_of_rows(checkpoint, w, x, threads, 0, w.info.rows());
}

RowProducts combine_rows(const Checkpoint& checkpoint, const CheckpointTensor& w, const Matrix<double>& z, int threads,
                         int64_t first_row) {
  const int64_t cols = w.info.cols();
  const WeightReader reader(checkpoint, w);
  std::vector<RowProducts> sums(kParts);
  for_row_ranges(first_row, first_row + z.cols, reader.granularity().rows, threads,
                 [&](int64_t part, int64_t begin, int64_t end) {
                   RowProducts& sum = sums[static_cast<size_t>(part)] = {{z.rows, cols}, {z.rows, cols}};
                   for_rows(reader, cols, begin, end, [&](int64_t first, MatrixView<const double> rows) {
                     for (int64_t i = 0; i < rows.rows; ++i)
                       for (int64_t p = 0; p < z.rows; ++p)
                         for (int64_t j = 0; j < cols; ++j) {
                           const double term = z(p, first - first_row + i) * rows(i, j);
                           sum.y(p, j) += term;
                           sum.energy(p, j) += term * term;
                         }
                   });
                 });
  RowProducts total{{z.rows, cols}, {z.rows, cols}};
  for (const RowProducts& sum : sums)
    for (size_t i = 0; i < total.y.data.size(); ++i) {
      total.y.data[i] += sum.y.data[i];
      total.energy.data[i] += sum.energy.data[i];
    }
  return total;
}

RowProducts part_of(const RowProducts& whole, const Slice& part) {
  RowProducts result;
  for (int64_t first = 0; first < whole.y.cols; first += part.period)
    append_products(result, {columns(whole.y, first + part.begin, part.size),
                             columns(whole.energy, first + part.begin, part.size)});
  return result;
}

RowProducts read_products(const Checkpoint& checkpoint, const Module& module, const Matrix<double>& x, int threads) {
  RowProducts result;
  if (!module.shape.transposed)
    result = row_products(checkpoint, *module.weight, x, threads);
  else
    for (int64_t i = 0; i < module.shape.count; ++i)
      append_products(result, combine_rows(checkpoint, *module.weight, x, threads, i * module.shape.in));
  return module.part ? part_of(result, *module.part) : result;
}

Matrix<double> written(const Checkpoint& checkpoint, const Module& module, const Matrix<double>& z, int threads) {
  const WeightShape& shape = module.shape;
  if (module.kind == ModuleKind::embedding || shape.transposed)
    return combine_rows(checkpoint, *module.weight, z, threads).y;
  Matrix<double> sum(z.rows, shape.out);
  for (int64_t i = 0; i < shape.count; ++i) {
    const RowProducts one = products_of_rows(checkpoint, *module.weight, columns(z, i * shape.in, shape.in), threads,
                                             i * shape.out, (i + 1) * shape.out);
    for (size_t j = 0; j < sum.data.size(); ++j) sum.data[j] += one.y.data[j];
  }
  return sum;
}

int64_t inputs(const Module& module) {
  return module.kind == ModuleKind::embedding ? module.shape.out : module.shape.count * module.shape.in;
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
