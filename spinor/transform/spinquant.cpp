#include "spinor/transform/spinquant.h"

#include <fmt/format.h>

#include <algorithm>

#include "spinor/base/error.h"
#include "spinor/transform/factory.h"

namespace spinor {
namespace {

constexpr EnumName<Spin> kSpins[] = {{Spin::R1, "R1"}, {Spin::R2, "R2"}, {Spin::R3, "R3"}, {Spin::R4, "R4"}};

using enum TransformLocation;

std::string regex(std::string_view name) {
  return fmt::format("re:.*{}$", name.substr(name.rfind('.') + 1));
}

std::vector<std::string> regexes(const std::vector<std::string>& names) {
  std::vector<std::string> list;
  for (const std::string& name : names) list.push_back(regex(name));
  return list;
}

const Architecture& known_architecture(const Model& model, std::string_view missing) {
  if (const Architecture* row = model.architecture()) return *row;
  throw Error(std::string(model.architecture_name()), "an unknown architecture, whose modules cannot be inferred",
              fmt::format("give {}", missing));
}

TransformArgs forward(std::vector<std::string> targets, TransformLocation location) {
  return {std::move(targets), location, false, {}};
}
TransformArgs inverse(std::vector<std::string> targets, TransformLocation location) {
  return {std::move(targets), location, true, {}};
}

// What each rotation does, in the words of the mapping.
std::vector<TransformArgs> args_of(Spin spin, const SpinQuantMapping& m) {
  switch (spin) {
    case Spin::R1: {
      std::vector<std::string> writers = {m.embedding, m.attn_o}, readers = {m.attn_q, m.attn_k, m.attn_v};
      writers.insert(writers.end(), m.mlp_out.begin(), m.mlp_out.end());
      readers.insert(readers.end(), m.mlp_in.begin(), m.mlp_in.end());
      readers.push_back(m.lm_head);
      return {forward(std::move(writers), weight_output), inverse(std::move(readers), weight_input)};
    }
    case Spin::R2:
      return {forward({m.attn_v}, weight_output), inverse({m.attn_o}, weight_input)};
    case Spin::R3:
      return {forward({m.attn}, q_attn), forward({m.attn}, k_cache)};
    case Spin::R4:
      return {forward(m.mlp_out, input), inverse(m.mlp_out, weight_input)};
  }
  return {};
}

bool is_per_head(Spin spin) {
  return spin == Spin::R2 || spin == Spin::R3;
}

// R1 must commute with an RMS norm, R3 must cancel in the product of a query and a key: both need R^T R = 1. R2 and R4
// meet their inverse.
void check_type(Spin spin, const SpinQuantOptions& options) {
  const TransformType& type = find_transform_type(options.transform_type);
  if (type.orthogonal || options.llm_compressor_compat || (spin != Spin::R1 && spin != Spin::R3)) return;
  throw Error(std::string(name_in_table(spin)),
              fmt::format("{} is not orthogonal, so the model would compute something else", type.name),
              "use random-orthogonal");
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
  SpinQuantMapping mapping;
  mapping.embedding = regex(row.embedding);
  mapping.attn = regex(row.query.substr(0, row.query.rfind('.')));
  mapping.attn_q = regex(row.query);
  mapping.attn_k = regex(row.key);
  mapping.attn_v = regex(row.value);
  mapping.attn_o = regex(row.output);
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
  mappings.push_back({row.final_norm, {row.head}});
  return mappings;
}

TransformConfig spinquant(const Model& model, const SpinQuantOptions& options) {
  const auto block = options.transform_block_size;
  if (block && *block < 1) throw Error("transform_block_size", fmt::format("must be 1 or more, not {}", *block));
  const SpinQuantMapping mapping = options.mappings ? *options.mappings : infer_mapping(model);
  TransformConfig config;
  for (const EnumName<Spin>& row : kSpins) {
    if (std::ranges::find(options.rotations, row.value) == options.rotations.end()) continue;
    check_type(row.value, options);
    TransformScheme scheme;
    scheme.type = options.transform_type;
    scheme.apply = args_of(row.value, mapping);
    scheme.randomize = options.randomize;
    scheme.head_dim = !is_per_head(row.value) ? block
                      : mapping.attn_head_dim ? mapping.attn_head_dim
                                              : model.head_dim();
    scheme.precision = options.precision == Precision::float64 ? "torch.float64" : "torch.float32";
    scheme.seed = options.seed;
    config.config_groups.emplace_back(row.name, std::move(scheme));
  }
  return config;
}

}  // namespace spinor
