#include "spinor/tokenizer/added_tokens.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <ranges>

#include "spinor/tokenizer/utf8.h"

namespace spinor::tokenizer {
namespace {

// \w of Rust's regular expressions.
bool is_word_character(char32_t code) {
  static const Regex kWord =
      Regex::pcre2(R"([\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}])", {"single_word", "tokenizer.json"});
  std::string text;
  append_utf8(text, code);
  return !kWord.find_all(text).empty();
}

bool stands_alone(std::string_view text, const Match& range) {
  const bool left = range.begin == 0 || !is_word_character(character_before(text, range.begin).code);
  const bool right = range.end == text.size() || !is_word_character(character_at(text, range.end).code);
  return left && right;
}

// The range with the white space that its token takes along; never back beyond `from`.
Match widen(std::string_view text, Match range, const AddedToken& token, size_t from) {
  if (token.lstrip) {
    while (range.begin > 0) {
      const Character before = character_before(text, range.begin);
      if (!is_white_space(before.code)) break;
      range.begin -= before.bytes;
    }
    range.begin = std::max(range.begin, from);
  }
  while (token.rstrip && range.end < text.size() && is_white_space(character_at(text, range.end).code))
    range.end += character_at(text, range.end).bytes;
  return range;
}

}  // namespace

void StringFinder::finish(const Place& place) {
  std::ranges::sort(strings_, {}, &String::text);
  const auto twice = std::ranges::adjacent_find(strings_, {}, &String::text);
  if (twice != strings_.end())
    place.fail(fmt::format("{}: two tokens are '{}' in normalized text", place.name, twice->text));
  for (const String& string : strings_) {
    if (string.text.empty()) place.fail(place.name + ": a token is empty in normalized text");
    starts_[static_cast<uint8_t>(string.text[0])] = true;
  }
}

// Among the sorted strings, those that share the first n bytes of the text are a range, which narrows as n grows.
const StringFinder::String* StringFinder::longest_at(std::string_view text) const {
  const String* longest = nullptr;
  auto first = strings_.begin(), last = strings_.end();
  for (size_t n = 0; first != last && n < text.size(); ++n) {
    const auto byte = [n](const String& string) {
      return n < string.text.size() ? static_cast<uint8_t>(string.text[n]) : -1;
    };
    const auto same = std::ranges::equal_range(first, last, static_cast<uint8_t>(text[n]), {}, byte);
    first = same.begin(), last = same.end();
    if (first != last && first->text.size() == n + 1) longest = &*first;
  }
  return longest;
}

std::vector<StringFinder::Found> StringFinder::find_all(std::string_view text) const {
  std::vector<Found> found;
  for (size_t at = 0; at < text.size();) {
    const String* string = starts_[static_cast<uint8_t>(text[at])] ? longest_at(text.substr(at)) : nullptr;
    if (string) found.push_back({{at, at + string->text.size()}, string->value});
    at += string ? string->text.size() : 1;
  }
  return found;
}

AddedTokens AddedTokens::read(const Json& json, const BpeModel& model, const Normalizer& normalizer,
                              const Place& place) {
  AddedTokens added;
  std::vector<AddedToken> tokens;
  if (!json.is_null()) fields_detail::read_any(json, tokens, place);
  for (size_t i = 0; i < tokens.size(); ++i) added.add(std::move(tokens[i]), model, normalizer, place.item(i));
  added.raw_.finish(place);
  added.normalized_.finish(place);
  return added;
}

// The peer gives a token the id that the model's vocabulary has for it, or else the next free one, whatever the file
// says.
void AddedTokens::add(AddedToken token, const BpeModel& model, const Normalizer& normalizer, const Place& place) {
  if (token.content.empty()) place.fail(place.name + " is empty");
  const auto known = model.id_of(token.content);
  const int64_t expected = known ? *known : model.vocabulary_size() + outside_++;
  if (token.id != expected)
    place.fail(
        fmt::format("{}: '{}' has the id {}, but would be loaded as {}", place.name, token.content, token.id, expected),
        "save the tokenizer with the library that made it");
  if (expected >= std::numeric_limits<int32_t>::max()) place.fail(place.name + ".id is too large");
  const auto id = static_cast<int32_t>(expected);
  if (!known && model.token_of(id)) place.fail(fmt::format("{}: the id {} is taken by another token", place.name, id));
  if (!ids_.emplace(token.content, id).second)
    place.fail(fmt::format("{}: '{}' is listed twice", place.name, token.content));
  std::string text = token.normalized ? normalizer.apply(token.content) : token.content;
  (token.normalized ? normalized_ : raw_).add(text, id);
  if (token.special) specials_.insert(token.content);
  largest_id_ = std::max(largest_id_, id);
  tokens_.emplace(id, Known{std::move(token), std::move(text)});
}

std::vector<AddedTokens::Stretch> AddedTokens::cut(std::string_view text, Stage stage) const {
  std::vector<Stretch> stretches;
  size_t from = 0;
  for (const auto& [match, id] : (stage == Stage::raw ? raw_ : normalized_).find_all(text)) {
    const AddedToken& token = tokens_.at(id).token;
    if (token.single_word && !stands_alone(text, match)) continue;
    const Match range = widen(text, match, token, from);
    if (from < range.begin) stretches.push_back({{from, range.begin}, -1});
    stretches.push_back({range, id});
    from = range.end;
  }
  if (from < text.size()) stretches.push_back({{from, text.size()}, -1});
  return stretches;
}

std::vector<int32_t> AddedTokens::ids() const {
  const auto ids = std::views::keys(tokens_);
  return {ids.begin(), ids.end()};
}

const std::string* AddedTokens::text_of(int32_t id) const {
  const auto found = tokens_.find(id);
  return found == tokens_.end() ? nullptr : &found->second.text;
}

const std::string* AddedTokens::content_of(int32_t id) const {
  const auto found = tokens_.find(id);
  return found == tokens_.end() ? nullptr : &found->second.token.content;
}

std::optional<int32_t> AddedTokens::id_of(std::string_view content) const {
  const auto found = ids_.find(content);
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace spinor::tokenizer
