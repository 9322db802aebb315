// Any text is a recipe or an Error; what a recipe writes is read as the same recipe.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "spinor/base/error.h"
#include "spinor/modifier/recipe.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto recipe = spinor::Recipe::parse({reinterpret_cast<const char*>(data), size}, "recipe.yaml");
    const std::string text = recipe.yaml();
    if (spinor::Recipe::parse(text, "again").yaml() != text) std::abort();
  } catch (const spinor::Error&) {
  }
  return 0;
}
