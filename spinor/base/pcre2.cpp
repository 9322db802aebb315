#include "spinor/base/pcre2.h"

#include <array>

namespace spinor {

std::string pcre2_reason(int error) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(error, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

CompiledPcre2 compile_pcre2(std::string_view expression, uint32_t more) {
  const std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
      pcre2_compile_context_create(nullptr), pcre2_compile_context_free);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  size_t offset = 0;
  pcre2_code* code =
      pcre2_compile(pcre2_pointer(expression), expression.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C | more, &error, &offset, context.get());
  if (!code) return {nullptr, pcre2_reason(error), offset};
  return {{code, [](const pcre2_code* p) { pcre2_code_free(const_cast<pcre2_code*>(p)); }}};
}

}  // namespace spinor
