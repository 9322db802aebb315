#include "spinor/model/modules.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "spinor/base/error.h"

namespace spinor {
namespace {

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

Role role_of(const Architecture& row, const std::string& linear) {
  if (linear == row.query) return Role::attn_q;
  if (linear == row.key) return Role::attn_k;
  if (linear == row.value) return Role::attn_v;
  if (linear == row.output) return Role::attn_o;
  if (contains(row.mlp_in, linear)) return Role::mlp_in;
  if (contains(row.mlp_out, linear)) return Role::mlp_out;
  return Role::unknown;
}

// The class transformers makes for hidden_act, and its parents.
std::vector<std::string> activation_classes(const std::string& activation) {
  static constexpr std::pair<std::string_view, std::string_view> kClasses[] = {
      {"silu", "SiLUActivation"},        {"swish", "SiLU"},
      {"gelu", "GELUActivation"},        {"gelu_new", "NewGELUActivation"},
      {"gelu_pytorch_tanh", "GELUTanh"}, {"relu", "ReLU"}};
  for (const auto& [name, type] : kClasses)
    if (name == activation) return {std::string(type), "Module"};
  return {"Module"};
}

// Walks a row in the order of named_modules().
class Walk {
 public:
  Walk(const Architecture& row, const ModelConfig& config, const Checkpoint& checkpoint)
      : row_(row), config_(config), checkpoint_(checkpoint) {}

  std::vector<Module> run() {
    const std::string layers = row_.layer.substr(0, row_.layer.find(".{L}"));
    const std::string model = layers.substr(0, layers.rfind('.')), base = row_.classes + "PreTrainedModel";
    container("", {row_.names.front(), base, "PreTrainedModel", "Module"});
    container(model, {row_.classes + "Model", base, "PreTrainedModel", "Module"});
    embedding();
    container(layers, {"ModuleList", "Module"});
    for (int64_t i = 0; i < *config_.num_layers; ++i) layer(fmt::format("{}.{}.", layers, i), static_cast<int>(i));
    norm(row_.final_norm, {row_.final_norm, Size::hidden, {row_.head}}, -1);
    container(model + ".rotary_emb", {row_.classes + "RotaryEmbedding", "Module"});
    head();
    return std::move(modules_);
  }

 private:
  void container(std::string name, std::vector<std::string> classes, int layer = -1) {
    modules_.push_back(
        {std::move(name), std::move(classes), ModuleKind::container, Role::unknown, layer, nullptr, nullptr});
  }

  void embedding() {
    const CheckpointTensor* weight = tensor(row_.embedding + ".weight", {Size::vocabulary, Size::hidden});
    modules_.push_back(
        {row_.embedding, {"Embedding", "Module"}, ModuleKind::embedding, Role::embedding, -1, weight, nullptr});
    embedding_ = weight;
  }

  void head() {
    const std::string name = row_.head + ".weight";
    const bool own = !config_.tie_word_embeddings || checkpoint_.find(name);
    const CheckpointTensor* weight = own ? tensor(name, {Size::vocabulary, Size::hidden}) : embedding_;
    modules_.push_back({row_.head, {"Linear", "Module"}, ModuleKind::linear, Role::head, -1, weight, nullptr});
  }

  void layer(const std::string& prefix, int index) {
    container(prefix.substr(0, prefix.size() - 1),
              {row_.classes + "DecoderLayer", "GradientCheckpointingLayer", "Module"}, index);
    for (const BlockRow& row : row_.blocks) block(row, prefix, index);
    for (const NormRow& row : row_.norms)
      if (row.name.find('.') == std::string::npos) norm(prefix + row.name, row, index);
  }

  void block(const BlockRow& block, const std::string& prefix, int index) {
    const auto inside = [&](const std::string& name) { return name.starts_with(block.name + "."); };
    container(prefix + block.name, {row_.classes + block.class_suffix, "Module"}, index);
    for (const LinearRow& row : row_.linears)
      if (inside(row.name)) linear(prefix + row.name, row, index);
    for (const NormRow& row : row_.norms)
      if (inside(row.name)) norm(prefix + row.name, row, index);
    if (block.activation) container(prefix + block.name + ".act_fn", activation_classes(config_.activation), index);
  }

  void linear(const std::string& name, const LinearRow& row, int index) {
    const CheckpointTensor* weight = tensor(name + ".weight", {row.out, row.in});
    const CheckpointTensor* bias = has_bias(row, config_) ? tensor(name + ".bias", {row.out}) : nullptr;
    modules_.push_back({name, {"Linear", "Module"}, ModuleKind::linear, role_of(row_, row.name), index, weight, bias});
  }

  void norm(const std::string& name, const NormRow& row, int index) {
    const Role role = row.reads.empty() ? Role::qk_norm : Role::stream_norm;
    const CheckpointTensor* weight = tensor(name + ".weight", {row.size});
    modules_.push_back({name, {row_.classes + "RMSNorm", "Module"}, ModuleKind::norm, role, index, weight, nullptr});
  }

  const CheckpointTensor* tensor(const std::string& name, const std::vector<Size>& sizes) const {
    std::vector<int64_t> shape;
    std::vector<std::string> reasons;
    for (const Size size : sizes) {
      shape.push_back(value_of(size, config_));
      reasons.push_back(explain(size, config_));
    }
    const CheckpointTensor* found = checkpoint_.find(name);
    if (!found) throw Error(name, "is missing from the checkpoint", missing_hint(name));
    if (found->info.shape != shape)
      throw Error(name,
                  fmt::format("has shape ({}), but config.json says ({})", fmt::join(found->info.shape, ", "),
                              fmt::join(shape, ", ")),
                  fmt::format("see {}", fmt::join(reasons, ", ")));
    return found;
  }

  std::string missing_hint(const std::string& name) const {
    if (name == row_.head + ".weight")
      return "if the head is the embedding, config.json needs tie_word_embeddings: true";
    return fmt::format("{} with num_hidden_layers {} needs it", row_.names.front(), *config_.num_layers);
  }

  const Architecture& row_;
  const ModelConfig& config_;
  const Checkpoint& checkpoint_;
  const CheckpointTensor* embedding_ = nullptr;
  std::vector<Module> modules_;
};

}  // namespace

std::vector<Module> modules_of(const Architecture& row, const ModelConfig& config, const Checkpoint& checkpoint) {
  return Walk(row, config, checkpoint).run();
}

}  // namespace spinor
