#include "spinor/transform/spinquant.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "spinor/base/error.h"
#include "spinor/model/module_name.h"
#include "spinor/transform/automatic_type.h"
#include "spinor/transform/factory.h"
#include "spinor/transform/places.h"

namespace spinor {
namespace {

constexpr EnumName<Spin> kSpins[] = {{Spin::R1, "R1"}, {Spin::R2, "R2"}, {Spin::R3, "R3"}, {Spin::R4, "R4"}};

using enum TransformLocation;

std::string regex(std::string_view name) {
  return fmt::format("re:.*{}$", last_component(name));
}

std::vector<std::string> regexes(const std::vector<std::string>& names) {
  std::vector<std::string> list;
  for (const std::string& name : names) list.push_back(regex(name));
  return list;
}

const Architecture& known_architecture(const Model& model, std::string_view missing) {
  if (const Architecture* row = model.architecture()) return *row;
  throw Error(std::string(model.architecture_name()), "an unknown architecture, whose modules cannot be inferred",
              fmt::format("give {} in a recipe", missing));
}

TransformArgs forward(std::vector<std::string> targets, TransformLocation location) {
  return {std::move(targets), location, false, {}};
}
TransformArgs inverse(std::vector<std::string> targets, TransformLocation location) {
  return {std::move(targets), location, true, {}};
}

// Whom the rotations touch.
struct Targets {
  std::vector<std::string> writers, readers, values, outputs, attentions, mlp_out;
};

Targets targets_of(const SpinQuantMapping& m) {
  Targets t{.writers = {m.embedding, m.attn_o},
            .readers = {m.attn_q, m.attn_k, m.attn_v},
            .values = {m.attn_v},
            .outputs = {m.attn_o},
            .attentions = {m.attn},
            .mlp_out = m.mlp_out};
  t.writers.insert(t.writers.end(), m.mlp_out.begin(), m.mlp_out.end());
  t.readers.insert(t.readers.end(), m.mlp_in.begin(), m.mlp_in.end());
  t.readers.push_back(m.lm_head);
  return t;
}

Targets targets_of(const Model& model) {
  const Architecture& row = *model.architecture();
  std::vector<const Module*> values, outputs, attentions;
  for (const ValueOutput& pair : model.value_outputs()) {
    values.push_back(pair.value);
    outputs.push_back(pair.output);
    if (pair.output->role != Role::mtp) attentions.push_back(model.find(parent_of(pair.output->name)));
  }
  return {.writers = targets_of(model, model.stream().writers),
          .readers = targets_of(model, model.stream().readers()),
          .values = targets_of(model, values),
          .outputs = targets_of(model, outputs),
          .attentions = targets_of(model, attentions),
          .mlp_out = targets_of(model, model.named(row.mlp_out))};
}

std::vector<TransformArgs> args_of(Spin spin, const Targets& t) {
  switch (spin) {
    case Spin::R1:
      return {forward(t.writers, weight_output), inverse(t.readers, weight_input)};
    case Spin::R2:
      return {forward(t.values, weight_output), inverse(t.outputs, weight_input)};
    case Spin::R3:
      return {forward(t.attentions, q_attn), forward(t.attentions, k_cache)};
    case Spin::R4:
      return {forward(t.mlp_out, input), inverse(t.mlp_out, weight_input)};
  }
  return {};
}

// A mapping names modules by the last component of their names.
bool are_told_apart(const Architecture& row) {
  std::set<std::string_view> ends;
  return std::ranges::all_of(row.linears, [&](const LinearRow& linear) {
    const std::string_view end = last_component(linear.name);
    return !is_number(end) && ends.insert(end).second;
  });
}

// Whether llm-compressor's mapping can say who touches the residual stream of this family.
bool fits_mapping(const Architecture& row) {
  const AttentionRow& a = row.attention;
  const auto among = [](const std::vector<std::string>& names, const std::vector<std::string>& others,
                        const std::vector<std::string>& more) {
    return std::ranges::all_of(names, [&](const std::string& name) {
      return std::ranges::find(others, name) != others.end() || std::ranges::find(more, name) != more.end();
    });
  };
  const bool reads = std::ranges::all_of(
      row.norms, [&](const NormRow& norm) { return among(norm.reads, {a.query, a.key, a.value}, row.mlp_in); });
  const bool vectors =
      std::ranges::any_of(row.parameters, [](const ParameterRow& parameter) { return !parameter.writes.empty(); });
  const bool one =
      row.other_attentions.empty() && !a.query.empty() && !a.key.empty() && !a.value.empty() && are_told_apart(row);
  return reads && one && among(row.writes, {a.output}, row.mlp_out) && row.parts.empty() && row.raw_reads.empty() &&
         row.experts.empty() && row.embeddings.size() == 1 && row.outer_linears.empty() && row.towers.empty() &&
         row.untouched.empty() && a.more_values.empty() && !vectors;
}

bool is_per_head(Spin spin) {
  return spin == Spin::R2 || spin == Spin::R3;
}

int64_t head_size(Spin spin, const Model& model) {
  return spin == Spin::R2 ? model.value_block() : model.head_dim();
}

// R1 must commute with an RMS norm, R3 must cancel in the product of a query and a key: both need R^T R = 1, and so
// does R2 if values are normed. Else R2 and R4 meet their inverse.
void check_type(Spin spin, const SpinQuantOptions& options, const Model& model) {
  if (is_automatic(options.transform_type)) return;
  const bool normed = spin == Spin::R2 && norms_values(model);
  const TransformType& type = find_transform_type(options.transform_type);
  if (type.orthogonal || options.given.groups.contains(std::string(name_in_table(spin))) ||
      options.llm_compressor_compat || (spin != Spin::R1 && spin != Spin::R3 && !normed))
    return;
  throw Error(std::string(name_in_table(spin)),
              fmt::format("{} is not orthogonal, so the model would compute something else", type.name),
              "use --transform-type random-orthogonal by command, transform_type: random-orthogonal in a recipe");
}

TransformScheme scheme_of(const SpinQuantOptions& options) {
  TransformScheme scheme;
  scheme.type = options.transform_type;
  scheme.randomize = options.randomize;
  scheme.precision = options.precision == Precision::float64 ? "torch.float64" : "torch.float32";
  scheme.seed = options.seed;
  return scheme;
}

// A reader of four patches side by side has four blocks.
void add_vision(const Model& model, const SpinQuantOptions& options, TransformConfig& config) {
  const auto streams = model.streams();
  if (streams.size() < 2)
    throw Error(std::string(model.architecture_name()), "has no vision tower",
                "leave out --vision (vision in a recipe)");
  check_type(Spin::R1, options, model);
  for (size_t i = 1; i < streams.size(); ++i) {
    if (!streams[i]->no_rotation.empty())
      throw Error(std::string(model.architecture_name()),
                  "R1 of the vision tower would change the model: " + streams[i]->no_rotation,
                  "leave out --vision (vision in a recipe)");
    TransformScheme scheme = scheme_of(options);
    scheme.apply = {forward(targets_of(model, streams[i]->writers), weight_output),
                    inverse(targets_of(model, streams[i]->readers()), weight_input)};
    for (TransformArgs& args : scheme.apply) args.ignore = mtp_targets(model);
    scheme.head_dim = options.transform_block_size.value_or(streams[i]->size());
    config.config_groups.emplace_back("R1_vision", std::move(scheme));
  }
}

// Some reader has several vectors of the stream: its rotation has as many blocks.
bool reads_side_by_side(const Model& model) {
  const auto wide = [&](const Module* reader) { return reader->shape.in != model.hidden_size(); };
  return !model.mtp_heads().empty() || (model.architecture() && std::ranges::any_of(model.stream().readers(), wide));
}

}  // namespace

std::span<const EnumName<Spin>> enum_names(Spin) {
  return kSpins;
}

Spin spin_from(std::string_view name) {
  for (const EnumName<Spin>& row : kSpins)
    if (name == row.name || (name.size() == 2 && name[0] == 'r' && name[1] == row.name[1])) return row.value;
  throw Error(std::string(name), "is not a rotation", "use R1, R2, R3 or R4");
}

SpinQuantMapping infer_mapping(const Model& model) {
  const Architecture& row = known_architecture(model, "mappings");
  if (!fits_mapping(row))
    throw Error(row.names.front(), "has readers or writers of the residual stream that no SpinQuantMapping names",
                "leave the mappings out: its architecture says who they are");
  const AttentionRow& attention = row.attention;
  SpinQuantMapping mapping;
  mapping.embedding = regex(row.embeddings.front().name);
  mapping.attn = regex(parent_of(attention.query));
  mapping.attn_q = regex(attention.query);
  mapping.attn_k = regex(attention.key);
  mapping.attn_v = regex(attention.value);
  mapping.attn_o = regex(attention.output);
  mapping.mlp_in = regexes(row.mlp_in);
  std::ranges::reverse(mapping.mlp_in);  // llm-compressor names up_proj before gate_proj
  mapping.mlp_out = regexes(row.mlp_out);
  mapping.lm_head = row.head;
  return mapping;
}

std::vector<NormMapping> infer_norm_mappings(const Model& model) {
  const Architecture& row = known_architecture(model, "norm_mappings");
  std::vector<NormMapping> mappings;
  for (const NormRow& norm : row.norms)
    if (!norm.reads.empty()) mappings.push_back({regex(norm.name), regexes(norm.reads)});
  for (const NormReads& reads : model.stream().norm_reads)
    if (reads.norm->layer < 0) mappings.push_back({reads.norm->name, {reads.linears.front()->name}});
  return mappings;
}

TransformConfig spinquant(const Model& model, const SpinQuantOptions& options) {
  const auto block = options.transform_block_size;
  if (block && *block < 1) throw Error("transform_block_size", fmt::format("must be 1 or more, not {}", *block));
  const bool by_row =
      !options.mappings && (!fits_mapping(known_architecture(model, "mappings")) || !model.mtp().empty());
  const std::optional<SpinQuantMapping> mapping =
      by_row ? std::nullopt : std::optional(options.mappings ? *options.mappings : infer_mapping(model));
  const Targets targets = mapping ? targets_of(*mapping) : targets_of(model);
  TransformConfig config;
  for (const EnumName<Spin>& row : kSpins) {
    if (std::ranges::find(options.rotations, row.value) == options.rotations.end()) continue;
    check_type(row.value, options, model);
    TransformScheme scheme = scheme_of(options);
    scheme.apply = args_of(row.value, targets);
    if (row.value == Spin::R3 || row.value == Spin::R4)
      for (TransformArgs& args : scheme.apply) args.ignore = mtp_targets(model);
    scheme.head_dim = block;
    if (row.value == Spin::R1 && !block && reads_side_by_side(model)) scheme.head_dim = model.hidden_size();
    if (is_per_head(row.value))
      scheme.head_dim = mapping && mapping->attn_head_dim ? mapping->attn_head_dim : head_size(row.value, model);
    config.config_groups.emplace_back(row.name, std::move(scheme));
  }
  if (options.vision) add_vision(model, options, config);
  use_given(options.given, model, config);
  choose_types(config, model);
  return config;
}

}  // namespace spinor
