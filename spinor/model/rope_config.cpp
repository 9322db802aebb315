#include "spinor/model/rope_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "spinor/base/error.h"
#include "spinor/family/config_keys.h"

namespace spinor {
namespace {

struct RopeName {
  std::string_view name;
  RopeType type;
};
constexpr RopeName kRopes[] = {{"default", RopeType::plain},   {"linear", RopeType::linear},
                               {"dynamic", RopeType::dynamic}, {"yarn", RopeType::yarn},
                               {"llama3", RopeType::llama3},   {"longrope", RopeType::longrope}};

const Json kNone = Json::object();

// The object with the parameters, empty if there is none, and what it is called.
struct Parameters {
  const Json* json = &kNone;
  std::string name = "rope_parameters";
};

Parameters find_parameters(const ConfigKeys& config, bool by_type, bool local) {
  const bool older = config.find("rope_scaling") != nullptr;
  const char* name = older ? "rope_scaling" : "rope_parameters";
  const Json* json = config.find(name);
  if (!json) return {};
  if (!json->is_object()) config.fail(name, "an object");
  const bool nested = json->contains("full_attention") || json->contains("sliding_attention");
  if (!by_type && nested)
    throw Error(config.subject, fmt::format("{} differs by the type of the layer", name), "spinor runs one for all");
  if (!by_type) return {json, name};
  if (older && !nested) return local ? Parameters{} : Parameters{json, name};
  if (!nested) throw Error(config.subject, fmt::format("{} has no full_attention", name));
  const ConfigKeys types{*json, config.subject + ": " + name};
  const char* type = local ? "sliding_attention" : "full_attention";
  const Json* found = types.find(type);
  if (found && !found->is_object()) types.fail(type, "an object");
  return {found ? found : &kNone, fmt::format("{}: {}", name, type)};
}

RopeType find_type(const ConfigKeys& keys, const RopeRow& row) {
  std::string type = keys.text("rope_type", keys.text("type", "default"));
  for (const auto& [name, means] : row.types)
    if (type == name) type = means;
  const auto* found = std::ranges::find(kRopes, type, &RopeName::name);
  if (found == std::end(kRopes))
    throw Error(keys.subject, fmt::format("rope_type {} is not supported", type),
                "spinor runs default, linear, dynamic, yarn, llama3 and longrope");
  return found->type;
}

double yarn_scale(double factor, double mscale) {
  return factor <= 1 ? 1 : 0.1 * mscale * std::log(factor) + 1;
}

void read_yarn(const ConfigKeys& keys, RopeConfig& rope) {
  rope.beta_fast = keys.positive("beta_fast", 32);
  rope.beta_slow = keys.positive("beta_slow", 1);
  rope.truncate = keys.flag("truncate", true);
  const auto mscale = keys.number("mscale"), all = keys.number("mscale_all_dim");
  const bool both = mscale.value_or(0) != 0 && all.value_or(0) != 0;
  const double scale =
      both ? yarn_scale(rope.factor, *mscale) / yarn_scale(rope.factor, *all) : yarn_scale(rope.factor, 1);
  rope.attention = keys.number("attention_factor").value_or(scale);
}

std::vector<double> read_factors(const ConfigKeys& keys, const char* key, int64_t count) {
  const Json* list = keys.find(key);
  if (!list) throw Error(keys.subject, fmt::format("has no {}", key));
  std::vector<double> factors;
  const std::string expected = fmt::format("a list of {} positive numbers", count);
  if (!list->is_array() || std::ssize(*list) != count) keys.fail(key, expected);
  for (const Json& value : *list) {
    if (!value.is_number() || value.get<double>() <= 0) keys.fail(key, expected);
    factors.push_back(value.get<double>());
  }
  return factors;
}

void read_longrope(const ConfigKeys& keys, RopeConfig& rope) {
  rope.short_factors = read_factors(keys, "short_factor", rope.dims / 2);
  rope.long_factors = read_factors(keys, "long_factor", rope.dims / 2);
  const double positions = std::log(static_cast<double>(rope.original_positions));
  const double scale = rope.factor <= 1 ? 1 : std::sqrt(1 + std::log(rope.factor) / positions);
  rope.attention = keys.number("attention_factor").value_or(scale);
}

// What all types but the plain one have.
void read_scaling(const ConfigKeys& keys, const ConfigKeys& config, RopeConfig& rope) {
  rope.max_positions = config.size("max_position_embeddings").value_or(0);
  if (rope.max_positions == 0) throw Error(config.subject, "has no max_position_embeddings");
  rope.original_positions = config.size("original_max_position_embeddings")
                                .value_or(keys.size("original_max_position_embeddings").value_or(rope.max_positions));
  const bool extends = rope.type == RopeType::longrope || rope.type == RopeType::yarn;
  rope.factor = extends && !keys.find("factor")
                    ? static_cast<double>(rope.max_positions) / static_cast<double>(rope.original_positions)
                    : keys.required("factor");
  if (rope.type == RopeType::yarn) read_yarn(keys, rope);
  if (rope.type == RopeType::longrope) read_longrope(keys, rope);
  const double all = keys.number("mscale_all_dim").value_or(0), scale = yarn_scale(rope.factor, all);
  if (all != 0) rope.latent_attention = scale * scale;
  if (rope.type != RopeType::llama3) return;
  rope.low_frequency = keys.required("low_freq_factor");
  rope.high_frequency = keys.required("high_freq_factor");
}

double read_fraction(const ConfigKeys& keys, const ConfigKeys& file, const ModelConfig& config, const RopeRow& row) {
  if (!row.fraction.empty()) return keys.number("partial_rotary_factor").value_or(positive_of(row.fraction, config));
  for (const ConfigKeys* place : {&keys, &file})
    if (place->number("partial_rotary_factor").value_or(1) != 1)
      throw Error(place->subject, "partial_rotary_factor is not supported",
                  "this family's rotary embedding turns whole heads");
  return 1;
}

}  // namespace

RopeConfig read_rope_config(const ModelConfig& config, const RopeRow& row, bool local) {
  const ConfigKeys file{config.keys, config.subject};
  const Parameters place = find_parameters(file, !row.local_theta.empty(), local);
  const ConfigKeys keys{*place.json, config.subject + ": " + place.name};
  RopeConfig rope{.type = find_type(keys, row), .interleaved = is_so(row.interleaved, config, false)};
  const double size = static_cast<double>(size_of(row.size, config));
  rope.dims = static_cast<int64_t>(size * read_fraction(keys, file, config, row));
  if (rope.dims < 2 || static_cast<double>(rope.dims) > size || rope.dims % 2 != 0)
    throw Error(config.subject, fmt::format("{} of {} dimensions of a head cannot turn in pairs", rope.dims, size));
  rope.max_positions = file.size("max_position_embeddings").value_or(0);
  rope.original_positions = rope.max_positions;
  const std::string& theta = local && !row.local_theta.empty() ? row.local_theta : row.theta;
  rope.theta = keys.positive("rope_theta", positive_of(theta, config));
  if (rope.type != RopeType::plain) read_scaling(keys, file, rope);
  return rope;
}

}  // namespace spinor
