#include "spinor/model/stream.h"

#include <fmt/format.h>

#include <algorithm>

#include "spinor/model/modules.h"

namespace spinor {

ModuleNames::ModuleNames(const Architecture& row, const ModelConfig& config, const Index& by_name)
    : row_(&row), config_(&config), by_name_(&by_name), experts_(number_of_experts(row, config)) {}

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
  return fmt::format("{}.{}.", row_->layers, layer);
}

Stream stream_of(const ModuleNames& names, const Module& embedding, const Module& final_norm, const Module& head) {
  const Architecture& row = names.row();
  Stream stream;
  stream.writers = {&embedding};
  const auto append = [](std::vector<const Module*>& all, const std::vector<const Module*>& more) {
    all.insert(all.end(), more.begin(), more.end());
  };
  for (int64_t layer = 0; layer < *names.config().num_layers; ++layer) {
    append(stream.writers, names.in_layer(layer, row.writes));
    append(stream.output_norms, names.in_layer(layer, row.scaled_outputs));
    append(stream.raw_readers, names.in_layer(layer, row.raw_reads));
    for (const NormRow& norm : row.norms)
      if (!norm.reads.empty())
        for (const Module* module : names.in_layer(layer, {norm.name}))
          stream.norm_reads.push_back({module, names.in_layer(layer, norm.reads)});
  }
  stream.norm_reads.push_back({&final_norm, {&head}});
  stream.centred =
      std::ranges::any_of(stream.norm_reads, [](const NormReads& reads) { return reads.norm->layer_norm; });
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
