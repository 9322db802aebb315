#include "spinor/tokenizer/pre_tokenizer.h"

#include <algorithm>

#include "spinor/tokenizer/byte_alphabet.h"
#include "spinor/tokenizer/typed_json.h"
#include "spinor/tokenizer/utf8.h"

namespace spinor::tokenizer {
namespace {

// GPT-2's, in Oniguruma's syntax.
constexpr std::string_view kGpt2 = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
// \w+|[^\w\s]+ of Rust, in PCRE2's syntax.
constexpr std::string_view kRustWords = R"([\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]+|)"
                                        R"([^\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}\p{White_Space}]+)";

// The punctuation of the peer's table, which is that of Unicode 8, and of ASCII: \p{P} without what came later.
constexpr std::string_view kPunctuation =
    R"((?![\x{61d}\x{9fd}\x{a76}\x{c77}\x{c84}\x{1b4e}-\x{1b4f}\x{1b7d}-\x{1b7f}\x{2e43}-\x{2e4f}\x{2e52}-\x{2e5d})"
    R"(\x{10d6e}\x{10ead}\x{10f55}-\x{10f59}\x{10f86}-\x{10f89}\x{113d4}-\x{113d5}\x{113d7}-\x{113d8})"
    R"(\x{1144b}-\x{1144f}\x{1145a}-\x{1145b}\x{1145d}\x{11660}-\x{1166c}\x{116b9}\x{1183b}\x{11944}-\x{11946})"
    R"(\x{119e2}\x{11a3f}-\x{11a46}\x{11a9a}-\x{11a9c}\x{11a9e}-\x{11aa2}\x{11b00}-\x{11b09}\x{11be1})"
    R"(\x{11c41}-\x{11c45}\x{11c70}-\x{11c71}\x{11ef7}-\x{11ef8}\x{11f43}-\x{11f4f}\x{11fff}\x{12ff1}-\x{12ff2})"
    R"(\x{16d6d}-\x{16d6f}\x{16e97}-\x{16e9a}\x{16fe2}\x{1e5ff}\x{1e95e}-\x{1e95f}]))"
    R"([\p{P}$+<=>^`|~\x{166d}\x{111c9}])";

constexpr EnumName<SplitBehavior> kBehaviors[] = {{SplitBehavior::removed, "Removed"},
                                                  {SplitBehavior::isolated, "Isolated"},
                                                  {SplitBehavior::merged_with_previous, "MergedWithPrevious"},
                                                  {SplitBehavior::merged_with_next, "MergedWithNext"},
                                                  {SplitBehavior::contiguous, "Contiguous"}};

enum class PrependScheme { first, never, always };
constexpr EnumName<PrependScheme> kSchemes[] = {
    {PrependScheme::first, "first"}, {PrependScheme::never, "never"}, {PrependScheme::always, "always"}};
std::span<const EnumName<PrependScheme>> enum_names(PrependScheme) {
  return kSchemes;
}

struct SplitFields {
  Json pattern;
  SplitBehavior behavior = SplitBehavior::isolated;
  bool invert = false;
  template <class Visitor>
  void fields(Visitor& v) {
    v("pattern", pattern, required);
    v("behavior", behavior, required);
    v("invert", invert, required);
  }
};

struct ByteLevelFields {
  bool add_prefix_space = true, trim_offsets = true, use_regex = true;  // offsets are nothing to us
  template <class Visitor>
  void fields(Visitor& v) {
    v("add_prefix_space", add_prefix_space, required);
    v("trim_offsets", trim_offsets);
    v("use_regex", use_regex);
  }
};

struct MetaspaceFields {
  std::string replacement;
  std::optional<bool> add_prefix_space, split;
  PrependScheme prepend_scheme = PrependScheme::always;
  std::optional<std::string> str_rep;
  template <class Visitor>
  void fields(Visitor& v) {
    v("replacement", replacement, required);
    v("add_prefix_space", add_prefix_space);
    v("split", split);
    v("prepend_scheme", prepend_scheme);
    v("str_rep", str_rep);
  }
};

struct DigitsFields {
  bool individual_digits = false;
  template <class Visitor>
  void fields(Visitor& v) {
    v("individual_digits", individual_digits, required);
  }
};

struct PunctuationFields {
  SplitBehavior behavior = SplitBehavior::isolated;
  template <class Visitor>
  void fields(Visitor& v) {
    v("behavior", behavior);
  }
};

struct Piece {
  Match range;
  bool matched;
};

// The whole text, cut at the ends of the matches.
std::vector<Piece> pieces_of(std::string_view text, const Regex& pattern, bool invert) {
  std::vector<Piece> pieces;
  size_t last = 0;
  for (const Match& match : pattern.find_all(text)) {
    if (match.begin != last) pieces.push_back({{last, match.begin}, invert});
    pieces.push_back({match, !invert});
    last = match.end;
  }
  if (last != text.size()) pieces.push_back({{last, text.size()}, invert});
  return pieces;
}

// Whether a piece continues the word of the one before it, in the order in which the behaviour goes through them.
bool joins(SplitBehavior behavior, bool matched, bool previous_matched) {
  if (behavior == SplitBehavior::contiguous) return matched == previous_matched;
  if (behavior == SplitBehavior::isolated || behavior == SplitBehavior::removed) return false;
  return matched && !previous_matched;
}

std::vector<Match> words_of(std::vector<Piece> pieces, SplitBehavior behavior) {
  const bool backwards = behavior == SplitBehavior::merged_with_next;
  if (backwards) std::ranges::reverse(pieces);
  std::vector<Match> words;
  bool previous = false;
  for (const auto& [range, matched] : pieces) {
    if (behavior == SplitBehavior::removed && matched) continue;
    if (joins(behavior, matched, previous) && !words.empty())
      (backwards ? words.back().begin : words.back().end) = backwards ? range.begin : range.end;
    else
      words.push_back(range);
    previous = matched;
  }
  if (backwards) std::ranges::reverse(words);
  return words;
}

}  // namespace

std::span<const EnumName<SplitBehavior>> enum_names(SplitBehavior) {
  return kBehaviors;
}

// The rows of the table of types.
struct PreTokenizerParts {
  using Step = PreTokenizer::Step;
  using Steps = std::vector<Step>;

