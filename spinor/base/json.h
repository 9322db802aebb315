// JSON with the keys in the order of the file. One reader for every document spinor trusts no further than it must.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace spinor {

using Json = nlohmann::ordered_json;

// How deep a document may be nested, JSON or YAML.
inline constexpr size_t kMaxDepth = 64;

// Parses text. Throws Error(subject, ...) with line and column for malformed text, duplicate keys (named), nesting
// deeper than 64, or NaN / Infinity.
Json parse_json(std::string_view text, std::string_view subject);

// config.json as Python writes and reads it, with bare NaN, Infinity and -Infinity, which are text to everyone here but
// python_json_text(), which writes them as they were. Else as parse_json().
Json parse_python_json(std::string_view text, std::string_view subject);
std::string python_json_text(const Json& json, int indent);

// One step of a JSON pointer (RFC 6901): "/" and the key, escaped.
std::string pointer_step(std::string_view key);

}  // namespace spinor
