// The "pre_tokenizer" of tokenizer.json: cuts a text into words, each of which is merged on its own.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "spinor/base/fields.h"
#include "spinor/tokenizer/regex.h"

namespace spinor::tokenizer {

// What becomes of the text that matched: gone, a word of its own, a part of its neighbour, or of the run of matches.
enum class SplitBehavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };
std::span<const EnumName<SplitBehavior>> enum_names(SplitBehavior);

// Words as ranges of one text, in order.
struct Words {
  std::string text;
  std::vector<Match> ranges;

  std::string_view word(const Match& range) const {
    return std::string_view(text).substr(range.begin, range.end - range.begin);
  }
};

class PreTokenizer {
 public:
  PreTokenizer() = default;  // the text is one word
  // null, Sequence, Split, ByteLevel, Metaspace, Digits, Punctuation, Whitespace or WhitespaceSplit; Error for anything
  // else.
  static PreTokenizer read(const Json& json, const Place& place);

  enum class Position { start_of_text, later };
  // None of the words is empty.
  Words cut(std::string text, Position position) const;
  bool depends_on_position() const;

 private:
  struct Split {
    Regex pattern;
    SplitBehavior behavior;
    bool invert;
  };
  // Before every word that does not begin with it, or only before one at the start of the text.
  struct Prefix {
    std::string text;
    bool only_at_start;
  };
  struct ReplaceSpaces {
    std::string by;
  };
  struct Bytes {};

 public:
  using Step = std::variant<Split, Prefix, ReplaceSpaces, Bytes>;

 private:
  friend struct PreTokenizerParts;
  static Words apply(const Split& split, Words words);
  static Words apply(const Step& step, Words words, Position position);

  std::vector<Step> steps_;
};

}  // namespace spinor::tokenizer
