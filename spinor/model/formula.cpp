#include "spinor/model/formula.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include "spinor/base/error.h"

namespace spinor {
namespace {

bool is_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
}

// The next token from `at` on, without the blanks before it; empty at the end. Text keeps its quotes.
std::string_view next_token(std::string_view formula, size_t& at) {
  while (at < formula.size() && formula[at] == ' ') ++at;
  const size_t begin = at;
  if (at == formula.size()) return {};
  if (is_word(formula[at])) {
    while (at < formula.size() && is_word(formula[at])) ++at;
  } else if (formula[at] == '\'') {
    at = std::min(formula.size(), formula.find('\'', at + 1));
    at = std::min(formula.size(), at + 1);
  } else {
    static constexpr std::array<std::string_view, 7> kLong = {"==", "!=", "<=", ">=", "&&", "||", "??"};
    const bool two = std::ranges::find(kLong, formula.substr(at, 2)) != kLong.end();
    at += two ? 2 : 1;
  }
  return formula.substr(begin, at - begin);
}

bool is_name(std::string_view token) {
  return !token.empty() && is_word(token[0]) && std::isdigit(static_cast<unsigned char>(token[0])) == 0 &&
         token != "true" && token != "false" && token != "null" && token != "in";
}

class Parser {
 public:
  Parser(std::string_view formula, const FormulaNames& names) : formula_(formula), names_(names) { advance(); }

  Json run() {
    Json value = coalesce();
    if (!token_.empty()) fail(fmt::format("is not a formula: '{}' is not expected", token_));
    return value;
  }
  bool condition() { return truth(run()); }

 private:
  [[noreturn]] void fail(const std::string& problem) const { throw Error(fmt::format("'{}'", formula_), problem); }

  void advance() { token_ = next_token(formula_, at_); }
  bool take(std::string_view token) {
    if (token_ != token) return false;
    advance();
    return true;
  }

  bool truth(const Json& value) const {
    if (value.is_null()) return false;
    if (!value.is_boolean()) fail(fmt::format("{} is not true or false", value.dump()));
    return value.get<bool>();
  }
  int64_t integer(const Json& value) const {
    if (!value.is_number_integer()) fail(fmt::format("computes with {}, which is not an integer", value.dump()));
    return value.get<int64_t>();
  }

  Json coalesce() {
    Json a = disjunction();
    while (take("??")) {
      Json b = disjunction();
      if (a.is_null()) a = std::move(b);
    }
    return a;
  }
  // Both sides are evaluated: a formula has no effects, and a wrong one is found wherever it stands.
  Json disjunction() {
    Json a = conjunction();
    while (take("||")) {
      const bool b = truth(conjunction());
      a = truth(a) || b;
    }
    return a;
  }
  Json conjunction() {
    Json a = comparison();
    while (take("&&")) {
      const bool b = truth(comparison());
      a = truth(a) && b;
    }
    return a;
  }

  Json comparison() {
    const Json a = sum();
    if (take("==")) return a == sum();
    if (take("!=")) return a != sum();
    if (take("in")) {
      const Json list = sum();
      return list.is_array() && std::ranges::find(list, a) != list.end();
    }
    if (take("<=")) return integer(a) <= integer(sum());
    if (take(">=")) return integer(a) >= integer(sum());
    if (take("<")) return integer(a) < integer(sum());
    if (take(">")) return integer(a) > integer(sum());
    return a;
  }

  Json sum() {
    Json a = product();
    for (;;) {
      int64_t result = 0;
      if (take("+")) {
        if (__builtin_add_overflow(integer(a), integer(product()), &result)) fail("is too large");
      } else if (take("-")) {
        if (__builtin_sub_overflow(integer(a), integer(product()), &result)) fail("is too large");
      } else {
        return a;
      }
      a = result;
    }
  }

  Json product() {
    Json a = unary();
    for (;;) {
      int64_t result = 0;
      if (take("*")) {
        if (__builtin_mul_overflow(integer(a), integer(unary()), &result)) fail("is too large");
      } else if (token_ == "/" || token_ == "%") {
        const bool rest = token_ == "%";
        advance();
        result = divide(integer(a), integer(unary()), rest);
      } else {
        return a;
      }
      a = result;
    }
  }

  int64_t divide(int64_t a, int64_t b, bool rest) const {
    if (b <= 0) fail(fmt::format("divides by {}", b));
    if (rest) return a % b;
    if (a % b != 0) fail(fmt::format("divides {} by {}, which leaves a rest", a, b));
    return a / b;
  }

  Json unary() {
    if (take("!")) return !truth(unary());
    if (take("-")) return -integer(unary());
    Json value = primary();
    while (take("[")) {
      const int64_t index = integer(coalesce());
      if (!take("]")) fail("is not a formula: ']' is missing");
      const bool inside = value.is_array() && index >= 0 && index < static_cast<int64_t>(value.size());
      value = inside ? Json(value[static_cast<size_t>(index)]) : Json();
    }
    return value;
  }

  Json primary() {
    if (take("(")) {
      Json value = coalesce();
      if (!take(")")) fail("is not a formula: ')' is missing");
      return value;
    }
    const std::string_view token = token_;
    if (token.empty()) fail("is not a formula: it ends too early");
    advance();
    if (token == "true" || token == "false") return token == "true";
    if (token == "null") return {};
    if (is_name(token)) return names_(token);
    if (token[0] == '\'' && token.size() >= 2 && token.back() == '\'') return token.substr(1, token.size() - 2);
    const bool number = std::ranges::all_of(token, [](unsigned char c) { return std::isdigit(c) != 0; });
    if (!number || token.size() > 18) fail(fmt::format("is not a formula: '{}' is not expected", token));
    return std::stoll(std::string(token));
  }

  std::string_view formula_;
  const FormulaNames& names_;
  size_t at_ = 0;
  std::string_view token_;
};

}  // namespace

Json evaluate(std::string_view formula, const FormulaNames& names) {
  return Parser(formula, names).run();
}

bool holds(std::string_view formula, const FormulaNames& names, bool empty) {
  return formula.empty() ? empty : Parser(formula, names).condition();
}

std::string explain(std::string_view formula, const FormulaNames& names) {
  std::string text;
  size_t at = 0;
  for (std::string_view token = next_token(formula, at); !token.empty(); token = next_token(formula, at)) {
    const bool tight = text.empty() || text.ends_with('(') || token == ")" || token == "[" || text.ends_with('[');
    if (!tight) text += ' ';
    text += token == "*" ? "x" : token;
    if (const Json value = is_name(token) ? names(token) : Json(); !value.is_null() && !value.is_structured())
      text += " " + value.dump();
  }
  return text;
}

}  // namespace spinor
