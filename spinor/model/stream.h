// The places of a row found among the modules of a model.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "spinor/family/model_config.h"
#include "spinor/model/model.h"

namespace spinor {

// Names of a row resolved to modules.
class ModuleNames {
 public:
  using Index = std::map<std::string, const Module*, std::less<>>;
  ModuleNames(const Architecture& row, const ModelConfig& config, const Checkpoint& checkpoint, const Index& by_name);

  const Architecture& row() const { return *row_; }
  const ModelConfig& config() const { return *config_; }
  // Those of the names that the layer has, {E} being each number, in order.
  std::vector<const Module*> in_layer(int64_t layer, const std::vector<std::string>& names) const;
  std::string layer_prefix(int64_t layer) const;  // "model.layers.3."
  // Those outside the layers, the head among them: one, or one for each number of {E}.
  std::vector<const Module*> outer(const std::string& name) const;
  std::vector<const Module*> below(const std::string& prefix, const std::string& name) const;
  bool has(const std::string& module) const { return by_name_->contains(module); }

 private:
  const Architecture* row_;
  const ModelConfig* config_;
  std::string root_, head_;
  const Index* by_name_;
};

Stream stream_of(const ModuleNames& names);                     // without what towers feed to it
std::vector<const Module*> feeds_of(const ModuleNames& names);  // of a tower
// Why the row says that a rotation ("R1") is impossible; empty: it does not.
std::string refusal_of(const Architecture& row, const ModelConfig& config, std::string_view rotation);
std::vector<ValueOutput> value_outputs_of(const ModuleNames& names);

}  // namespace spinor
