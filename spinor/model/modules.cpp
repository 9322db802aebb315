#include "spinor/model/modules.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "spinor/base/list.h"
#include "spinor/model/layer_kinds.h"
#include "spinor/model/module_list.h"
#include "spinor/model/module_name.h"
#include "spinor/model/mtp_modules.h"
#include "spinor/model/roles.h"

namespace spinor {
namespace {

std::string first_component(const std::string& name) {
  return name.substr(0, name.find('.'));
}

// A row's modules in the order of named_modules().
class Walk {
 public:
  Walk(const Architecture& row, const ModelConfig& config, const Checkpoint& checkpoint)
      : row_(row),
        config_(config),
        list_(row, config, checkpoint),
        root_(root_of(row, checkpoint)),
        head_(head_of(row, checkpoint)) {}

  std::vector<Module> run() {
    const std::string base = row_.classes + "PreTrainedModel", model(parent_of(root_));
    if (!row_.names.empty()) list_.container("", {row_.names.front(), base, "PreTrainedModel", "Module"});
    list_.hang(model, -1);
    list_.container(model, {row_.classes + "Model", base, "PreTrainedModel", "Module"});
    embeddings();
    for (const LinearRow& row : row_.outer_linears)
      if (is_so(row.when, config_, true))
        for (const std::string& name : list_.names(row, root_)) list_.linear(name, row, -1, Role::projection);
    if (!row_.layers.empty()) list_.container(root_ + row_.layers, {"ModuleList", "Module"});
    for (int64_t i = 0; i < *config_.num_layers; ++i) layer(static_cast<int>(i));
    for (const NormRow& row : row_.outer_norms)
      if (is_so(row.when, config_, true))
        for (const std::string& name : counted(row.name, list_.experts())) list_.norm(root_ + name, row, -1);
    if (!row_.layers.empty()) list_.container(root_ + "rotary_emb", {row_.classes + "RotaryEmbedding", "Module"});
    if (!head_.empty()) list_.head(head_);
    add_mtp_modules(row_, config_, root_, list_);
    return std::move(list_.modules());
  }

 private:
  // That of the tokens is the first one.
  void embeddings() {
    bool tokens = !head_.empty();
    for (const EmbeddingRow& row : row_.embeddings) {
      if (!is_so(row.when, config_, true)) continue;
      const Role other = is_so(row.writes, config_, true) ? Role::position : Role::parameter;
      list_.embedding(root_ + row.name, row, std::exchange(tokens, false) ? Role::embedding : other);
    }
  }

  void layer(int index) {
    const std::string prefix = fmt::format("{}{}.{}.", root_, row_.layers, index);
    present_ = present_in_layer(row_, prefix, list_);
    list_.container(prefix.substr(0, prefix.size() - 1),
                    {row_.classes + "DecoderLayer", "GradientCheckpointingLayer", "Module"}, index);
    for (const std::string& block : blocks()) this->block(block, prefix, index);
    for (const NormRow& row : row_.norms)
      if (row.name.find('.') == std::string::npos && is_here(row, index)) list_.norm(prefix + row.name, row, index);
  }

  template <typename Row>
  bool is_here(const Row& row, int index) const {
    return row.when == kPresent ? present_.contains(row.name) : is_so(row.when, config_, true, index);
  }

  // The first components of names below a layer, in the order in which the row has them. Norms of the layer itself
  // come last.
  std::vector<std::string> blocks() const {
    std::vector<std::string> blocks;
    const auto add = [&](const std::string& name) {
      if (const std::string first = first_component(name); !contains(blocks, first)) blocks.push_back(first);
    };
    for (const BlockRow& row : row_.blocks) add(row.name);
    for (const LinearRow& row : row_.linears) add(row.name);
    for (const ParameterRow& row : row_.parameters) add(row.name);
    for (const NormRow& row : row_.norms)
      if (row.name.find('.') != std::string::npos) add(row.name);
    return blocks;
  }

  void block(const std::string& name, const std::string& prefix, int index) {
    const auto known = std::ranges::find(row_.blocks, name, &BlockRow::name);
    if (known != row_.blocks.end())
      list_.container(prefix + name, {row_.classes + known->class_suffix, "Module"}, index);
    const auto has = [&](const auto& row) { return first_component(row.name) == name && is_here(row, index); };
    const auto add = [&](const LinearRow& row, const std::string& row_name) {
      list_.linear(name_in_layer(prefix, row_name), row, index, role_of(row_, row));
    };
    std::map<int64_t, std::vector<const LinearRow*>> of_experts;  // expert by expert, as in the tree
    for (const LinearRow& row : row_.linears) {
      if (!has(row)) continue;
      if (!is_counted(row)) add(row, row.name);
      if (is_counted(row))
        for (const int64_t number : list_.numbers(row, prefix)) of_experts[number].push_back(&row);
    }
    for (const auto& [number, rows] : of_experts)
      for (const LinearRow* row : rows) add(*row, numbered(row->name, number));
    for (const ParameterRow& row : row_.parameters)
      if (has(row))
        for (const std::string& parameter_name : counted(row.name, list_.count(row)))
          list_.parameter(name_in_layer(prefix, parameter_name), row, index);
    for (const NormRow& row : row_.norms)
      if (row.name.find('.') != std::string::npos && has(row)) list_.norm(name_in_layer(prefix, row.name), row, index);
    if (known != row_.blocks.end() && known->activation)
      list_.container(prefix + name + ".act_fn", activation_classes(config_.activation), index);
  }

  const Architecture& row_;
  const ModelConfig& config_;
  ModuleList list_;
  std::string root_, head_;
  std::set<std::string> present_;  // in this layer, of those with `when: present`
};

}  // namespace

int64_t number_of_experts(const Architecture& row, const ModelConfig& config) {
  if (row.experts.empty()) return 0;
  const Json number = evaluate(row.experts, names_of(config));
  if (number.is_array()) return std::ssize(number);
  return number.is_null() ? 0 : size_of(row.experts, config);
}

std::string root_of(const Architecture& row, const Checkpoint& checkpoint) {
  for (const std::string& root : row.roots) {
    const std::string first = row.layers.empty() ? root : root + row.layers + ".0.";
    const auto here = [&](const CheckpointTensor& tensor) { return tensor.info.name.starts_with(first); };
    if (std::ranges::any_of(checkpoint.tensors(), here)) return root;
  }
  return row.roots.front();
}

std::string head_of(const Architecture& row, const Checkpoint& checkpoint) {
  for (const auto& [stored, loaded] : row.loaded_as)
    if (loaded == row.head && checkpoint.find(stored + ".weight")) return stored;
  return row.head;
}

std::vector<Module> modules_of(const Architecture& row, const ModelConfig& config, const Checkpoint& checkpoint) {
  return Walk(row, config, checkpoint).run();
}

}  // namespace spinor
