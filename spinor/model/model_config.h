// The keys of config.json that define sizes and tensors, checked.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "spinor/base/json.h"
#include "spinor/model/architecture.h"

namespace spinor {

struct ModelConfig {
  std::optional<int64_t> hidden_size, num_layers, num_heads, num_key_value_heads, head_dim, intermediate_size,
      vocabulary_size;
  bool tie_word_embeddings = false, attention_bias = false, mlp_bias = false;
  std::string activation = "silu";  // hidden_act
};

// Reads the keys; what is absent or null is the row's default. With a row every size is set in the result, without one
// those that the file has. Errors, with `subject` (the path of config.json): a key of the wrong type or out of range (1
// to 2^31 - 1), a missing one, sizes that contradict each other.
ModelConfig read_model_config(const Json& config, const Architecture* row, const std::string& subject);

// config.json "architectures"[0]; empty if there is none.
std::string read_architecture_name(const Json& config, const std::string& subject);

// The size in numbers and its explanation in the words of config.json: 16, "num_key_value_heads 2 x head_dim 8".
int64_t value_of(Size size, const ModelConfig& config);
std::string explain(Size size, const ModelConfig& config);
bool has_bias(const LinearRow& linear, const ModelConfig& config);

}  // namespace spinor
