#include "spinor/plan/deviation.h"

#include <cmath>
#include <limits>

#include "spinor/plan/execute.h"

namespace spinor {

double deviation(const RewritePlan& plan, const TensorPlan& tensor, const Checkpoint& written) {
  const CheckpointTensor& other = written.at(tensor.name);
  if (other.info.shape != tensor.source->info.shape) return std::numeric_limits<double>::infinity();
  const WeightReader reader(written, other);
  const TensorProgram<double> program(plan, tensor, DType::F64);
  TensorProgram<double>::Workspace work;
  std::vector<std::byte> bytes;
  Matrix<double> y;
  double difference = 0, size = 0;
  const auto compare = [&](const Block& tile, MatrixView<double> x) {
    y = Matrix<double>(tile.rows, tile.cols);
    reader.read(tile, bytes);
    reader.load(tile, bytes, tile, y.view());
    for (int64_t i = 0; i < tile.rows; ++i)
      for (int64_t j = 0; j < tile.cols; ++j) {
        const double error = x(i, j) - y(i, j);
        difference += error * error;
        size += x(i, j) * x(i, j);
      }
  };
  for (int64_t block = 0; block < program.cut().blocks(); ++block)
    program.compute_tiles(program.cut().block(block), work, compare);
  return difference == 0 ? 0 : std::sqrt(difference / size);
}

}  // namespace spinor
