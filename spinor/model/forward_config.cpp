#include "spinor/model/forward_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <optional>
#include <utility>

#include "spinor/base/error.h"
#include "spinor/model/config_keys.h"

namespace spinor {
namespace {

struct RopeName {
  std::string_view name;
  RopeType type;
};
constexpr RopeName kRopes[] = {{"default", RopeType::plain},
                               {"linear", RopeType::linear},
                               {"dynamic", RopeType::dynamic},
                               {"yarn", RopeType::yarn},
                               {"llama3", RopeType::llama3}};

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

RopeConfig read_rope(const ConfigKeys& config, const ForwardRow& row) {
  RopeConfig rope{.max_positions = config.size("max_position_embeddings").value_or(2048)};
  rope.original_positions = rope.max_positions;
  const double theta = config.positive("rope_theta", row.rope_theta);
  const Json* json = config.find("rope_scaling");
  const char* name = json ? "rope_scaling" : "rope_parameters";
  if (!json) json = config.find(name);
  if (json && !json->is_object()) config.fail(name, "an object");
  const Json none = Json::object();
  const ConfigKeys keys{json ? *json : none, config.subject + ": " + name};
  const std::string type = keys.text("rope_type", keys.text("type", "default"));
  const auto* found = std::ranges::find(kRopes, type, &RopeName::name);
  if (found == std::end(kRopes))
    throw Error(keys.subject, fmt::format("rope_type {} is not supported", type),
                "spinor runs default, linear, dynamic, yarn and llama3");
  for (const ConfigKeys* place : {&keys, &config})
    if (place->number("partial_rotary_factor").value_or(1) != 1)
      throw Error(place->subject, "partial_rotary_factor is not supported", "spinor runs RoPE over whole heads");
  rope.type = found->type;
  rope.theta = keys.positive("rope_theta", theta);
  if (rope.type == RopeType::plain) return rope;
  rope.factor = keys.required("factor");
  rope.original_positions = config.size("original_max_position_embeddings")
                                .value_or(keys.size("original_max_position_embeddings").value_or(rope.max_positions));
  if (rope.type == RopeType::yarn) read_yarn(keys, rope);
  if (rope.type == RopeType::llama3) {
    rope.low_frequency = keys.required("low_freq_factor");
    rope.high_frequency = keys.required("high_freq_factor");
  }
  return rope;
}

std::vector<bool> read_has_rope(const ConfigKeys& config, const ForwardRow& row, int64_t layers) {
  std::vector<bool> has_rope(static_cast<size_t>(layers), true);
  if (!row.no_rope_layers) return has_rope;
  const int64_t interval = config.size("no_rope_layer_interval").value_or(4);
  const Json* list = config.find("no_rope_layers");  // in spite of its name: 1 for layers with RoPE
  if (list && (!list->is_array() || list->size() < has_rope.size())) config.fail("no_rope_layers", "a list of layers");
  for (size_t i = 0; i < has_rope.size(); ++i) {
    if (list && !list->at(i).is_number_integer()) config.fail("no_rope_layers", "a list of integers");
    has_rope[i] = list ? list->at(i).get<int64_t>() != 0 : (static_cast<int64_t>(i) + 1) % interval != 0;
  }
  return has_rope;
}

// Whether each layer has a window, where use_sliding_window asks for them.
std::vector<bool> windowed_layers(const ConfigKeys& config, const ForwardRow& row, const std::vector<bool>& has_rope) {
  const size_t layers = has_rope.size();
  std::vector<bool> windowed(layers);
  const Json* types = config.find("layer_types");
  if (types && (!types->is_array() || types->size() != layers)) config.fail("layer_types", "a list of layers");
  const int64_t first = config.integer("max_window_layers", 28);
  for (size_t i = 0; i < layers; ++i) {
    if (types && types->at(i) != "sliding_attention" && types->at(i) != "full_attention")
      throw Error(config.subject, fmt::format("layer_types has {}, which spinor cannot run", types->at(i).dump()));
    const bool by_rule = row.window == WindowRule::no_rope ? !has_rope[i] : static_cast<int64_t>(i) >= first;
    windowed[i] = types ? types->at(i) == "sliding_attention" : by_rule;
  }
  return windowed;
}

std::vector<int64_t> read_windows(const ConfigKeys& config, const ForwardRow& row, const std::vector<bool>& has_rope) {
  std::vector<int64_t> windows(has_rope.size(), 0);
  if (row.window == WindowRule::none) return windows;
  const bool named = config.json.contains("sliding_window");
  const int64_t window = config.size("sliding_window").value_or(named ? 0 : row.sliding_window.value_or(0));
  if (window == 0) return windows;
  if (row.window == WindowRule::always) return std::vector<int64_t>(windows.size(), window);
  if (!config.flag("use_sliding_window", false)) return windows;
  const std::vector<bool> windowed = windowed_layers(config, row, has_rope);
  for (size_t i = 0; i < windows.size(); ++i) windows[i] = windowed[i] ? window : 0;
  return windows;
}

std::vector<int32_t> read_eos(const ConfigKeys& config) {
  const Json* value = config.find("eos_token_id");
  if (!value) return {};
  std::vector<int32_t> ids;
  for (const Json& id : value->is_array() ? *value : Json::array({*value})) {
    if (!id.is_number_integer() || !std::in_range<int32_t>(id.get<int64_t>())) config.fail("eos_token_id", "a token");
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

}  // namespace

ForwardConfig read_forward_config(const Model& model) {
  const std::string path = (model.checkpoint().directory() / "config.json").string();
  const Architecture* row = model.architecture();
  if (!row)
    throw Error(path, fmt::format("spinor cannot run {}", model.architecture_name()), "its architecture is unknown");
  if (!row->forward.unknown.empty())
    throw Error(path, fmt::format("spinor cannot run {} yet", model.architecture_name()), row->forward.unknown);
  const ConfigKeys config{model.checkpoint().config(), path};
  ForwardConfig forward;
  forward.norm_epsilon = config.positive("rms_norm_eps", 1e-6);
  forward.activation = config.text("hidden_act", "silu");
  forward.rope = read_rope(config, row->forward);
  forward.has_rope = read_has_rope(config, row->forward, model.num_layers());
  forward.window = read_windows(config, row->forward, forward.has_rope);
  forward.attention_scale = 1 / std::sqrt(static_cast<double>(model.head_dim()));
  forward.eos = read_eos(config);
  if (!row->forward.multipliers) return forward;
  forward.embedding_multiplier = config.number("embedding_multiplier").value_or(1);
  forward.residual_multiplier = config.number("residual_multiplier").value_or(1);
  forward.attention_scale = config.number("attention_multiplier").value_or(1);
  forward.logits_scaling = config.positive("logits_scaling", 1);
  return forward;
}

}  // namespace spinor
