// README.md of an output directory: what was done to the model, what can load it and how.
#pragma once

#include <string>
#include <string_view>

#include "spinor/plan/plan.h"

namespace spinor {

// The card of the output. `recipe` is recipe.yaml's text. `source_card` is the source's README.md, or empty: its front
// matter (license, languages) stays in front, its text follows after ours. Where the output runs transforms online, the
// card has Python code that loads it in transformers and applies them.
std::string model_card(const RewritePlan& plan, std::string_view recipe, std::string_view source_card);

}  // namespace spinor
