#include "spinor/tokenizer/regex.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "spinor/base/error.h"
#include "spinor/base/pcre2.h"
#include "spinor/tokenizer/oniguruma.h"
#include "spinor/tokenizer/unicode_versions.h"
#include "spinor/tokenizer/utf8.h"

namespace spinor::tokenizer {
namespace {

// Steps of one match. A long run of spaces takes a few each; nested repetitions take any number.
constexpr uint32_t kLeastMatchLimit = 10'000'000, kStepsPerByte = 20;
constexpr uint32_t kHeapLimit = 200'000;  // KiB
constexpr size_t kMaxLength = 20'000;

// One search after the other in one text.
class Searcher {
 public:
  Searcher(const pcre2_code* code, std::string_view text, const std::string& name)
      : code_(code),
        text_(text),
        name_(name),
        data_(pcre2_match_data_create(1, nullptr), pcre2_match_data_free),
        context_(pcre2_match_context_create(nullptr), pcre2_match_context_free) {
    if (!data_ || !context_) throw std::bad_alloc();
    const size_t steps = std::min<size_t>(kStepsPerByte * text.size(), UINT32_MAX);
    pcre2_set_match_limit(context_.get(), std::max(kLeastMatchLimit, static_cast<uint32_t>(steps)));
    pcre2_set_heap_limit(context_.get(), kHeapLimit);
  }

  // False: no more.
  bool find(size_t from, Match& match) {
    int found = search(from, PCRE2_NO_UTF_CHECK);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT) found = search(from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT);
    if (found == PCRE2_ERROR_NOMATCH) return false;
    if (found < 0)
      throw Error("tokenizer.json",
                  fmt::format("{}: cannot be matched against the text: {}", name_, pcre2_reason(found)));
    const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(data_.get());
    match = {ends[0], ends[1]};
    return true;
  }

 private:
  int search(size_t from, uint32_t options) {
    return pcre2_match(code_, pcre2_pointer(text_), text_.size(), from, options, data_.get(), context_.get());
  }

  const pcre2_code* code_;
  std::string_view text_;
  const std::string& name_;
  std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data_;
  std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)> context_;
};

std::shared_ptr<const pcre2_code> compile(std::string_view text, const Place& place) {
  if (text.size() > kMaxLength) place.fail(place.name + ": the expression is too long");
  CompiledPcre2 compiled = compile_pcre2(text);
  if (!compiled.code) place.fail(fmt::format("{}: not a regular expression: {}", place.name, compiled.reason));
  // Without it, matching is only slower.
  pcre2_jit_compile(const_cast<pcre2_code*>(compiled.code.get()), PCRE2_JIT_COMPLETE);
  return std::move(compiled.code);
}

}  // namespace

Regex Regex::literal(std::string text) {
  Regex regex;
  regex.literal_ = std::move(text);
  return regex;
}

Regex Regex::oniguruma(std::string_view expression, const Place& place) {
  return pcre2(translate_oniguruma(expression, place), place);
}

Regex Regex::pcre2(std::string_view expression, const Place& place, Newer newer) {
  Regex regex;
  regex.newer_ = newer;
  regex.name_ = place.name;
  regex.code_ = compile(expression, place);
  return regex;
}

Regex Regex::read(const Json& json, const Place& place) {
  fields_detail::expect_object(json, place);
  if (json.size() != 1) place.fail(place.name + R"( must be {"String": ...} or {"Regex": ...})");
  const std::string& kind = json.begin().key();
  std::string text;
  read_value(json.front(), text, place.key(kind));
  if (text.empty()) place.fail(place.name + " is empty");
  if (kind == "String") return literal(text);
  if (kind == "Regex") return oniguruma(text, place.key(kind));
  place.fail(fmt::format("{} is neither a String nor a Regex, but a '{}'", place.name, kind));
}

std::vector<Match> Regex::find_literal(std::string_view text) const {
  std::vector<Match> matches;
  for (size_t at = 0; (at = text.find(literal_, at)) != text.npos; at += literal_.size())
    matches.push_back({at, at + literal_.size()});
  return matches;
}

std::vector<Match> Regex::find_expression(std::string_view original) const {
  std::string storage;
  const std::string_view text = newer_ == Newer::stand_ins ? with_stand_ins(original, storage) : original;
  Searcher searcher(static_cast<const pcre2_code*>(code_.get()), text, name_);
  std::vector<Match> matches;
  Match match{};
  for (size_t from = 0; from <= text.size() && searcher.find(from, match);) {
    from = match.end;
    if (match.begin == match.end && !matches.empty() && matches.back().end == match.end) {
      from += from < text.size() ? character_at(text, from).bytes : 1;
      continue;
    }
    matches.push_back(match);
  }
  return matches;
}

std::vector<Match> Regex::find_all(std::string_view text) const {
  if (text.empty()) return {};
  return code_ ? find_expression(text) : find_literal(text);
}

std::string Regex::replace_all(std::string_view text, std::string_view by) const {
  std::string out;
  out.reserve(text.size());
  size_t last = 0;
  for (const auto [begin, end] : find_all(text)) {
    out += text.substr(last, begin - last);
    out += by;
    last = end;
  }
  return out += text.substr(last);
}

}  // namespace spinor::tokenizer
