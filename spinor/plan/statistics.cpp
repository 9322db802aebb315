#include "spinor/plan/statistics.h"

#include <algorithm>
#include <cmath>

#include "spinor/base/error.h"
#include "spinor/base/parallel.h"
#include "spinor/plan/execute.h"

namespace spinor {
namespace {

struct Moments {
  double max = 0, squares = 0, fourths = 0;
  std::vector<double> columns;  // sum of squares

  void add(const Block& tile, MatrixView<const double> x) {
    for (int64_t i = 0; i < x.rows; ++i)
      for (int64_t j = 0; j < x.cols; ++j) {
        const double square = x(i, j) * x(i, j);
        max = std::max(max, square);
        squares += square;
        fourths += square * square;
        columns[static_cast<size_t>(tile.col + j)] += square;
      }
  }
  void add(const Moments& other) {
    max = std::max(max, other.max);
    squares += other.squares;
    fourths += other.fourths;
    for (size_t j = 0; j < columns.size(); ++j) columns[j] += other.columns[j];
  }
};

OutlierStatistics summary(const TensorPlan& tensor, const Moments& moments) {
  const auto count = static_cast<double>(tensor.source->info.elements());
  const auto rows = static_cast<double>(tensor.source->info.rows());
  const double mean_square = moments.squares / count;
  OutlierStatistics result{.tensor = tensor.name};
  if (mean_square == 0) return result;
  const auto worst = std::max_element(moments.columns.begin(), moments.columns.end());
  result.max_over_rms = std::sqrt(moments.max / mean_square);
  result.kurtosis = moments.fourths / count / (mean_square * mean_square);
  result.worst_channel = worst - moments.columns.begin();
  result.worst_channel_rms = std::sqrt(*worst / rows / mean_square);
  return result;
}

OutlierStatistics statistics_of(const RewritePlan& plan, const TensorPlan& tensor, int threads,
                                const std::stop_token& stop) {
  // The number of partial sums is a constant, so that the result does not depend on the number of threads.
  constexpr int64_t kParts = 16;
  const TensorProgram<double> program(plan, tensor, DType::F64);
  const int64_t blocks = program.cut().blocks();
  std::vector<Moments> parts(kParts);
  parallel_for(kParts, threads, [&](int64_t part, int) {
    Moments& moments = parts[static_cast<size_t>(part)];
    moments.columns.resize(static_cast<size_t>(program.cut().cols));
    TensorProgram<double>::Workspace work;
    for (int64_t block = part; block < blocks; block += kParts) {
      if (stop.stop_requested()) throw Stopped();
      program.compute_tiles(program.cut().block(block), work,
                            [&](const Block& tile, MatrixView<const double> x) { moments.add(tile, x); });
    }
  });
  for (int64_t part = 1; part < kParts; ++part) parts[0].add(parts[static_cast<size_t>(part)]);
  return summary(tensor, parts[0]);
}

}  // namespace

std::vector<OutlierStatistics> outlier_statistics(const RewritePlan& plan, const std::vector<std::string>& tensors,
                                                  int threads, std::stop_token stop) {
  std::vector<OutlierStatistics> result;
  for (const TensorPlan& tensor : plan.tensors()) {
    const TensorInfo& source = tensor.source->info;
    const bool asked = tensors.empty() ? source.shape.size() == 2
                                       : std::find(tensors.begin(), tensors.end(), tensor.name) != tensors.end();
    if (asked && info(source.dtype).editable && source.elements() > 0)
      result.push_back(statistics_of(plan, tensor, threads, stop));
  }
  return result;
}

}  // namespace spinor
