#include "spinor/model/modules.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "spinor/base/list.h"
#include "spinor/model/checked_tensors.h"
#include "spinor/model/module_name.h"
#include "spinor/model/mtp.h"
#include "spinor/model/roles.h"

namespace spinor {
namespace {

std::string first_component(const std::string& name) {
  return name.substr(0, name.find('.'));
}

// Walks a row in the order of named_modules().
class Walk {
 public:
  Walk(const Architecture& row, const ModelConfig& config, const Checkpoint& checkpoint)
      : row_(row),
        config_(config),
        checkpoint_(checkpoint),
        tensors_(row, config, checkpoint),
        experts_(number_of_experts(row, config)),
        root_(root_of(row, checkpoint)),
        head_(head_of(row, checkpoint)) {}

  std::vector<Module> run() {
    const std::string base = row_.classes + "PreTrainedModel", model(parent_of(root_));
    if (!row_.names.empty()) container("", {row_.names.front(), base, "PreTrainedModel", "Module"});
    hang(model, -1);
    container(model, {row_.classes + "Model", base, "PreTrainedModel", "Module"});
    for (const EmbeddingRow& row : row_.embeddings) embedding(row);
    outer_linears();
    if (!row_.layers.empty()) container(root_ + row_.layers, {"ModuleList", "Module"});
    for (int64_t i = 0; i < *config_.num_layers; ++i) layer(static_cast<int>(i));
    for (const NormRow& row : row_.outer_norms)
      if (is_so(row.when, config_, true))
        for (const std::string& name : counted(row.name, experts_)) norm(root_ + name, row, -1);
    if (!row_.layers.empty()) container(root_ + "rotary_emb", {row_.classes + "RotaryEmbedding", "Module"});
    if (!head_.empty()) head();
    multi_token_prediction();
    return std::move(modules_);
  }

 private:
  void container(std::string name, std::vector<std::string> classes, int layer = -1) {
    if (!containers_.insert(name).second) return;
    modules_.push_back({.name = std::move(name), .classes = std::move(classes), .layer = layer});
  }

  void embedding(const EmbeddingRow& row) {
    if (!is_so(row.when, config_, true)) return;
    const std::string name = root_ + row.name;
    const Role other = is_so(row.writes, config_, true) ? Role::position : Role::parameter;
    const bool tokens = !head_.empty() && embedding_ == nullptr;  // the first one
    const CheckpointTensor* weight = tensors_.shaped(name + ".weight", {row.rows, row.columns});
    modules_.push_back({.name = name,
                        .classes = {"Embedding", "Module"},
                        .kind = ModuleKind::embedding,
                        .role = tokens ? Role::embedding : other,
                        .weight = weight,
                        .shape = {.out = weight->info.rows(), .in = weight->info.cols()}});
    if (tokens) embedding_ = weight;
  }

  void outer_linears() {
    for (const LinearRow& row : row_.outer_linears)
      if (is_so(row.when, config_, true))
        for (const std::string& name : counted(row.name, experts_)) linear(root_ + name, row, -1, Role::projection);
  }

  void head() {
    const EmbeddingRow& tokens = row_.embeddings.front();
    const std::string name = head_ + ".weight";
    const bool own = !config_.tie_word_embeddings || checkpoint_.find(name);
    const CheckpointTensor* weight = own ? tensors_.shaped(name, {tokens.rows, tokens.columns}) : embedding_;
    const bool bias = is_so(row_.head_bias, config_, false);
    modules_.push_back({.name = head_,
                        .classes = {"Linear", "Module"},
                        .kind = ModuleKind::linear,
                        .role = Role::head,
                        .weight = weight,
                        .bias = bias ? tensors_.shaped(head_ + ".bias", {tokens.rows}) : nullptr,
                        .shape = {.out = weight->info.rows(), .in = weight->info.cols()}});
  }

