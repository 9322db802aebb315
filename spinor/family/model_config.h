// The keys of config.json that define sizes and tensors, checked.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "spinor/base/json.h"
#include "spinor/family/architecture.h"
#include "spinor/family/formula.h"

namespace spinor {

struct ModelConfig {
  std::optional<int64_t> hidden_size, num_layers, num_heads, num_key_value_heads, head_dim, intermediate_size,
      vocabulary_size;
  bool tie_word_embeddings = false;
  std::string activation = "silu";  // hidden_act
  std::string subject;              // of errors: the path of config.json
  Json keys = Json::object();       // of the file and the row's section of it, with the row's defaults
};

// Reads the keys; what is absent or null is the row's default. With a row every size is set in the result, without one
// those that the file has. Errors, with `subject` (the path of config.json): a key of the wrong type or out of range (1
// to 2^31 - 1), a missing one, sizes that contradict each other.
ModelConfig read_model_config(const Json& config, const Architecture* row, const std::string& subject);

// The keys of the tower's section, and language_hidden_size. Of the sizes only num_layers is set. Error if there is no
// such section.
ModelConfig read_tower_config(const Json& config, const Architecture& tower, int64_t language_hidden_size,
                              const std::string& subject);

// config.json "architectures"[0]; empty if there is none.
std::string read_architecture_name(const Json& config, const std::string& subject);

// The names that formulas of the row use, in a layer if there is one. Holds references to the config.
FormulaNames names_of(const ModelConfig& config, int64_t layer = -1);
// Error naming the formula and its keys if it is no size.
int64_t size_of(const std::string& formula, const ModelConfig& config, int64_t layer = -1);
// Error if it is no number, or not a positive one.
double number_of(const std::string& formula, const ModelConfig& config, int64_t layer = -1);
double positive_of(const std::string& formula, const ModelConfig& config, int64_t layer = -1);
// Error if it is no text.
std::string text_of(const std::string& formula, const ModelConfig& config);
// An empty formula is `empty`.
bool is_so(const std::string& condition, const ModelConfig& config, bool empty, int64_t layer = -1);

}  // namespace spinor
