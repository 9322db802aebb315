#include "spinor/family/model_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string_view>

#include "spinor/base/error.h"
#include "spinor/family/config_keys.h"
#include "spinor/family/row_formulas.h"

namespace spinor {
namespace {

// A row may leave the size of the MLP to the tensors.
void check_present(const ModelConfig& config, const Architecture& row, const std::string& subject) {
  const std::pair<const char*, const std::optional<int64_t>*> required[] = {
      {"hidden_size", &config.hidden_size},
      {"num_hidden_layers", &config.num_layers},
      {"num_attention_heads", &config.num_heads},
      {"intermediate_size", &config.intermediate_size},
      {"vocab_size", &config.vocabulary_size}};
  for (const auto& [key, value] : required)
    if (!value->has_value() && (value != &config.intermediate_size || mentions(row, key)))
      throw Error(subject, fmt::format("has no {}", key), "the tensors' shapes cannot be checked without it");
}

// Some have heads of other sizes, and hidden_size is no multiple of their number.
void set_heads(ModelConfig& config, const Architecture* row, const std::string& subject) {
  if (!config.num_heads) return;
  const int64_t heads = *config.num_heads;
  if (!config.num_key_value_heads) config.num_key_value_heads = heads;
  if (heads % *config.num_key_value_heads != 0)
    throw Error(subject, fmt::format("num_attention_heads {} is not a multiple of num_key_value_heads {}", heads,
                                     *config.num_key_value_heads));
  if (config.head_dim || !config.hidden_size) return;
  if (*config.hidden_size % heads != 0 && row && !mentions(*row, "head_dim")) return;
  if (*config.hidden_size % heads != 0)
    throw Error(subject,
                fmt::format("hidden_size {} is not a multiple of num_attention_heads {}", *config.hidden_size, heads),
                "give head_dim");
  config.head_dim = *config.hidden_size / heads;
}

// A problem of a formula is one of the config.json that it reads.
template <typename Work>
auto about_file(const ModelConfig& config, Work work) {
  try {
    return work();
  } catch (const Error& error) {
    throw Error(config.subject, error.what());
  }
}

// What the file leaves out, then what it cannot say. A num_key_value_heads that is there and null means
// num_attention_heads in every family; one that is not there, the class's default. Elsewhere the two mean the same.
void add_defaults(ModelConfig& config, const Architecture& row) {
  for (const auto& [key, formula] : row.defaults) {
    const auto found = config.keys.find(key);
    if (found != config.keys.end() && (!found->is_null() || key == "num_key_value_heads")) continue;
    config.keys[key] = about_file(config, [&] { return evaluate(formula, names_of(config)); });
  }
  for (const auto& [key, formula] : row.renamed)
    config.keys[key] = about_file(config, [&] { return evaluate(formula, names_of(config)); });
}

const Json& section_of(const Json& json, const std::string& section, const std::string& subject) {
  const Json& found = json.at(section);
  if (!found.is_object()) ConfigKeys{json, subject}.fail(section.c_str(), "an object");
  return found;
}

// The keys of the row's section go before those of the file; who ties the embeddings is the whole model,
// or what its class does where the file says nothing.
Json keys_of(const Json& json, const Architecture& row, const std::string& subject) {
  if (row.section.empty() || !json.contains(row.section)) return json;
  constexpr std::string_view kTied = "tie_word_embeddings";
  const auto is_it = [&](const auto& one) { return one.first == kTied; };
  const bool said = json.contains(kTied) || std::ranges::any_of(row.defaults, is_it);
  Json keys = json;
  for (const auto& [key, value] : section_of(json, row.section, subject).items())
    if (key != kTied || !said) keys[key] = value;
  return keys;
}

std::optional<int64_t> number_of_layers(const ModelConfig& config, const Architecture* row) {
  if (!row || row->num_layers == "num_hidden_layers")
    return ConfigKeys{config.keys, config.subject}.size("num_hidden_layers");
  const Json found = about_file(config, [&] { return evaluate(row->num_layers, names_of(config)); });
  return found.is_array() ? std::ssize(found) : size_of(row->num_layers, config);
}

}  // namespace

ModelConfig read_model_config(const Json& json, const Architecture* row, const std::string& subject) {
  ModelConfig config;
  config.subject = subject;
  config.keys = row ? keys_of(json, *row, subject) : json;
  if (row) add_defaults(config, *row);
  const ConfigKeys keys{config.keys, subject};
  config.hidden_size = keys.size("hidden_size");
  config.num_layers = number_of_layers(config, row);
  config.num_heads = keys.size("num_attention_heads");
  config.num_key_value_heads = keys.size("num_key_value_heads");
  config.head_dim = keys.size("head_dim");
  config.intermediate_size = keys.size("intermediate_size");
  config.vocabulary_size = keys.size("vocab_size");
  config.tie_word_embeddings = keys.flag("tie_word_embeddings", false);
  config.activation = keys.text("hidden_act", config.activation);
  if (row) check_present(config, *row, subject);
  set_heads(config, row, subject);
  if (config.num_key_value_heads) config.keys["num_key_value_heads"] = *config.num_key_value_heads;
  if (config.head_dim) config.keys["head_dim"] = *config.head_dim;
  return config;
}

ModelConfig read_tower_config(const Json& json, const Architecture& tower, int64_t language_hidden_size,
                              const std::string& subject) {
  ModelConfig config;
  config.subject = subject;
  if (!json.contains(tower.section))
    throw Error(subject, fmt::format("has no {}", tower.section), "the tensors' shapes cannot be checked without it");
  config.keys = section_of(json, tower.section, subject);
  config.keys["language_hidden_size"] = language_hidden_size;
  add_defaults(config, tower);
  config.num_layers = tower.layers.empty() ? 0 : size_of(tower.num_layers, config);
  config.activation = ConfigKeys{config.keys, subject}.text("hidden_act", config.activation);
  return config;
}

std::string read_architecture_name(const Json& config, const std::string& subject) {
  const Json* names = ConfigKeys{config, subject}.find("architectures");
  if (!names) return "";
  if (!names->is_array() || names->empty() || !names->front().is_string())
    throw Error(subject, "architectures is " + names->dump() + ", not a list of class names");
  return names->front().get<std::string>();
}

FormulaNames names_of(const ModelConfig& config, int64_t layer) {
  return [&config, layer](std::string_view name) -> Json {
    if (name == "L" && layer >= 0) return layer;
    const auto found = config.keys.find(name);
    return found == config.keys.end() ? Json() : *found;
  };
}

int64_t size_of(const std::string& formula, const ModelConfig& config, int64_t layer) {
  return about_file(config, [&] {
    const Json size = evaluate(formula, names_of(config, layer));
    if (!size.is_number_integer() || size < 1 || size > kMaxSize)
      throw Error(explain(formula, names_of(config, layer)),
                  fmt::format("is {}, not an integer from 1 to {}", size.dump(), kMaxSize));
    return size.get<int64_t>();
  });
}

namespace {

[[noreturn]] void fail_value(const std::string& formula, const ModelConfig& config, int64_t layer, const Json& value,
                             std::string_view expected) {
  throw Error(config.subject,
              fmt::format("{} is {}, not {}", explain(formula, names_of(config, layer)), value.dump(), expected));
}

Json value_of(const std::string& formula, const ModelConfig& config, int64_t layer) {
  return about_file(config, [&] { return evaluate(formula, names_of(config, layer)); });
}

}  // namespace

double number_of(const std::string& formula, const ModelConfig& config, int64_t layer) {
  const Json value = value_of(formula, config, layer);
  if (!value.is_number() || !std::isfinite(value.get<double>())) fail_value(formula, config, layer, value, "a number");
  return value.get<double>();
}

double positive_of(const std::string& formula, const ModelConfig& config, int64_t layer) {
  const double number = number_of(formula, config, layer);
  if (number <= 0) fail_value(formula, config, layer, value_of(formula, config, layer), "a positive number");
  return number;
}

std::string text_of(const std::string& formula, const ModelConfig& config) {
  const Json value = value_of(formula, config, -1);
  if (!value.is_string()) fail_value(formula, config, -1, value, "a string");
  return value.get<std::string>();
}

bool is_so(const std::string& condition, const ModelConfig& config, bool empty, int64_t layer) {
  return about_file(config, [&] { return holds(condition, names_of(config, layer), empty); });
}

}  // namespace spinor
