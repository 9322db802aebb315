// YAML into Json, for recipes: what Python's yaml.safe_load reads, less what a recipe never needs.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "spinor/base/json.h"

namespace spinor {

// The line, from 1, of each value's key (of the value itself in a list), by JSON pointer: {"/stage/0": 4}. The root is
// "".
using Lines = std::map<std::string, int>;

struct Document {
  Json value;
  std::string subject;  // for messages: "recipe.yaml"
  Lines lines;
};

// Scalars resolve as safe_load does (YAML 1.1: yes and on are true, 010 is 8, 1_000 is 1000), but 1e-2 is a number
// although safe_load makes it text. Quoted scalars are text. An empty document is null. Throws Error("subject:line",
// ...) for malformed text, duplicate or non-text keys, tags other than !!str and those that llm-compressor gives its
// enums, merge keys (<<), aliases of more than 10,000 values, a second document, nesting deeper than 64, infinities,
// dates and base-60 numbers.
Document parse_yaml(std::string_view text, std::string_view subject);

}  // namespace spinor
