// The same result whatever version of Unicode the libraries under us know: the one of Hugging Face tokenizers 0.23.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace spinor::tokenizer {

struct CharacterRange {
  char32_t first, last;
};

// Characters newer than Unicode 14, and one that every library knows to be of the category that the peer's expressions
// give them. It has as many bytes.
struct StandIn {
  char32_t first, last, stand_in;
};
std::span<const StandIn> stand_ins();

// The text with stand-ins for its newer characters, its bytes at the same places; `text` itself if there are none.
std::string_view with_stand_ins(std::string_view text, std::string& storage);

// Characters that the peer's normalization (Unicode 9) leaves alone, and that keep their neighbours apart.
bool is_inert(char32_t code);

}  // namespace spinor::tokenizer
