// What Split and Replace search for: a string, or an expression in Oniguruma's syntax.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "spinor/base/fields.h"

namespace spinor::tokenizer {

struct Match {
  size_t begin, end;
};

// A value: cheap to copy, may be used from several threads at once.
class Regex {
 public:
  static Regex literal(std::string text);  // not empty
  // Error at `place` for an expression that Oniguruma and PCRE2 do not read alike.
  static Regex oniguruma(std::string_view expression, const Place& place);
  // An expression of our own, in PCRE2's syntax; newer characters are matched through their stand-ins or as they are.
  enum class Newer { stand_ins, as_they_are };
  static Regex pcre2(std::string_view expression, const Place& place, Newer newer = Newer::stand_ins);
  // {"String": "..."} or {"Regex": "..."}, as tokenizer.json has it.
  static Regex read(const Json& json, const Place& place);

  // From left to right. As in the peer, an empty match is left out where another ends. Error when matching takes
  // too long (nested repetitions). `text` is UTF-8.
  std::vector<Match> find_all(std::string_view text) const;
  // The text with every match replaced.
  std::string replace_all(std::string_view text, std::string_view by) const;
  // The literal that is searched for; empty for an expression.
  const std::string& text() const { return literal_; }

 private:
  std::vector<Match> find_literal(std::string_view text) const;
  std::vector<Match> find_expression(std::string_view text) const;

  std::string literal_;
  std::string name_;  // of the value, for messages
  Newer newer_ = Newer::stand_ins;
  std::shared_ptr<const void> code_;  // the compiled expression, shared by copies; null: a literal
};

// A "Replace" part, of a normalizer or a decoder; the pattern is what Regex::read() reads.
struct ReplaceFields {
  Json pattern;
  std::string content;
  template <class Visitor>
  void fields(Visitor& v) {
    v("pattern", pattern, required);
    v("content", content, required);
  }
};

}  // namespace spinor::tokenizer
