#include "spinor/model/stream.h"

#include <fmt/format.h>

#include <algorithm>

#include "spinor/model/modules.h"

namespace spinor {

ModuleNames::ModuleNames(const Architecture& row, const ModelConfig& config, const Index& by_name)
    : row_(&row), config_(&config), by_name_(&by_name) {
  const auto here = [&](const std::string& root) { return by_name.contains(root + row.embeddings.front().name); };
  root_ = *std::ranges::find_if(row.roots, here);
  experts_ = number_of_experts(row, config);
}

std::vector<const Module*> ModuleNames::in_layer(int64_t layer, const std::vector<std::string>& names) const {
  std::vector<const Module*> found;
  const auto add = [&](const std::string& name) {
    if (const auto module = by_name_->find(name); module != by_name_->end()) found.push_back(module->second);
  };
  for (const std::string& name : names) {
    const std::string full = layer_prefix(layer) + name;
    if (full.find("{E}") == std::string::npos)
      add(full);
    else
      for (int64_t expert = 0; expert < experts_; ++expert) add(with_expert(full, expert));
  }
  return found;
}

std::string ModuleNames::layer_prefix(int64_t layer) const {
  return fmt::format("{}{}.{}.", root_, row_->layers, layer);
}

const Module* ModuleNames::outer(const std::string& name) const {
  const auto found = by_name_->find(root_ + name);
  return found == by_name_->end() ? nullptr : found->second;
}

Stream stream_of(const ModuleNames& names, const Module& head) {
  const Architecture& row = names.row();
  Stream stream;
  for (const EmbeddingRow& embedding : row.embeddings)
    if (const Module* module = names.outer(embedding.name)) stream.writers.push_back(module);
  for (const LinearRow& linear : row.outer_linears)
    if (const Module* module = names.outer(linear.name);
        module && std::ranges::find(row.writes, linear.name) != row.writes.end())
      stream.writers.push_back(module);
  const auto append = [](std::vector<const Module*>& all, const std::vector<const Module*>& more) {
    all.insert(all.end(), more.begin(), more.end());
  };
  const auto reads_of = [&](const Module* norm, std::vector<const Module*> linears) {
    stream.centred |= norm->layer_norm;
    stream.norm_reads.push_back({norm, std::move(linears)});
  };
  for (int64_t layer = 0; layer < *names.config().num_layers; ++layer) {
    append(stream.writers, names.in_layer(layer, row.writes));
    append(stream.output_norms, names.in_layer(layer, row.scaled_outputs));
    append(stream.raw_readers, names.in_layer(layer, row.raw_reads));
    for (const NormRow& norm : row.norms) {
      if (norm.reads.empty() || !is_so(norm.when, names.config(), true, layer)) continue;
      for (const Module* module : names.in_layer(layer, {norm.name}))
        reads_of(module, names.in_layer(layer, norm.reads));
    }
  }
  for (const NormRow& norm : row.outer_norms) {
    const Module* module = is_so(norm.when, names.config(), true) ? names.outer(norm.name) : nullptr;
    if (!module) continue;
    std::vector<const Module*> linears;
    for (const std::string& read : norm.reads)
      if (const Module* linear = read == row.head ? &head : names.outer(read)) linears.push_back(linear);
    reads_of(module, std::move(linears));
  }
  return stream;
}

std::vector<ValueOutput> value_outputs_of(const ModuleNames& names) {
  const AttentionRow& row = names.row().attention;
  std::vector<ValueOutput> pairs;
  for (int64_t layer = 0; layer < *names.config().num_layers; ++layer) {
    const auto values = names.in_layer(layer, {row.value}), outputs = names.in_layer(layer, {row.output});
    if (values.size() != 1 || outputs.size() != 1) continue;
    pairs.push_back({values[0], outputs[0], size_of(row.head_dim, names.config())});
  }
  return pairs;
}

}  // namespace spinor
