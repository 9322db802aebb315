#include "spinor/model/model_config.h"

#include <fmt/format.h>

#include "spinor/base/error.h"

namespace spinor {
namespace {

constexpr int64_t kMaxSize = (int64_t{1} << 31) - 1;  // products of two sizes stay inside int64_t

const Json* find(const Json& config, const std::string& key) {
  const auto found = config.find(key);
  return found == config.end() || found->is_null() ? nullptr : &*found;
}

std::optional<int64_t> read_size(const Json& config, const std::string& key, const std::string& subject) {
  const Json* value = find(config, key);
  if (!value) return std::nullopt;
  const int64_t size = value->is_number_integer() ? value->get<int64_t>() : 0;
  if (size < 1 || size > kMaxSize)
    throw Error(subject, fmt::format("{} is {}, not an integer from 1 to {}", key, value->dump(), kMaxSize));
  return size;
}

bool read_bool(const Json& config, const std::string& key, bool absent, const std::string& subject) {
  const Json* value = find(config, key);
  if (!value) return absent;
  if (!value->is_boolean()) throw Error(subject, fmt::format("{} is {}, not true or false", key, value->dump()));
  return value->get<bool>();
}

std::string read_string(const Json& config, const std::string& key, std::string absent, const std::string& subject) {
  const Json* value = find(config, key);
  if (!value) return absent;
  if (!value->is_string()) throw Error(subject, fmt::format("{} is {}, not a string", key, value->dump()));
  return value->get<std::string>();
}

void check_present(const ModelConfig& config, const std::string& subject) {
  const std::pair<const char*, const std::optional<int64_t>*> required[] = {
      {"hidden_size", &config.hidden_size},
      {"num_hidden_layers", &config.num_layers},
      {"num_attention_heads", &config.num_heads},
      {"intermediate_size", &config.intermediate_size},
      {"vocab_size", &config.vocabulary_size}};
  for (const auto& [key, value] : required)
    if (!value->has_value())
      throw Error(subject, fmt::format("has no {}", key), "the tensors' shapes cannot be checked without it");
}

void set_heads(ModelConfig& config, const ConfigDefaults& defaults, const std::string& subject) {
  if (!config.num_heads) return;
  const int64_t heads = *config.num_heads;
  if (!config.num_key_value_heads) config.num_key_value_heads = heads;
  if (heads % *config.num_key_value_heads != 0)
    throw Error(subject, fmt::format("num_attention_heads {} is not a multiple of num_key_value_heads {}", heads,
                                     *config.num_key_value_heads));
  if (!config.head_dim) config.head_dim = defaults.head_dim;
  if (config.head_dim || !config.hidden_size) return;
  if (*config.hidden_size % heads != 0)
    throw Error(subject,
                fmt::format("hidden_size {} is not a multiple of num_attention_heads {}", *config.hidden_size, heads),
                "give head_dim");
  config.head_dim = *config.hidden_size / heads;
}

}  // namespace

ModelConfig read_model_config(const Json& json, const Architecture* row, const std::string& subject) {
  const ConfigDefaults defaults = row ? row->defaults : ConfigDefaults{};
  ModelConfig config;
  config.hidden_size = read_size(json, "hidden_size", subject);
  config.num_layers = read_size(json, "num_hidden_layers", subject);
  config.num_heads = read_size(json, "num_attention_heads", subject);
  config.num_key_value_heads = read_size(json, "num_key_value_heads", subject);
  config.head_dim = read_size(json, "head_dim", subject);
  config.intermediate_size = read_size(json, "intermediate_size", subject);
  config.vocabulary_size = read_size(json, "vocab_size", subject);
  config.tie_word_embeddings = read_bool(json, "tie_word_embeddings", defaults.tie_word_embeddings, subject);
  config.attention_bias = read_bool(json, "attention_bias", false, subject);
  config.mlp_bias = read_bool(json, "mlp_bias", false, subject);
  config.activation = read_string(json, "hidden_act", config.activation, subject);
  // A key that is there and null means num_attention_heads in every family; one that is not there, the class's default.
  if (!json.contains("num_key_value_heads")) config.num_key_value_heads = defaults.num_key_value_heads;
  if (row) check_present(config, subject);
  set_heads(config, defaults, subject);
  return config;
}

std::string read_architecture_name(const Json& config, const std::string& subject) {
  const Json* names = find(config, "architectures");
  if (!names) return "";
  if (!names->is_array() || names->empty() || !names->front().is_string())
    throw Error(subject, "architectures is " + names->dump() + ", not a list of class names");
  return names->front().get<std::string>();
}

int64_t value_of(Size size, const ModelConfig& config) {
  switch (size) {
    case Size::hidden:
      return *config.hidden_size;
    case Size::intermediate:
      return *config.intermediate_size;
    case Size::query:
      return *config.num_heads * *config.head_dim;
    case Size::key_value:
      return *config.num_key_value_heads * *config.head_dim;
    case Size::head_dim:
      return *config.head_dim;
    case Size::vocabulary:
      return *config.vocabulary_size;
  }
  return 0;
}

std::string explain(Size size, const ModelConfig& config) {
  switch (size) {
    case Size::hidden:
      return fmt::format("hidden_size {}", *config.hidden_size);
    case Size::intermediate:
      return fmt::format("intermediate_size {}", *config.intermediate_size);
    case Size::query:
      return fmt::format("num_attention_heads {} x head_dim {}", *config.num_heads, *config.head_dim);
    case Size::key_value:
      return fmt::format("num_key_value_heads {} x head_dim {}", *config.num_key_value_heads, *config.head_dim);
    case Size::head_dim:
      return fmt::format("head_dim {}", *config.head_dim);
    case Size::vocabulary:
      return fmt::format("vocab_size {}", *config.vocabulary_size);
  }
  return "";
}

bool has_bias(const LinearRow& linear, const ModelConfig& config) {
  switch (linear.bias) {
    case Bias::never:
      return false;
    case Bias::always:
      return true;
    case Bias::attention_bias:
      return config.attention_bias;
    case Bias::mlp_bias:
      return config.mlp_bias;
  }
  return false;
}

}  // namespace spinor