  void layer(int index) {
    const std::string prefix = fmt::format("{}{}.{}.", root_, row_.layers, index);
    container(prefix.substr(0, prefix.size() - 1),
              {row_.classes + "DecoderLayer", "GradientCheckpointingLayer", "Module"}, index);
    for (const std::string& block : blocks()) this->block(block, prefix, index);
    for (const NormRow& row : row_.norms)
      if (row.name.find('.') == std::string::npos && is_so(row.when, config_, true, index))
        norm(prefix + row.name, row, index);
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
    if (known != row_.blocks.end()) container(prefix + name, {row_.classes + known->class_suffix, "Module"}, index);
    const auto has = [&](const auto& row) {
      return first_component(row.name) == name && is_so(row.when, config_, true, index);
    };
    std::vector<const LinearRow*> of_experts;  // expert by expert, as in the tree
    for (const LinearRow& row : row_.linears) {
      if (!has(row)) continue;
      if (is_counted(row))
        of_experts.push_back(&row);
      else
        linear(prefix + row.name, row, index, role_of(row_, row));
    }
    for (int64_t expert = 0; expert < experts_; ++expert)
      for (const LinearRow* row : of_experts)
        linear(prefix + numbered(row->name, expert), *row, index, role_of(row_, *row));
    for (const ParameterRow& row : row_.parameters)
      if (has(row))
        for (const std::string& parameter_name : counted(row.name, row.count.empty() ? 0 : size_of(row.count, config_)))
          parameter(prefix + parameter_name, row, index);
    for (const NormRow& row : row_.norms)
      if (row.name.find('.') != std::string::npos && has(row)) norm(prefix + row.name, row, index);
    if (known != row_.blocks.end() && known->activation)
      container(prefix + name + ".act_fn", activation_classes(config_.activation), index);
  }

  static bool is_counted(const LinearRow& row) { return row.name.find("{E}") != std::string::npos; }

  // What a module hangs from, if the row does not name its class.
  void hang(const std::string& name, int index) {
    const std::string above(parent_of(name));
    if (above.empty() || containers_.contains(above)) return;
    hang(above, index);
    container(above, {"Module"}, index);
  }

  void linear(const std::string& name, const LinearRow& row, int index, Role role) {
    hang(name, index);
    containers_.insert(name);
    const bool stacked = row.layout == Layout::experts || row.layout == Layout::experts_transposed;
    const bool parameter = row.layout == Layout::transposed && checkpoint_.find(name);
    const bool bare = parameter || (stacked && checkpoint_.find(name + ".weight") == nullptr);  // not a module
    const bool has_bias = is_so(row.bias, config_, false, index);
    std::vector<std::string> bias_shape = {row.out};
    if (stacked) bias_shape.insert(bias_shape.begin(), row_.experts);
    Module module{.name = name,
                  .classes = {"Linear", "Module"},
                  .kind = ModuleKind::linear,
                  .role = role,
                  .layer = index,
                  .weight = tensors_.weight(bare ? name : name + ".weight", row, index),
                  .shape = {.out = size_of(row.out, config_, index),
                            .in = size_of(row.in, config_, index),
                            .count = stacked ? experts_ : 1,
                            .transposed = row.layout == Layout::transposed || row.layout == Layout::experts_transposed},
                  .expert = is_counted(row)};
    if (has_bias) module.bias = tensors_.shaped(bare ? name + "_bias" : name + ".bias", bias_shape, index);
    if (row.router) module.classes = {"Router", "Module"};
    if (stacked) module.classes = {"Experts", "Module"};
    if (row.layout == Layout::transposed) module.classes = {"Conv1D", "Module"};
    if (parameter) module.classes = {"Parameter"};
    if (row.layout == Layout::filter) module.classes = {"Conv3d", "Module"};
    modules_.push_back(module);
    for (const PartRow& part : row_.parts)
      if (part.linear == row.name && is_so(part.when, config_, true)) this->part(module, part);
  }

  // Only values are parts, and nowhere do they come first.
  void part(const Module& whole, const PartRow& row) {
    Module part = whole;
    part.name += "." + row.name;
    part.classes = {"Part"};
    part.kind = ModuleKind::part;
    part.role = Role::attn_v;
    part.part = Slice{size_of(row.begin, config_), size_of(row.size, config_),
                      row.period.empty() ? whole.shape.out : size_of(row.period, config_)};
    part.shape.out = whole.shape.out / part.part->period * part.part->size;
    modules_.push_back(std::move(part));
  }

