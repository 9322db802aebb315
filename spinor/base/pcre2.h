// Compiled expressions of PCRE2, for those that match with it.
#pragma once

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace spinor {

// PCRE2's words for one of its errors.
std::string pcre2_reason(int error);

inline PCRE2_SPTR pcre2_pointer(std::string_view text) {
  return reinterpret_cast<PCRE2_SPTR>(text.data());
}

struct CompiledPcre2 {
  std::shared_ptr<const pcre2_code> code;  // may be used from several threads at once; null: not a regular expression
  std::string reason = {};                 // then
  size_t offset = 0;
};
// An expression in UTF-8 for texts in UTF-8, with Unicode's classes and a dot that stops at \n only; and more options.
CompiledPcre2 compile_pcre2(std::string_view expression, uint32_t more = 0);

}  // namespace spinor
