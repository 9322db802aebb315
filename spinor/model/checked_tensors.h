// Tensors of a checkpoint that a row and config.json say must be there, of the shapes they say.
#pragma once

#include <string>
#include <vector>

#include "spinor/family/architecture.h"
#include "spinor/family/model_config.h"
#include "spinor/io/checkpoint.h"

namespace spinor {

// Keeps references to its arguments. Error naming the tensor for one that is missing or has another shape.
class CheckedTensors {
 public:
  CheckedTensors(const Architecture& row, const ModelConfig& config, const Checkpoint& checkpoint)
      : row_(row), config_(config), checkpoint_(checkpoint) {}

  // Whether the checkpoint has the weight of a module, or a tensor of this name.
  bool is_there(const std::string& module) const;
  // Of a layer, if it is one of a layer. `any` is the size that it has; `any` alone: it may have any shape.
  const CheckpointTensor* shaped(const std::string& name, const std::vector<std::string>& formulas,
                                 int64_t layer = -1) const;
  const CheckpointTensor* rows(const std::string& name, const std::string& rows, const std::string& columns) const;
  const CheckpointTensor* weight(const std::string& name, const LinearRow& row, int64_t layer) const;  // by its layout

 private:
  const CheckpointTensor* present(const std::string& name) const;
  const CheckpointTensor* filter(const std::string& name, const LinearRow& row) const;
  [[noreturn]] void fail_shape(const CheckpointTensor& tensor, const std::vector<int64_t>& shape,
                               const std::vector<std::string>& formulas, int64_t layer) const;
  std::string missing_hint(const std::string& name) const;

  const Architecture& row_;
  const ModelConfig& config_;
  const Checkpoint& checkpoint_;
};

}  // namespace spinor
