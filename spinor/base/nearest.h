// "did you mean ...?": the known name nearest to one we do not know.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace spinor {

// The name at the smallest edit distance (insert, delete, replace, swap neighbours; case is free), the first of equals.
// Empty if none is near: more than a third of the letters would have to change.
std::string_view nearest_name(std::string_view unknown, std::span<const std::string_view> names);

// The hint of an Error about an unknown name: "did you mean 'rotations'?", or, with nothing near, "known: a, b, c".
std::string suggest_name(std::string_view unknown, std::span<const std::string_view> names);

}  // namespace spinor
