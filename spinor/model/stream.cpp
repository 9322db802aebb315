#include "spinor/model/stream.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "spinor/base/error.h"
#include "spinor/base/list.h"
#include "spinor/model/module_name.h"
#include "spinor/model/modules.h"

namespace spinor {

namespace {

void add_reads(Stream& stream, const Module* norm, std::vector<const Module*> linears) {
  stream.centred |= norm->layer_norm;
  stream.norm_reads.push_back({norm, std::move(linears)});
}

// Whether a layer may have it; a module that is there where its tensor is, is found or not.
bool may_have(const std::string& when, const ModuleNames& names, int64_t layer) {
  return when == kPresent || is_so(when, names.config(), true, layer);
}

// See AttentionRow::shared. Of a layer that shares with none, the layer itself.
int64_t layer_of_values(const ModuleNames& names, const AttentionRow& row, int64_t layer) {
  const auto shares = [&](int64_t i) { return is_so(row.shared, names.config(), false, i); };
  if (!shares(layer)) return layer;
  const auto kind = [&](int64_t i) { return evaluate(row.shared_like, names_of(names.config(), i)); };
  for (int64_t i = layer - 1; i >= 0; --i)
    if (!shares(i) && kind(i) == kind(layer)) return i;
  throw Error(names.config().subject, fmt::format("layer {} shares the values of no layer before it", layer));
}

// Those outside the layers, the final norm among them.
void add_outer_reads(Stream& stream, const ModuleNames& names) {
  for (const NormRow& norm : names.row().outer_norms) {
    if (!is_so(norm.when, names.config(), true)) continue;
    const std::vector<const Module*> norms = names.outer(norm.name);
    for (size_t i = 0; i < norms.size(); ++i) {
      std::vector<const Module*> linears;
      for (const std::string& read : norm.reads) {
        const std::vector<const Module*> found = names.outer(read);
        if (norms.size() == 1)
          append(linears, found);
        else
          linears.push_back(found.at(i));  // {E} of both is one number
      }
      if (!norm.reads.empty()) add_reads(stream, norms[i], std::move(linears));
    }
  }
}

}  // namespace

ModuleNames::ModuleNames(const Architecture& row, const ModelConfig& config, const Checkpoint& checkpoint,
                         const Index& by_name)
    : row_(&row),
      config_(&config),
      root_(root_of(row, checkpoint)),
      head_(head_of(row, checkpoint)),
      by_name_(&by_name) {}

std::vector<const Module*> ModuleNames::below(const std::string& prefix, const std::string& name) const {
  const std::string full = name_in_layer(prefix, name), before = full.substr(0, full.find("{E}"));
  std::map<int64_t, const Module*> found;
  for (auto one = by_name_->lower_bound(before); one != by_name_->end() && one->first.starts_with(before); ++one) {
    if (one->second->kind == ModuleKind::container) continue;  // a head "output" is no block "output" of a layer
    const std::optional<int64_t> number = one->first == full ? 0 : number_in(one->first, full);
    if (number) found.emplace(*number, one->second);
  }
  std::vector<const Module*> in_order;
  for (const auto& [number, module] : found) in_order.push_back(module);
  return in_order;
}

std::vector<const Module*> ModuleNames::in_layer(int64_t layer, const std::vector<std::string>& names) const {
  std::vector<const Module*> found;
  for (const std::string& name : names) append(found, below(layer_prefix(layer), name));
  return found;
}

std::string ModuleNames::layer_prefix(int64_t layer) const {
  return fmt::format("{}{}.{}.", root_, row_->layers, layer);
}

std::vector<const Module*> ModuleNames::outer(const std::string& name) const {
  return name == row_->head ? below("", head_) : below(root_, name);
}

Stream stream_of(const ModuleNames& names) {
  const Architecture& row = names.row();
  Stream stream;
  stream.no_rotation = refusal_of(row, names.config(), "R1");
  for (const EmbeddingRow& embedding : row.embeddings)
    if (is_so(embedding.writes, names.config(), true)) append(stream.writers, names.outer(embedding.name));
  for (const LinearRow& linear : row.outer_linears)
    if (contains(row.writes, linear.name)) append(stream.writers, names.outer(linear.name));
  for (int64_t layer = 0; layer < *names.config().num_layers; ++layer) {
    append(stream.writers, names.in_layer(layer, row.writes));
    for (const ParameterRow& vectors : row.parameters)
      if (is_so(vectors.writes, names.config(), false, layer))
        append(stream.writers, names.in_layer(layer, {vectors.name}));
    append(stream.output_norms, names.in_layer(layer, row.scaled_outputs));
    append(stream.raw_readers, names.in_layer(layer, row.raw_reads));
    for (const NormRow& norm : row.norms)
      if (!norm.reads.empty() && may_have(norm.when, names, layer))
        for (const Module* module : names.in_layer(layer, {norm.name}))
          add_reads(stream, module, names.in_layer(layer, norm.reads));
  }
  for (const LinearRow& linear : row.outer_linears)
    if (contains(row.raw_reads, linear.name)) append(stream.raw_readers, names.outer(linear.name));
  if (contains(row.raw_reads, row.head)) append(stream.raw_readers, names.outer(row.head));
  add_outer_reads(stream, names);
  return stream;
}

std::vector<const Module*> feeds_of(const ModuleNames& names) {
  std::vector<const Module*> found;
  for (const std::string& name : names.row().feeds) append(found, names.outer(name));
  return found;
}

std::string refusal_of(const Architecture& row, const ModelConfig& config, std::string_view rotation) {
  for (const RefusalRow& refusal : row.refusals)
    if (refusal.rotation == rotation && is_so(refusal.when, config, true)) return refusal.reason;
  return "";
}

std::vector<ValueOutput> value_outputs_of(const ModuleNames& names) {
  std::vector<ValueOutput> pairs;
  for (int64_t layer = 0; layer < *names.config().num_layers; ++layer)
    for (const AttentionRow* row : names.row().attentions()) {
      if (!is_so(row->when, names.config(), true, layer)) continue;
      const auto outputs = names.in_layer(layer, {row->output});  // several: of experts
      if (outputs.empty()) continue;
      const std::vector<std::string> value_names = row->all_values();
      const auto values = names.in_layer(layer_of_values(names, *row, layer), value_names);
      if (values.size() != value_names.size()) continue;
      for (const Module* output : outputs) {
        if (std::ranges::find(pairs, output, &ValueOutput::output) != pairs.end())
          throw Error(output->name, "is the output of two attentions of the row",
                      "their `when` must tell their layers apart");
        for (const Module* value : values)
          pairs.push_back({value, output, size_of(row->head_dim, names.config(), layer)});
      }
    }
  return pairs;
}

}  // namespace spinor
