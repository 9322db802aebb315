// The version of spinor, as written into what it makes.
#pragma once

#include <string_view>

namespace spinor {

inline constexpr std::string_view kVersion = SPINOR_VERSION;

}  // namespace spinor
