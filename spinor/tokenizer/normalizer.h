// The "normalizer" of tokenizer.json: what is done to a text before it is cut.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "spinor/base/fields.h"
#include "spinor/tokenizer/regex.h"

namespace spinor::tokenizer {

enum class UnicodeForm { nfc, nfd, nfkc, nfkd };

// The text in a Unicode normalization form, by utf8proc, with the characters that Unicode 9 knew.
std::string normalize_unicode(std::string_view text, UnicodeForm form);

class Normalizer {
 public:
  Normalizer() = default;  // leaves the text as it is
  // null, Sequence, NFC, NFD, NFKC, NFKD, Prepend, Replace, Strip or ByteLevel; Error for anything else.
  static Normalizer read(const Json& json, const Place& place);

  std::string apply(std::string text) const;
  // Whether the peer would still call the first character of the result the first one of the text.
  bool keeps_start() const;

 private:
  struct Prepend {
    std::string text;
  };
  struct Replace {
    Regex pattern;
    std::string content;
  };
  struct Strip {
    bool left, right;
  };
  struct Bytes {};

 public:
  using Step = std::variant<UnicodeForm, Prepend, Replace, Strip, Bytes>;

 private:
  friend struct NormalizerParts;

  std::vector<Step> steps_;
};

}  // namespace spinor::tokenizer
