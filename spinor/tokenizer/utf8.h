// UTF-8, character by character.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace spinor::tokenizer {

inline constexpr char32_t kReplacementCharacter = 0xFFFD;

struct Character {
  enum class State { whole, broken, truncated };

  char32_t code = kReplacementCharacter;  // U+FFFD unless whole
  size_t bytes = 1;                       // to the next character, or to what cannot belong to this one
  State state = State::broken;            // truncated: the text ends where more bytes could follow
};

// The character at text[at], at < text.size().
Character character_at(std::string_view text, size_t at);
// The character that ends at text[end], 0 < end; text is valid.
Character character_before(std::string_view text, size_t end);
// Where the first byte lies that does not belong to a character; nothing if the text is valid.
std::optional<size_t> find_invalid_utf8(std::string_view text);
// The one character of the text; nothing if there are none, or more, or the text is invalid.
std::optional<char32_t> single_character(std::string_view text);
void append_utf8(std::string& text, char32_t code);
// Every byte sequence that is no character becomes one U+FFFD, as in the Unicode Standard's "maximal subparts".
std::string repair_utf8(std::string_view text);
// The White_Space property, the same in all versions of Unicode since 6.3.
bool is_white_space(char32_t code);

}  // namespace spinor::tokenizer
