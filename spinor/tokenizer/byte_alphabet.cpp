#include "spinor/tokenizer/byte_alphabet.h"

#include <array>

#include "spinor/tokenizer/utf8.h"

namespace spinor::tokenizer {
namespace {

constexpr char32_t kEnd = 256 + 68;  // 68 bytes are not printable

struct Alphabet {
  std::array<std::string, 256> characters;
  std::array<int, kEnd> bytes{};

  Alphabet() {
    bytes.fill(-1);
    char32_t next = 256;
    for (int byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
      const char32_t code = printable ? static_cast<char32_t>(byte) : next++;
      append_utf8(characters[static_cast<size_t>(byte)], code);
      bytes[code] = byte;
    }
  }
};

const Alphabet& alphabet() {
  static const Alphabet instance;
  return instance;
}

}  // namespace

void append_as_alphabet(std::string& out, std::string_view text) {
  const Alphabet& all = alphabet();
  for (const char byte : text) out += all.characters[static_cast<uint8_t>(byte)];
}

std::optional<uint8_t> byte_of_character(char32_t code) {
  if (code >= kEnd || alphabet().bytes[code] < 0) return std::nullopt;
  return static_cast<uint8_t>(alphabet().bytes[code]);
}

}  // namespace spinor::tokenizer
