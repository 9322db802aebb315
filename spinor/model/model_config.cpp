#include "spinor/model/model_config.h"

#include <fmt/format.h>

#include "spinor/base/error.h"
#include "spinor/model/config_keys.h"

namespace spinor {
namespace {

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
  const ConfigKeys keys{json, subject};
  ModelConfig config;
  config.hidden_size = keys.size("hidden_size");
  config.num_layers = keys.size("num_hidden_layers");
  config.num_heads = keys.size("num_attention_heads");
  config.num_key_value_heads = keys.size("num_key_value_heads");
  config.head_dim = keys.size("head_dim");
  config.intermediate_size = keys.size("intermediate_size");
  config.vocabulary_size = keys.size("vocab_size");
  config.tie_word_embeddings = keys.flag("tie_word_embeddings", defaults.tie_word_embeddings);
  config.attention_bias = keys.flag("attention_bias", false);
  config.mlp_bias = keys.flag("mlp_bias", false);
  config.activation = keys.text("hidden_act", config.activation);
  // A key that is there and null means num_attention_heads in every family; one that is not there, the class's default.
  if (!json.contains("num_key_value_heads")) config.num_key_value_heads = defaults.num_key_value_heads;
  if (row) check_present(config, subject);
  set_heads(config, defaults, subject);
  return config;
}

std::string read_architecture_name(const Json& config, const std::string& subject) {
  const Json* names = ConfigKeys{config, subject}.find("architectures");
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
