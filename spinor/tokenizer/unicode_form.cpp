#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>

#include "spinor/base/error.h"
#include "spinor/tokenizer/normalizer.h"
#include "spinor/tokenizer/unicode_versions.h"
#include "spinor/tokenizer/utf8.h"

namespace spinor::tokenizer {
namespace {

utf8proc_option_t options(UnicodeForm form) {
  const bool composed = form == UnicodeForm::nfc || form == UnicodeForm::nfkc;
  const bool compatible = form == UnicodeForm::nfkc || form == UnicodeForm::nfkd;
  return static_cast<utf8proc_option_t>(UTF8PROC_STABLE | (composed ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE) |
                                        (compatible ? UTF8PROC_COMPAT : 0));
}

void append_normalized(std::string& out, std::string_view text, UnicodeForm form) {
  if (std::ranges::all_of(text, [](char byte) { return static_cast<uint8_t>(byte) < 0x80; })) {
    out += text;
    return;
  }
  utf8proc_uint8_t* result = nullptr;
  const auto length = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                   static_cast<utf8proc_ssize_t>(text.size()), &result, options(form));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(result, std::free);
  if (length < 0) throw Error("text", fmt::format("cannot be normalized: {}", utf8proc_errmsg(length)));
  out.append(reinterpret_cast<const char*>(result), static_cast<size_t>(length));
}

// A line feed neither combines nor composes, and the memory of utf8proc is many times that of its text.
bool ends_piece(char32_t code) {
  return code == '\n' || is_inert(code);
}

}  // namespace

std::string normalize_unicode(std::string_view text, UnicodeForm form) {
  std::string out;
  out.reserve(text.size());
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const Character character = character_at(text, at);
    if (ends_piece(character.code)) {
      append_normalized(out, text.substr(begin, at - begin), form);
      out += text.substr(at, character.bytes);
      begin = at + character.bytes;
    }
    at += character.bytes;
  }
  append_normalized(out, text.substr(begin), form);
  return out;
}

}  // namespace spinor::tokenizer
