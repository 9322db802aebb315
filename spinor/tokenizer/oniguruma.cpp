#include "spinor/tokenizer/oniguruma.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <optional>
#include <vector>

#include "spinor/tokenizer/unicode_versions.h"
#include "spinor/tokenizer/utf8.h"

namespace spinor::tokenizer {
namespace {

constexpr std::string_view kCategories[] = {"L",  "Lu", "Ll", "Lt", "Lm", "Lo", "M",  "Mn", "Mc", "Me", "N",  "Nd",
                                            "Nl", "No", "P",  "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "S",  "Sm",
                                            "Sc", "Sk", "So", "Z",  "Zs", "Zl", "Zp", "C",  "Cc", "Cf", "Co", "Cn"};
// Two or three letters that case folding makes of one: ß matches (?i:ss) in Oniguruma, but not in PCRE2.
constexpr std::string_view kFolded[] = {"ss", "ff", "fi", "fl", "st"};
// PCRE2's \w lacks marks, its \s has U+180E. The last six are numbers that Oniguruma takes for word characters.
constexpr std::string_view kWord = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}";
constexpr std::string_view kSpace = "\\p{White_Space}", kNoSpace = "\\P{White_Space}";

class Translator {
 public:
  Translator(std::string_view text, const Place& place) : text_(text), place_(place) {}

  std::string run() {
    if (const auto invalid = find_invalid_utf8(text_)) at_ = *invalid, fail("is not UTF-8");
    while (at_ < text_.size()) step();
    if (!groups_.empty()) fail("ends inside a group");
    return std::move(out_);
  }

 private:
  [[noreturn]] void fail(std::string_view problem) const {
    place_.fail(fmt::format("{}: the expression {} at offset {}", place_.name, problem, at_),
                "only what Oniguruma and PCRE2 read alike is supported");
  }
  std::string_view rest() const { return text_.substr(at_); }
  bool caseless() const { return !groups_.empty() && groups_.back(); }
  void copy(size_t n) {
    out_ += text_.substr(at_, n);
    at_ += n;
  }
  void replace(size_t n, std::string_view by) {
    out_ += by;
    at_ += n;
  }

  void step() {
    const char c = text_[at_];
    if (c == '\\') return escape();
    if (c == '[') return character_class();
    if (c == '(') return open();
    if (c == ')') return close();
    if (c == '{') return interval();
    if (c == '^' || c == '$') fail("has a line anchor");
    if (std::string_view("|.*+?").find(c) != std::string_view::npos) return copy(1);
    literal();
  }

