#include "spinor/tokenizer/utf8.h"

#include <utf8proc.h>

#include <cstdint>

namespace spinor::tokenizer {
namespace {

uint8_t byte_at(std::string_view text, size_t at) {
  return static_cast<uint8_t>(text[at]);
}

// Bytes after the lead; -1: no lead.
int continuations(uint8_t lead) {
  if (lead < 0x80) return 0;
  if (lead < 0xC2) return -1;
  if (lead < 0xE0) return 1;
  if (lead < 0xF0) return 2;
  return lead < 0xF5 ? 3 : -1;
}

// The second byte rules out overlong forms, surrogates and what lies beyond U+10FFFF.
bool may_follow(uint8_t lead, uint8_t byte, size_t position) {
  if (position == 1 && lead == 0xE0) return byte >= 0xA0 && byte <= 0xBF;
  if (position == 1 && lead == 0xED) return byte >= 0x80 && byte <= 0x9F;
  if (position == 1 && lead == 0xF0) return byte >= 0x90 && byte <= 0xBF;
  if (position == 1 && lead == 0xF4) return byte >= 0x80 && byte <= 0x8F;
  return byte >= 0x80 && byte <= 0xBF;
}

}  // namespace

Character character_at(std::string_view text, size_t at) {
  const uint8_t lead = byte_at(text, at);
  const int count = continuations(lead);
  if (count < 0) return {};
  char32_t code = count == 0 ? lead : lead & (0x3F >> count);
  for (size_t i = 1; i <= static_cast<size_t>(count); ++i) {
    if (at + i == text.size()) return {kReplacementCharacter, i, Character::State::truncated};
    const uint8_t byte = byte_at(text, at + i);
    if (!may_follow(lead, byte, i)) return {kReplacementCharacter, i, Character::State::broken};
    code = (code << 6) | (byte & 0x3F);
  }
  return {code, static_cast<size_t>(count) + 1, Character::State::whole};
}

Character character_before(std::string_view text, size_t end) {
  size_t at = end - 1;
  while (at > 0 && (byte_at(text, at) & 0xC0) == 0x80) --at;
  return character_at(text.substr(0, end), at);
}

std::optional<size_t> find_invalid_utf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const Character character = character_at(text, at);
    if (character.state != Character::State::whole) return at;
    at += character.bytes;
  }
  return std::nullopt;
}

std::optional<char32_t> single_character(std::string_view text) {
  if (text.empty()) return std::nullopt;
  const Character character = character_at(text, 0);
  if (character.state != Character::State::whole || character.bytes != text.size()) return std::nullopt;
  return character.code;
}

void append_utf8(std::string& text, char32_t code) {
  utf8proc_uint8_t bytes[4];
  const auto count = utf8proc_encode_char(static_cast<utf8proc_int32_t>(code), bytes);
  text.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(count));
}

std::string repair_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const Character character = character_at(text, at);
    append_utf8(out, character.code);
    at += character.bytes;
  }
  return out;
}

bool is_white_space(char32_t code) {
  if (code <= 0x20) return code == 0x20 || (code >= 0x09 && code <= 0x0D);
  if (code < 0x1680) return code == 0x85 || code == 0xA0;
  return code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 || code == 0x202F ||
         code == 0x205F || code == 0x3000;
}

}  // namespace spinor::tokenizer