  void parameter(const std::string& name, const ParameterRow& row, int index) {
    hang(name, index);
    modules_.push_back({.name = name,
                        .classes = {"Parameter"},
                        .kind = ModuleKind::parameter,
                        .role = Role::parameter,
                        .layer = index,
                        .weight = tensors_.shaped(name, row.shape, index)});
  }

  void norm(const std::string& name, const NormRow& row, int index) {
    hang(name, index);
    const bool weightless = is_so(row.weightless, config_, false, index);
    const bool biased = !weightless && is_so(row.bias, config_, false, index);
    modules_.push_back({.name = name,
                        .classes = {row.layer_norm ? "LayerNorm" : row_.classes + "RMSNorm", "Module"},
                        .kind = ModuleKind::norm,
                        .role = role_of(row_, row),
                        .layer = index,
                        .weight = weightless ? nullptr : tensors_.shaped(name + ".weight", {row.size}, index),
                        .bias = biased ? tensors_.shaped(name + ".bias", {row.size}, index) : nullptr,
                        .offset = row.offset,
                        .layer_norm = row.layer_norm});
  }

  bool is_there(const std::string& module) const {
    return checkpoint_.find(module + ".weight") != nullptr || checkpoint_.find(module) != nullptr;
  }

  // transformers has no such modules, so they have no class that a target could name. Of the row's modules a layer has
  // those whose tensors are in the checkpoint.
  void multi_token_prediction() {
    const size_t first = modules_.size();
    std::string root;
    const auto places =
        mtp_places(row_, config_, root_, [this](const std::string& module) { return is_there(module); });
    for (const MtpPlace& place : places) {
      const auto index = static_cast<int>(place.number);
      if (place.root != root) mtp_ends(place.root, index);
      root = place.root;
      mtp_layer(place.layer, index);
    }
    for (size_t i = first; i < modules_.size(); ++i) {
      modules_[i].role = Role::mtp;
      modules_[i].classes = {"Module"};
    }
  }

  void mtp_ends(const std::string& root, int index) {
    const MtpRow& mtp = *row_.mtp;
    const std::string rows = row_.embeddings.front().rows, size = "hidden_size";
    if (!mtp.embedding.empty() && is_there(root + mtp.embedding)) {
      const CheckpointTensor* weight = tensors_.shaped(root + mtp.embedding + ".weight", {rows, size});
      modules_.push_back({.name = root + mtp.embedding,
                          .classes = {},
                          .kind = ModuleKind::embedding,
                          .layer = index,
                          .weight = weight,
                          .shape = {.out = weight->info.rows(), .in = weight->info.cols()}});
    }
    for (const std::string& name : {mtp.embedding_norm, mtp.hidden_norm, mtp.output_norm})
      norm(root + name, {.name = name, .offset = row_.outer_norms.back().offset}, index);
    linear(root + mtp.concat, {mtp.concat, size, "2 * " + size}, index, Role::mtp);
    if (!mtp.head.empty() && is_there(root + mtp.head))
      linear(root + mtp.head, {mtp.head, rows, size}, index, Role::mtp);
  }

  void mtp_layer(const std::string& prefix, int index) {
    const auto each = [&](const std::string& name, int64_t count, const auto& make) {
      for (const std::string& full : counted(prefix + name, count))
        if (is_there(full)) make(full);
    };
    for (const LinearRow& row : row_.linears)
      each(row.name, experts_, [&](const std::string& name) { linear(name, row, index, Role::mtp); });
    for (const ParameterRow& row : row_.parameters)
      each(row.name, row.count.empty() ? 0 : size_of(row.count, config_),
           [&](const std::string& name) { parameter(name, row, index); });
    for (const NormRow& row : row_.norms)
      each(row.name, experts_, [&](const std::string& name) { norm(name, row, index); });
  }

  const Architecture& row_;
  const ModelConfig& config_;
  const Checkpoint& checkpoint_;
  CheckedTensors tensors_;
  int64_t experts_;
  std::string root_, head_;
  const CheckpointTensor* embedding_ = nullptr;
  std::set<std::string> containers_;
  std::vector<Module> modules_;
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
