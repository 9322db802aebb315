// Keys that llm-compressor's modifiers have or had, and that ask for nothing which changes a result here. Its releases
// save them in recipe.yaml with every default (0.1 to 0.14 were read).
#pragma once

#include <string_view>

#include "spinor/base/fields.h"

namespace spinor {

// The arguments of a modifier of this name without such keys. Error at a key whose value asks for something that is not
// done here, with what to write instead; a wrong type asks, too. Other modifiers' arguments are returned as they are.
Json without_older_keys(std::string_view modifier, Json arguments, const Place& place);

}  // namespace spinor
