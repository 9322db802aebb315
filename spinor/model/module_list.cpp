#include "spinor/model/module_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "spinor/base/error.h"
#include "spinor/model/module_name.h"
#include "spinor/model/modules.h"
#include "spinor/model/roles.h"

namespace spinor {

ModuleList::ModuleList(const Architecture& row, const ModelConfig& config, const Checkpoint& checkpoint)
    : row_(row),
      config_(config),
      checkpoint_(checkpoint),
      tensors_(row, config, checkpoint),
      experts_(number_of_experts(row, config)) {}

void ModuleList::container(std::string name, std::vector<std::string> classes, int layer) {
  if (!containers_.insert(name).second) return;
  modules_.push_back({.name = std::move(name), .classes = std::move(classes), .layer = layer});
}

void ModuleList::embedding(const std::string& name, const EmbeddingRow& row, Role role, int layer) {
  const bool bare = checkpoint_.find(name) != nullptr;
  const CheckpointTensor* weight = tensors_.rows(bare ? name : name + ".weight", row.rows, row.columns);
  modules_.push_back(
      {.name = name,
       .classes = bare ? std::vector<std::string>{"Parameter"} : std::vector<std::string>{"Embedding", "Module"},
       .kind = ModuleKind::embedding,
       .role = role,
       .layer = layer,
       .weight = weight,
       .shape = {.out = weight->info.rows(), .in = weight->info.cols()}});
}

// What a module hangs from, if the row does not name its class.
void ModuleList::hang(const std::string& name, int index) {
  const std::string above(parent_of(name));
  if (above.empty() || containers_.contains(above)) return;
  hang(above, index);
  container(above, {"Module"}, index);
}

namespace {

// Of the weight of a linear, in the order of the file; a stack's are its last two.
int64_t size_there(const CheckpointTensor& weight, bool first) {
  const std::vector<int64_t>& shape = weight.info.shape;
  return shape[shape.size() - (first ? 2 : 1)];
}

}  // namespace

void ModuleList::linear(const std::string& name, const LinearRow& row, int index, Role role) {
  hang(name, index);
  containers_.insert(name);
  const bool stacked = is_stacked(row);
  const bool parameter = !stacked && checkpoint_.find(name) != nullptr;
  const bool bare = parameter || (stacked && checkpoint_.find(name + ".weight") == nullptr);  // not a module
  const bool transposed = row.layout == Layout::transposed || row.layout == Layout::experts_transposed;
  const CheckpointTensor* weight = tensors_.weight(bare ? name : name + ".weight", row, index);
  const auto size = [&](const std::string& formula, bool first) {
    return formula == kAny ? size_there(*weight, first) : size_of(formula, config_, index);
  };
  Module module{.name = name,
                .classes = {"Linear", "Module"},
                .kind = ModuleKind::linear,
                .role = role,
                .layer = index,
                .weight = weight,
                .shape = {.out = size(row.out, !transposed),
                          .in = size(row.in, transposed),
                          .count = stacked ? weight->info.shape.front() : 1,
                          .transposed = transposed},
                .expert = is_counted(row)};
  if (is_so(row.bias, config_, false, index)) module.bias = bias(name, row, module.shape, index);
  if (row.router) module.classes = {"Router", "Module"};
  if (stacked) module.classes = {"Experts", "Module"};
  if (row.layout == Layout::transposed) module.classes = {"Conv1D", "Module"};
  if (parameter) module.classes = {"Parameter"};
  if (row.layout == Layout::filter) module.classes = {"Conv3d", "Module"};
  modules_.push_back(module);
  for (const PartRow& part : row_.parts)
    if (part.linear == row.name && is_so(part.when, config_, true, index)) this->part(module, part);
}

// A parameter's has no name of its own.
const CheckpointTensor* ModuleList::bias(const std::string& name, const LinearRow& row, const WeightShape& shape,
                                         int index) const {
  const std::string own = name + ".bias", beside = name + "_bias";
  const bool is_module = checkpoint_.find(name + ".weight") != nullptr;
  const bool is_beside = checkpoint_.find(own) == nullptr && (!is_module || checkpoint_.find(beside));
  std::vector<std::string> sizes = {row.out == kAny ? std::to_string(shape.out) : row.out};
  if (is_stacked(row)) sizes.insert(sizes.begin(), std::to_string(shape.count));
  return tensors_.shaped(is_beside ? beside : own, sizes, index);
}

// Only values are parts, and nowhere do they come first.
void ModuleList::part(const Module& whole, const PartRow& row) {
  Module part = whole;
  part.name += "." + row.name;
  part.classes = {"Part"};
  part.kind = ModuleKind::part;
  part.role = Role::attn_v;
  part.part = Slice{size_of(row.begin, config_, part.layer), size_of(row.size, config_, part.layer),
                    row.period.empty() ? whole.shape.out : size_of(row.period, config_, part.layer)};
  part.shape.out = whole.shape.out / part.part->period * part.part->size;
  modules_.push_back(std::move(part));
}

void ModuleList::parameter(const std::string& name, const ParameterRow& row, int index) {
  hang(name, index);
  const CheckpointTensor* tensor = tensors_.shaped(name, row.shape, index);
  Module module{.name = name,
                .classes = {"Parameter"},
                .kind = ModuleKind::parameter,
                .role = Role::parameter,
                .layer = index,
                .weight = tensor};
  if (is_so(row.writes, config_, false, index)) {  // as the positions do
    module.kind = ModuleKind::embedding;
    module.role = Role::position;
    module.shape = {.out = tensor->info.rows(), .in = tensor->info.cols()};
  }
  modules_.push_back(std::move(module));
}

void ModuleList::norm(const std::string& name, const NormRow& row, int index) {
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

void ModuleList::head(const std::string& name) {
  const EmbeddingRow& tokens = row_.embeddings.front();
  const std::string& rows = row_.head_rows.empty() ? tokens.rows : row_.head_rows;
  const bool own = !config_.tie_word_embeddings || checkpoint_.find(name + ".weight");
  const auto embedding = std::ranges::find(modules_, Role::embedding, &Module::role);
  if (!own && size_of(rows, config_) != embedding->shape.out)
    throw Error(name + ".weight",
                fmt::format("has {} rows, so it cannot be {}, which has {}", size_of(rows, config_),
                            embedding->weight->info.name, embedding->shape.out),
                "config.json must have tie_word_embeddings: false, and the checkpoint this tensor");
  const std::string& columns = row_.head_columns.empty() ? tokens.columns : row_.head_columns;
  const CheckpointTensor* weight = own ? tensors_.shaped(name + ".weight", {rows, columns}) : embedding->weight;
  const bool bias = is_so(row_.head_bias, config_, false);
  const std::string own_bias = name + ".bias", beside = std::string(parent_of(name)) + ".bias";
  const bool is_beside = !own && !checkpoint_.find(own_bias) && checkpoint_.find(beside);  // what ties it, too
  modules_.push_back({.name = name,
                      .classes = {"Linear", "Module"},
                      .kind = ModuleKind::linear,
                      .role = Role::head,
                      .weight = weight,
                      .bias = bias ? tensors_.shaped(is_beside ? beside : own_bias, {rows}) : nullptr,
                      .shape = {.out = weight->info.rows(), .in = weight->info.cols()}});
}

bool ModuleList::is_there(const std::string& module) const {
  return tensors_.is_there(module);
}

int64_t ModuleList::count(const ParameterRow& row) const {
  return row.count.empty() ? 0 : size_of(row.count, config_);
}

std::vector<int64_t> ModuleList::numbers(const LinearRow& row, const std::string& prefix) const {
  std::set<int64_t> found;
  const int64_t least = row.count.empty() || row.count == kAny ? experts_ : size_of(row.count, config_);
  for (int64_t i = 0; i < least; ++i) found.insert(i);
  if (row.count != kAny) return {found.begin(), found.end()};
  const std::string parameter = name_in_layer(prefix, row.name), weight = parameter + ".weight";
  for (const CheckpointTensor& tensor : checkpoint_.tensors())
    for (const std::string* name : {&weight, &parameter})
      if (const auto number = number_in(tensor.info.name, *name)) found.insert(*number);
  return {found.begin(), found.end()};
}

std::vector<std::string> ModuleList::names(const LinearRow& row, const std::string& prefix) const {
  if (!is_counted(row)) return {name_in_layer(prefix, row.name)};
  std::vector<std::string> names;
  for (const int64_t number : numbers(row, prefix)) names.push_back(name_in_layer(prefix, numbered(row.name, number)));
  return names;
}

bool is_counted(const LinearRow& row) {
  return row.name.find("{E}") != std::string::npos;
}

}  // namespace spinor
