// The modules of a checkpoint while they are listed, each made of a row.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "spinor/family/model_config.h"
#include "spinor/model/checked_tensors.h"
#include "spinor/model/model.h"

namespace spinor {

// Keeps references to its arguments. Modules stand in the order in which they are added; `layer` is -1 outside of the
// layers. Errors as of CheckedTensors.
class ModuleList {
 public:
  ModuleList(const Architecture& row, const ModelConfig& config, const Checkpoint& checkpoint);

  // Those that hold others are added once. What a module hangs from is added before it, if it was not yet.
  void container(std::string name, std::vector<std::string> classes, int layer = -1);
  void hang(const std::string& name, int layer);
  void embedding(const std::string& name, const EmbeddingRow& row, Role role, int layer = -1);
  void linear(const std::string& name, const LinearRow& row, int layer, Role role);  // and its parts
  void parameter(const std::string& name, const ParameterRow& row, int layer);
  void norm(const std::string& name, const NormRow& row, int layer);
  // Where it is tied, the weight of the first embedding. Error if it then is to have other rows than that has.
  void head(const std::string& name);

  // Whether the checkpoint has its weight, or a tensor of this name.
  bool is_there(const std::string& module) const;
  int64_t experts() const { return experts_; }  // 0: there are none
  int64_t count(const ParameterRow& row) const;
  // Of those with {E} in the name, in the layer or below `prefix`: their numbers in the files, and those that must be.
  std::vector<int64_t> numbers(const LinearRow& row, const std::string& prefix) const;
  // One, or those of all numbers.
  std::vector<std::string> names(const LinearRow& row, const std::string& prefix) const;

  std::vector<Module>& modules() { return modules_; }

 private:
  void part(const Module& whole, const PartRow& row);
  const CheckpointTensor* bias(const std::string& name, const LinearRow& row, const WeightShape& shape,
                               int layer) const;

  const Architecture& row_;
  const ModelConfig& config_;
  const Checkpoint& checkpoint_;
  CheckedTensors tensors_;
  int64_t experts_;
  std::set<std::string> containers_;
  std::vector<Module> modules_;
};

bool is_counted(const LinearRow& row);  // one for each expert

}  // namespace spinor
