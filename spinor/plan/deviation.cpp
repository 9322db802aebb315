#include "spinor/plan/deviation.h"

#include <cmath>
#include <limits>

#include "spinor/linalg/convert.h"
#include "spinor/plan/execute.h"

namespace spinor {

double deviation(const RewritePlan& plan, const TensorPlan& tensor, const Checkpoint& written) {
  const CheckpointTensor& other = written.at(tensor.name);
  if (other.info.shape != tensor.source->info.shape) return std::numeric_limits<double>::infinity();
  const int64_t element = info(other.info.dtype).bits / 8, cols = other.info.cols();
  const TensorProgram<double> program(plan, tensor, DType::F64);
  TensorProgram<double>::Workspace work;
  std::vector<std::byte> bytes;
  std::vector<double> row;
  double difference = 0, size = 0;
  const auto compare = [&](const Block& tile, MatrixView<double> x) {
    bytes.resize(static_cast<size_t>(tile.cols * element));
    row.resize(static_cast<size_t>(tile.cols));
    for (int64_t i = 0; i < tile.rows; ++i) {
      written.read(other, ((tile.row + i) * cols + tile.col) * element, bytes);
      load(other.info.dtype, bytes.data(), row.data(), tile.cols);
      for (int64_t j = 0; j < tile.cols; ++j) {
        const double error = x(i, j) - row[static_cast<size_t>(j)];
        difference += error * error;
        size += x(i, j) * x(i, j);
      }
    }
  };
  for (int64_t block = 0; block < program.cut().blocks(); ++block)
    program.compute_tiles(program.cut().block(block), work, compare);
  return difference == 0 ? 0 : std::sqrt(difference / size);
}

}  // namespace spinor
