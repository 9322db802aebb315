// Where two config.json say that a model computes something else.
#pragma once

#include <string>
#include <vector>

#include "spinor/base/json.h"
#include "spinor/model/model.h"

namespace spinor {

struct ConfigDifference {
  std::string key;      // "rms_norm_eps", "text_config.rope_theta"
  Json source, output;  // its values; null: it is not there
};

// The keys whose values make the function of `output` another than that of `source`, weights apart.
//
// Of a family that spinor runs, what both files say of the forward pass is read as it is for running them, and where
// that differs, the keys are found by giving them the source's value one at a time: a key under an older name, or one
// that this family does not use, is no difference. Of any other, and of the towers of a multimodal one, every key
// counts but those that are known to change nothing (dtypes, dropout, the cache, quantization_config), or that a
// rotation itself changes (a head untied, layers for multi-token prediction left out). Class and model_type always
// count: they say which code runs.
std::vector<ConfigDifference> config_differences(const Model& source, const Model& output);

}  // namespace spinor
