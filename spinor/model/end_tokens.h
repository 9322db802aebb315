// The tokens at which generation stops.
#pragma once

#include <cstdint>
#include <vector>

#include "spinor/model/model.h"

namespace spinor {

// eos_token_id as transformers finds it, a number or a list: that of generation_config.json; without that file that of
// config.json, or of the decoder in it (text_config) where config.json itself has none. Empty: none. Error, naming the
// file, for what is no token.
std::vector<int32_t> end_tokens(const Model& model);

}  // namespace spinor
