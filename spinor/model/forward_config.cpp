#include "spinor/model/forward_config.h"

#include <fmt/format.h>

#include <algorithm>

#include "spinor/base/error.h"
#include "spinor/family/config_keys.h"
#include "spinor/model/modules.h"

namespace spinor {
namespace {

void check_supported(const ModelConfig& config, const ForwardRow& row) {
  for (const UnsupportedRow& one : row.unsupported)
    if (is_so(one.when, config, true)) throw Error(config.subject, "spinor cannot run this model yet", one.reason);
}

std::optional<double> optional_of(const OptionalKey& row, const ConfigKeys& config) {
  if (row.key.empty()) return std::nullopt;
  if (!config.json.contains(row.key)) return row.absent;
  return config.find(row.key.c_str()) ? std::optional(config.positive(row.key.c_str(), 1)) : std::nullopt;
}

std::string read_activation(const ModelConfig& config, const ForwardRow& row) {
  const std::string name = text_of(row.activation, config);
  const auto other = std::ranges::find(row.activations, name, &NamePairs::value_type::first);
  return other == row.activations.end() ? name : other->second;
}

// Lists with an entry for each layer that conditions of the row read.
void check_lists(const ConfigKeys& config, const ForwardRow& row, int64_t layers) {
  const std::string conditions = row.windowed + (row.rope ? row.rope->when : "");
  for (const char* key : {"layer_types", "no_rope_layers"}) {
    const Json* list = config.find(key);
    if (!list || conditions.find(key) == std::string::npos) continue;
    if (!list->is_array() || std::ssize(*list) < layers) config.fail(key, "a list of layers");
    const bool types = key == std::string_view("layer_types");
    for (const Json& entry : *list) {
      if (!types && !entry.is_number_integer()) config.fail(key, "a list of integers");
      if (types && entry != "sliding_attention" && entry != "full_attention")
        throw Error(config.subject, fmt::format("{} has {}, which spinor cannot run", key, entry.dump()));
    }
  }
}

void read_layers(const ModelConfig& config, const ForwardRow& row, ForwardConfig& forward) {
  const ConfigKeys keys{config.keys, config.subject};
  check_lists(keys, row, *config.num_layers);
  for (int64_t layer = 0; layer < *config.num_layers; ++layer)
    forward.local.push_back(is_so(row.windowed, config, false, layer));
  ModelConfig with_window = config;  // as conditions see it: with the family's default
  Json& window = with_window.keys["sliding_window"];
  if (std::ranges::count(forward.local, true) > 0) {
    keys.size("sliding_window");  // a whole number, if it is there
    const std::optional<double> tokens = optional_of(row.sliding_window, keys);
    window = tokens ? Json(static_cast<int64_t>(*tokens)) : Json();
  }
  for (int64_t layer = 0; layer < *config.num_layers; ++layer) {
    const bool windowed = forward.local[static_cast<size_t>(layer)] && window.is_number_integer();
    forward.window.push_back(windowed ? window.get<int64_t>() : 0);
    forward.has_rope.push_back(row.rope && is_so(row.rope->when, with_window, true, layer));
  }
}

void read_attention(const ModelConfig& config, const ForwardRow& row, ForwardConfig& forward) {
  if (row.rope && std::ranges::count(forward.has_rope, true) > 0)
    forward.rope = read_rope_config(config, *row.rope, false);
  if (forward.rope && !row.rope->local_theta.empty()) forward.local_rope = read_rope_config(config, *row.rope, true);
  forward.alibi = is_so(row.alibi, config, false);
  forward.attention_scale = number_of(row.attention_scale, config);
  forward.attention_cap = optional_of(row.attention_cap, {config.keys, config.subject});
  forward.clip = optional_of(row.clip, {config.keys, config.subject});
  if (!row.latent) return;
  forward.latent = {size_of(row.latent->fixed, config), size_of(row.latent->turning, config),
                    size_of(row.latent->value, config)};
  if (forward.rope) forward.attention_scale *= forward.rope->latent_attention;
}

DeltaConfig read_delta(const ModelConfig& config, const DeltaRow& row) {
  DeltaConfig delta{
      .pieces = {}, .key_size = size_of(row.key_size, config), .value_size = size_of(row.value_size, config)};
  for (const PartRow& piece : row.pieces) {
    const int64_t begin = static_cast<int64_t>(number_of(piece.begin, config)), size = size_of(piece.size, config);
    delta.pieces.push_back({begin, size, size_of(piece.period, config)});
  }
  return delta;
}

RouterConfig read_router(const ModelConfig& config, const RouterRow& row, int64_t experts) {
  const bool grouped = is_so(row.grouped, config, false);
  const RouterConfig router{.chosen = size_of(row.chosen, config),
                            .groups = grouped ? size_of(row.groups, config) : 1,
                            .chosen_groups = grouped ? size_of(row.chosen_groups, config) : 1,
                            .normalized = is_so(row.normalized, config, false),
                            .scale = number_of(row.scale, config)};
  const int64_t group = experts / router.groups;
  if (experts % router.groups != 0 || router.chosen_groups > router.groups ||
      router.chosen > group * router.chosen_groups || (row.best_two && group < 2))
    throw Error(config.subject, fmt::format("{} of {} experts cannot be chosen, from {} of {} groups", router.chosen,
                                            experts, router.chosen_groups, router.groups));
  return router;
}

}  // namespace

const RopeConfig* ForwardConfig::rope_of(int64_t layer) const {
  const auto i = static_cast<size_t>(layer);
  if (!has_rope[i]) return nullptr;
  return local[i] && local_rope ? &*local_rope : &*rope;
}

ForwardConfig read_forward_config(const Model& model) {
  const std::string path = (model.checkpoint().directory() / "config.json").string();
  if (!model.architecture())
    throw Error(path, fmt::format("spinor cannot run {}", model.architecture_name()), "its architecture is unknown");
  return read_forward_config(model.checkpoint().config(), *model.architecture(), path);
}

ForwardConfig read_forward_config(const Json& json, const Architecture& architecture, const std::string& path) {
  if (!architecture.forward)
    throw Error(path, fmt::format("spinor cannot run {}", read_architecture_name(json, path)),
                "its row says what is in it, not how it computes; `forward: {}` says that it does so as Llama does");
  const ForwardRow& row = *architecture.forward;
  if (!row.unknown.empty())
    throw Error(path, fmt::format("spinor cannot run {} yet", read_architecture_name(json, path)), row.unknown);
  const ModelConfig config = read_model_config(json, &architecture, path);
  check_supported(config, row);
  ForwardConfig forward;
  forward.norm_epsilon = positive_of(row.norm_epsilon, config);
  forward.swiglu_limit = optional_of(row.swiglu_limit, {config.keys, path});
  forward.swiglu_alpha = positive_of(row.swiglu_alpha, config);
  forward.activation = read_activation(config, row);
  read_layers(config, row, forward);
  read_attention(config, row, forward);
  forward.embedding_multiplier = number_of(row.embedding_multiplier, config);
  forward.residual_multiplier = number_of(row.residual_multiplier, config);
  forward.logits_multiplier = number_of(row.logits_multiplier, config);
  forward.logits_cap = optional_of(row.logits_cap, {config.keys, path});
  forward.parallel = is_so(row.parallel, config, false);
  forward.norms_sums = is_so(row.norms_sums, config, false);
  const int64_t experts = number_of_experts(architecture, config);
  if (row.router && experts > 0) forward.router = read_router(config, *row.router, experts);
  if (row.delta) forward.delta = read_delta(config, *row.delta);
  return forward;
}

}  // namespace spinor
