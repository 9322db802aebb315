// JSON with the keys in the order of the file. One reader for every document spinor trusts no further than it must.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

namespace spinor {

using Json = nlohmann::ordered_json;

// Parses text. Throws Error(subject, ...) with line and column for malformed text, duplicate keys (named), nesting
// deeper than 64, or NaN / Infinity.
Json parse_json(std::string_view text, std::string_view subject);

}  // namespace spinor
