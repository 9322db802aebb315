#include "spinor/model/config_difference.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

#include "spinor/base/error.h"
#include "spinor/base/list.h"
#include "spinor/family/model_config.h"
#include "spinor/model/forward_config.h"

namespace spinor {
namespace {

// What the weights themselves say, or spinor changes on purpose.
constexpr std::array<std::string_view, 5> kChecked = {"tie_word_embeddings", "num_nextn_predict_layers",
                                                      "mtp_num_hidden_layers", "quantization_config",
                                                      "compression_config"};
// How the model is stored, trained, cached or asked, not what it computes.
constexpr std::array<std::string_view, 26> kAside = {"transformers_version",
                                                     "dtype",
                                                     "torch_dtype",
                                                     "use_cache",
                                                     "_name_or_path",
                                                     "name_or_path",
                                                     "_attn_implementation",
                                                     "attn_implementation",
                                                     "_attn_implementation_autoset",
                                                     "return_dict",
                                                     "output_attentions",
                                                     "output_hidden_states",
                                                     "output_router_logits",
                                                     "router_aux_loss_coef",
                                                     "aux_loss_alpha",
                                                     "initializer_range",
                                                     "gradient_checkpointing",
                                                     "pretraining_tp",
                                                     "task_specific_params",
                                                     "id2label",
                                                     "label2id",
                                                     "problem_type",
                                                     "bos_token_id",
                                                     "eos_token_id",
                                                     "pad_token_id",
                                                     "chunk_size_feed_forward"};

bool changes_nothing(std::string_view key) {
  return contains(kChecked, key) || contains(kAside, key) || key.find("dropout") != std::string_view::npos ||
         key.ends_with("_pdrop");
}

// An object of the file, "" for the file itself; empty if it is not there.
const Json& object_of(const Json& config, const std::string& section) {
  static const Json none = Json::object();
  if (section.empty()) return config;
  const auto found = config.find(section);
  return found == config.end() || !found->is_object() ? none : *found;
}

Json value_of_key(const Json& object, const std::string& key) {
  const auto found = object.find(key);
  return found == object.end() ? Json() : *found;
}

using Differences = std::vector<ConfigDifference>;

// Of the keys of one object, but those in `apart`.
Differences differences_in(const Json& source, const Json& output, const std::string& section,
                           const std::vector<std::string>& apart) {
  const Json &a = object_of(source, section), &b = object_of(output, section);
  Json keys = a;
  keys.update(b);
  Differences found;
  for (const auto& [key, ignored] : keys.items()) {
    if (changes_nothing(key) || contains(apart, key)) continue;
    ConfigDifference one{section.empty() ? key : section + "." + key, value_of_key(a, key), value_of_key(b, key)};
    if (one.source != one.output) found.push_back(std::move(one));
  }
  return found;
}

// What a file says of the forward pass: all that running it reads.
struct Computed {
  ForwardConfig forward;
  std::optional<int64_t> heads, key_value_heads, head_dim;

  bool operator==(const Computed&) const = default;
};

// Positions count only where the type of RoPE asks for them.
void forget_unused(std::optional<RopeConfig>& rope) {
  if (!rope) return;
  if (rope->type != RopeType::dynamic && rope->type != RopeType::longrope) rope->max_positions = 0;
  if (rope->type == RopeType::plain || rope->type == RopeType::linear) rope->original_positions = 0;
}

// Nothing: spinor does not run it.
std::optional<Computed> read_computed(const Json& config, const Architecture& row) {
  try {
    const std::string subject = "config.json";
    const ModelConfig sizes = read_model_config(config, &row, subject);
    Computed computed{read_forward_config(config, row, subject), sizes.num_heads, sizes.num_key_value_heads,
                      sizes.head_dim};
    forget_unused(computed.forward.rope);
    forget_unused(computed.forward.local_rope);
    return computed;
  } catch (const Error&) {
    return std::nullopt;
  }
}

// The output's file with the source's value of a key.
Json with_source_value(Json config, const std::string& section, const ConfigDifference& one) {
  Json& object = section.empty() ? config : config[section];
  const std::string key = section.empty() ? one.key : one.key.substr(section.size() + 1);
  if (one.source.is_null())
    object.erase(key);
  else
    object[key] = one.source;
  return config;
}

// Those of the candidates that alone make a difference; all, if none does.
Differences to_blame(const Json& source, const Json& output, const Architecture& row, const Computed& computed) {
  Differences all, found;
  std::vector<std::string> places = {""};
  if (!row.section.empty()) places.push_back(row.section);
  for (const std::string& section : places) {
    for (ConfigDifference& one : differences_in(source, output, section, {row.section})) {
      all.push_back(one);
      if (read_computed(with_source_value(output, section, one), row) != computed) found.push_back(std::move(one));
    }
  }
  return found.empty() ? all : found;
}

std::vector<std::string> sections_of(const Architecture* row) {
  std::vector<std::string> sections;
  if (!row) return sections;
  if (!row->section.empty()) sections.push_back(row->section);
  for (const Architecture& tower : row->towers) sections.push_back(tower.section);
  return sections;
}

}  // namespace

std::vector<ConfigDifference> config_differences(const Model& source, const Model& output) {
  const Json &a = source.checkpoint().config(), &b = output.checkpoint().config();
  const Architecture* row = source.architecture() == output.architecture() ? source.architecture() : nullptr;
  const std::vector<std::string> sections = sections_of(row);
  const std::optional<Computed> x = row ? read_computed(a, *row) : std::nullopt,
                                y = row ? read_computed(b, *row) : std::nullopt;
  Differences found;
  if (x && y && row->towers.empty()) {  // the class and its model_type; what it computes follows
    for (ConfigDifference& one : differences_in(a, b, "", sections))
      if (one.key == "architectures" || one.key == "model_type") found.push_back(std::move(one));
  } else {
    append(found, differences_in(a, b, "", sections));
    for (const std::string& section : sections)
      if (!x || !y || section != row->section) append(found, differences_in(a, b, section, {}));
  }
  if (!x || !y || *x == *y) return found;
  for (ConfigDifference& one : to_blame(a, b, *row, *y))
    if (!std::ranges::count(found, one.key, &ConfigDifference::key)) found.push_back(std::move(one));
  return found;
}

}  // namespace spinor