  void open() {
    for (const std::string_view same : {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>"})
      if (rest().starts_with(same)) return groups_.push_back(caseless()), copy(same.size());
    if (rest().starts_with("(?i:")) return groups_.push_back(true), copy(4);
    if (rest().starts_with("(?") || rest().starts_with("(*")) fail("has an unknown extension");
    groups_.push_back(caseless());
    replace(1, "(?:");  // nothing refers to what it captures
  }

  void close() {
    if (groups_.empty()) fail("has an unmatched )");
    groups_.pop_back();
    copy(1);
  }

  // "{3}+" is possessive for PCRE2, and a repetition of a repetition for Ruby; "{,3}" is text for old PCRE2.
  void interval() {
    const size_t end = rest().find('}');
    const std::string_view inside = rest().substr(1, end == std::string_view::npos ? 0 : end - 1);
    const auto allowed = [](char c) { return std::isdigit(static_cast<unsigned char>(c)) || c == ','; };
    if (inside.empty() || inside.front() == ',' || !std::ranges::all_of(inside, allowed)) fail("has an unescaped {");
    if (rest().substr(end + 1).starts_with('+')) fail("repeats an interval");
    copy(end + 1);
  }

  void literal() {
    const Character character = character_at(text_, at_);
    check_literal(character.code);
    check_folding(character.code);
    copy(character.bytes);
  }

  void check_literal(char32_t code) const {
    for (const StandIn& range : stand_ins())
      if (code >= range.first && code <= range.last) fail("has a character newer than Unicode 14");
  }
  void check_folding(char32_t code) const {
    if (!caseless()) return;
    if (code >= 0x80) fail("has a letter beyond ASCII where case is ignored");
    const auto lower = [&](size_t i) { return static_cast<char>(std::tolower(static_cast<unsigned char>(rest()[i]))); };
    for (const std::string_view folded : kFolded)
      if (rest().size() >= 2 && lower(0) == folded[0] && lower(1) == folded[1])
        fail(fmt::format("has '{}' where case is ignored", folded));
  }

  // The code of an escape that is one character: \n, \x2d, \u00e9, \. and the like.
  std::optional<char32_t> escaped_character() {
    const char c = rest()[1];
    constexpr std::string_view letters = "abefnrtv", codes = "\a\b\x1b\f\n\r\t\v";
    if (c == 'x' || c == 'u') return hexadecimal(c == 'x' ? 2 : 4);
    if (const size_t i = letters.find(c); i != letters.npos && (c != 'b')) return at_ += 2, codes[i];
    if (!std::ispunct(static_cast<unsigned char>(c)) && c != ' ') return std::nullopt;
    at_ += 2;
    return c;
  }

  char32_t hexadecimal(size_t digits) {
    std::string_view number = rest().substr(2, digits);
    size_t length = 2 + digits;
    if (number.starts_with('{')) {
      const size_t end = rest().find('}');
      if (digits != 2 || end == std::string_view::npos || end > 3 + 8) fail("has a broken escape");
      number = rest().substr(3, end - 3);
      length = end + 1;
    } else if (number.size() < digits) {
      fail("has a broken escape");
    }
    char32_t code = 0;
    for (const char c : number) {
      if (!std::isxdigit(static_cast<unsigned char>(c))) fail("has a broken escape");
      const int lower = std::tolower(static_cast<unsigned char>(c));
      code = code << 4 | static_cast<char32_t>(lower >= 'a' ? lower - 'a' + 10 : lower - '0');
      if (code > 0x10FFFF) fail("has a broken escape");
    }
    const bool raw_byte = length == 4 && code >= 0x80;
    if (number.empty() || raw_byte || (code >= 0xD800 && code < 0xE000)) fail("has an escape that is no character");
    check_literal(code);
    at_ += length;
    return code;
  }

  void escape() {
    if (rest().size() < 2) fail("ends with a backslash");
    const char c = rest()[1];
    if (c == 'p' || c == 'P') return category();
    if (c == 's') return replace(2, kSpace);
    if (c == 'S') return replace(2, kNoSpace);
    if (c == 'd' || c == 'D' || c == 'A' || c == 'z') return copy(2);
    if (c == 'w') return replace(2, fmt::format("[{}]", kWord));
    if (c == 'W') return replace(2, fmt::format("[^{}]", kWord));
    const auto code = escaped_character();
    if (!code) fail(fmt::format("has the escape \\{}", c));
    if (caseless() && *code >= 0x80) fail("has a letter beyond ASCII where case is ignored");
    out_ += fmt::format("\\x{{{:x}}}", static_cast<uint32_t>(*code));
  }

  void category() {
    const size_t end = rest().find('}');
    if (!rest().substr(2).starts_with('{') || end == std::string_view::npos) fail("has a broken category");
    const std::string_view name = rest().substr(3, end - 3);
    if (std::ranges::find(kCategories, name) == std::end(kCategories))
      fail(fmt::format("has the property '{}', not a general category,", name));
    if (caseless() && (name == "Lu" || name == "Ll" || name == "Lt")) fail("has a case where case is ignored");
    copy(end + 1);
  }

  void character_class() {
    copy(rest().starts_with("[^") ? 2 : 1);
    if (rest().starts_with(']')) fail("has an empty class");
    while (!rest().starts_with(']')) {
      if (rest().empty()) fail("ends inside a class");
      if (rest().starts_with('[')) fail("has a class in a class");
      if (rest().starts_with("&&")) fail("has an intersection of classes");
      member();
    }
    copy(1);
  }

  void member() {
    if (rest().starts_with('\\') && class_escape()) {
      if (rest().starts_with('-') && !rest().starts_with("-]")) fail("has a range from a class");
      return;
    }
    const char32_t first = class_character();
    out_ += fmt::format("\\x{{{:x}}}", static_cast<uint32_t>(first));
    if (!rest().starts_with('-') || rest().starts_with("-]")) return;
    copy(1);
    if (rest().empty() || rest().starts_with('[')) fail("has a range to a class");
    const char32_t last = class_character();
    if (last < first) fail("has a range that is empty");
    for (const StandIn& range : stand_ins())
      if (range.first <= last && range.last >= first) fail("has a range with characters newer than Unicode 14");
    out_ += fmt::format("\\x{{{:x}}}", static_cast<uint32_t>(last));
  }

  bool class_escape() {
    if (rest().size() < 2) fail("ends with a backslash");
    const char c = rest()[1];
    if (c == 'p' || c == 'P') return category(), true;
    if (c == 's') return replace(2, kSpace), true;
    if (c == 'S') return replace(2, kNoSpace), true;
    if (c == 'd' || c == 'D') return copy(2), true;
    if (c == 'w') return replace(2, kWord), true;
    return false;
  }

  char32_t class_character() {
    char32_t code = 0;
    if (rest().starts_with('\\')) {
      if (rest().size() < 2) fail("ends with a backslash");
      const char c = rest()[1];
      const auto escaped = escaped_character();
      if (!escaped) fail(fmt::format("has the escape \\{} in a class", c));
      code = *escaped;
    } else {
      const Character character = character_at(text_, at_);
      code = character.code;
      check_literal(code);
      at_ += character.bytes;
    }
    if (caseless() && code >= 0x80) fail("has a letter beyond ASCII where case is ignored");
    return code;
  }

  std::string_view text_;
  const Place& place_;
  size_t at_ = 0;
  std::vector<bool> groups_;  // those that are open; whether case is ignored
  std::string out_;
};

}  // namespace

std::string translate_oniguruma(std::string_view expression, const Place& place) {
  return Translator(expression, place).run();
}

}  // namespace spinor::tokenizer
