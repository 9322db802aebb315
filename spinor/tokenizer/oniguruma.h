// Expressions of tokenizer.json are Oniguruma's (in Ruby's syntax); they are matched by PCRE2.
#pragma once

#include <string>
#include <string_view>

#include "spinor/base/fields.h"

namespace spinor::tokenizer {

// The expression in PCRE2's syntax, for PCRE2_UTF | PCRE2_UCP and texts with stand-ins (see unicode_versions.h). Error
// at `place`, with the offset, for what the two read differently and for what is not known to be the same: only
// literals, classes, general categories, \s \d \w, groups without capture, look-around, repetition and (?i:...) of
// ASCII pass.
std::string translate_oniguruma(std::string_view expression, const Place& place);

}  // namespace spinor::tokenizer
