// The alphabet of byte-level BPE: each byte is written as one printable character, 'A' as 'A', a space as 'Ġ'.
// encoder.py of GPT-2.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace spinor::tokenizer {

// Each byte of the text as its character.
void append_as_alphabet(std::string& out, std::string_view text);
// The byte that is written as this character; nothing for the others.
std::optional<uint8_t> byte_of_character(char32_t code);

}  // namespace spinor::tokenizer