  static void split(const Json& json, const Place& place, Steps& steps) {
    const auto fields = read_part<SplitFields>(json, place);
    steps.emplace_back(
        PreTokenizer::Split{Regex::read(fields.pattern, place.key("pattern")), fields.behavior, fields.invert});
  }
  static void byte_level(const Json& json, const Place& place, Steps& steps) {
    const auto fields = read_part<ByteLevelFields>(json, place);
    if (fields.add_prefix_space) steps.emplace_back(PreTokenizer::Prefix{" ", false});
    if (fields.use_regex)
      steps.emplace_back(PreTokenizer::Split{Regex::oniguruma(kGpt2, place), SplitBehavior::isolated, false});
    steps.emplace_back(PreTokenizer::Bytes{});
  }
  static void metaspace(const Json& json, const Place& place, Steps& steps) {
    const auto fields = read_part<MetaspaceFields>(json, place);
    if (!single_character(fields.replacement)) place.fail(place.name + ".replacement is not one character");
    const bool never = fields.add_prefix_space == false || fields.prepend_scheme == PrependScheme::never;
    if (fields.add_prefix_space == false && json.contains("prepend_scheme") &&
        fields.prepend_scheme != PrependScheme::never)
      place.fail(place.name + ".add_prefix_space contradicts its prepend_scheme");
    const bool first = fields.prepend_scheme == PrependScheme::first;
    if (!never && first && !steps.empty())
      place.fail(place.name + ": prepend_scheme 'first' is not supported after other pre-tokenizers");
    steps.emplace_back(PreTokenizer::ReplaceSpaces{fields.replacement});
    if (!never) steps.emplace_back(PreTokenizer::Prefix{fields.replacement, first});
    if (fields.split.value_or(true))
      steps.emplace_back(
          PreTokenizer::Split{Regex::literal(fields.replacement), SplitBehavior::merged_with_next, false});
  }
  static void digits(const Json& json, const Place& place, Steps& steps) {
    const bool single = read_part<DigitsFields>(json, place).individual_digits;
    steps.emplace_back(PreTokenizer::Split{Regex::pcre2("\\p{N}", place),
                                           single ? SplitBehavior::isolated : SplitBehavior::contiguous, false});
  }
  static void punctuation(const Json& json, const Place& place, Steps& steps) {
    const auto fields = read_part<PunctuationFields>(json, place);
    steps.emplace_back(
        PreTokenizer::Split{Regex::pcre2(kPunctuation, place, Regex::Newer::as_they_are), fields.behavior, false});
  }
  static void whitespace(const Json& json, const Place& place, Steps& steps) {
    read_part<NoFields>(json, place);
    steps.emplace_back(PreTokenizer::Split{Regex::pcre2(kRustWords, place), SplitBehavior::removed, true});
  }
  static void whitespace_split(const Json& json, const Place& place, Steps& steps) {
    read_part<NoFields>(json, place);
    steps.emplace_back(PreTokenizer::Split{Regex::pcre2("\\p{White_Space}", place), SplitBehavior::removed, false});
  }
  static void sequence(const Json& json, const Place& place, Steps& steps);
  static constexpr PartType<Step> kTypes[] = {{"Sequence", sequence},     {"Split", split},
                                              {"ByteLevel", byte_level},  {"Metaspace", metaspace},
                                              {"Digits", digits},         {"Punctuation", punctuation},
                                              {"Whitespace", whitespace}, {"WhitespaceSplit", whitespace_split}};
};

void PreTokenizerParts::sequence(const Json& json, const Place& place, Steps& steps) {
  read_sequence<Step>(json, "pretokenizers", kTypes, place, steps);
}

PreTokenizer PreTokenizer::read(const Json& json, const Place& place) {
  PreTokenizer pre_tokenizer;
  if (!json.is_null()) read_steps<Step>(json, PreTokenizerParts::kTypes, place, pre_tokenizer.steps_);
  return pre_tokenizer;
}

bool PreTokenizer::depends_on_position() const {
  return std::ranges::any_of(steps_, [](const Step& step) {
    const auto* prefix = std::get_if<Prefix>(&step);
    return prefix && prefix->only_at_start;
  });
}

Words PreTokenizer::apply(const Split& split, Words words) {
  std::vector<Match> ranges;
  for (const Match& range : words.ranges) {
    for (const Match& word : words_of(pieces_of(words.word(range), split.pattern, split.invert), split.behavior))
      if (word.begin != word.end) ranges.push_back({range.begin + word.begin, range.begin + word.end});
  }
  words.ranges = std::move(ranges);
  return words;
}

Words PreTokenizer::apply(const Step& step, Words words, Position position) {
  if (const auto* split = std::get_if<Split>(&step)) return apply(*split, std::move(words));
  Words out;
  out.text.reserve(words.text.size() + words.text.size() / 4);
  for (const Match& range : words.ranges) {
    const std::string_view word = words.word(range);
    const size_t begin = out.text.size();
    if (const auto* prefix = std::get_if<Prefix>(&step)) {
      const bool at_start = position == Position::start_of_text && range.begin == 0;
      if (!word.starts_with(prefix->text) && (at_start || !prefix->only_at_start)) out.text += prefix->text;
      out.text += word;
    } else if (const auto* spaces = std::get_if<ReplaceSpaces>(&step)) {
      for (const char byte : word) byte == ' ' ? out.text += spaces->by : out.text += byte;
    } else {
      append_as_alphabet(out.text, word);
    }
    out.ranges.push_back({begin, out.text.size()});
  }
  return out;
}

Words PreTokenizer::cut(std::string text, Position position) const {
  Words words{std::move(text), {}};
  if (!words.text.empty()) words.ranges.push_back({0, words.text.size()});
  for (const Step& step : steps_) words = apply(step, std::move(words), position);
  return words;
}

}  // namespace spinor::tokenizer
