#include "spinor/tokenizer/unicode_versions.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <utility>

#include "spinor/tokenizer/utf8.h"

namespace spinor::tokenizer {
namespace {

#include "spinor/tokenizer/unicode_versions.inc"

// The range of a sorted table that holds the character; null if none does.
template <class Range>
const Range* find_range(std::span<const Range> ranges, char32_t code) {
  const auto after = std::ranges::upper_bound(ranges, code, {}, &Range::first);
  if (after == ranges.begin() || std::prev(after)->last < code) return nullptr;
  return &*std::prev(after);
}

bool is_ascii(std::string_view text) {
  return std::ranges::all_of(text, [](char byte) { return static_cast<uint8_t>(byte) < 0x80; });
}

}  // namespace

std::span<const StandIn> stand_ins() {
  return kStandIns;
}

std::string_view with_stand_ins(std::string_view text, std::string& storage) {
  if (is_ascii(text)) return text;
  bool changed = false;
  for (size_t at = 0; at < text.size();) {
    const Character character = character_at(text, at);
    if (const StandIn* found = find_range<StandIn>(kStandIns, character.code)) {
      if (!std::exchange(changed, true)) storage = text;
      std::string bytes;
      append_utf8(bytes, found->stand_in);
      storage.replace(at, character.bytes, bytes);
    }
    at += character.bytes;
  }
  return changed ? std::string_view(storage) : text;
}

bool is_inert(char32_t code) {
  return find_range<CharacterRange>(kInert, code) != nullptr;
}

}  // namespace spinor::tokenizer
