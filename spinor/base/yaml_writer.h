// JSON values as YAML, in the form of llm-compressor's recipes.
#pragma once

#include <string>

#include "spinor/base/json.h"

namespace spinor {

// A map in block style, its innermost lists and maps in one line. parse_yaml and Python's yaml.safe_load read it back
// as the same value. Error for infinities and nan.
std::string to_yaml(const Json& map);

}  // namespace spinor
