#include "spinor/family/formula.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
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
    const bool number = std::isdigit(static_cast<unsigned char>(formula[at])) != 0;
    while (at < formula.size() && (is_word(formula[at]) || (number && formula[at] == '.'))) ++at;
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
    Json value = choice();
    if (!token_.empty()) fail(fmt::format("is not a formula: '{}' is not expected", token_));
    return value;
  }
  bool condition() { return truth(run()); }
  void read() {
    if_needed(false, [&] { return run(); });
  }

 private:
  [[noreturn]] void fail(const std::string& problem) const { throw Error(fmt::format("'{}'", formula_), problem); }

  void advance() { token_ = next_token(formula_, at_); }
  bool take(std::string_view token) {
    if (token_ != token) return false;
    advance();
    return true;
  }

  // What stands on the right of ??, || and &&, and what a condition does not choose, is read in any case, but has no
  // value, right or wrong, unless it is needed.
  template <typename Read>
  Json if_needed(bool needed, Read read) {
    unneeded_ += needed ? 0 : 1;
    Json value = read();
    unneeded_ -= needed ? 0 : 1;
    return value;
  }

  bool truth(const Json& value) const {
    if (unneeded_ > 0 || value.is_null()) return false;
    if (!value.is_boolean()) fail(fmt::format("{} is not true or false", value.dump()));
    return value.get<bool>();
  }
  int64_t integer(const Json& value) const {
    if (unneeded_ > 0) return 1;
    if (!value.is_number_integer()) fail(fmt::format("computes with {}, which is not an integer", value.dump()));
    return value.get<int64_t>();
  }

  double number(const Json& value) const {
    return value.is_number_float() ? value.get<double>() : static_cast<double>(integer(value));
  }

  Json choice() {
    Json condition = coalesce();
    if (!take("?")) return condition;
    const bool chosen = truth(condition);
    Json yes = if_needed(chosen, [&] { return choice(); });
    if (!take(":")) fail("is not a formula: ':' is missing");
    Json no = if_needed(!chosen, [&] { return choice(); });
    return chosen ? yes : no;
  }
  Json coalesce() {
    Json a = disjunction();
    while (take("??")) {
      Json b = if_needed(a.is_null(), [&] { return disjunction(); });
      if (a.is_null()) a = std::move(b);
    }
    return a;
  }
  Json disjunction() {
    Json a = conjunction();
    while (take("||")) {
      const bool known = truth(a);
      a = if_needed(!known, [&] { return truth(conjunction()) || known; });
    }
    return a;
  }
  Json conjunction() {
    Json a = comparison();
    while (take("&&")) {
      const bool known = truth(a);
      a = if_needed(known, [&] { return truth(comparison()) && known; });
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
    if (take("<=")) return number(a) <= number(sum());
    if (take(">=")) return number(a) >= number(sum());
    if (take("<")) return number(a) < number(sum());
    if (take(">")) return number(a) > number(sum());
    return a;
  }

  Json sum() {
    Json a = product();
    while (token_ == "+" || token_ == "-") {
      const char operation = token_[0];
      advance();
      a = compute(operation, a, product());
    }
    return a;
  }

  Json product() {
    Json a = unary();
    while (token_ == "*" || token_ == "/" || token_ == "%") {
      const char operation = token_[0];
      advance();
      a = compute(operation, a, unary());
    }
    return a;
  }

  // On integers exactly, unless one of the two is none.
  Json compute(char operation, const Json& a, const Json& b) const {
    const bool real = a.is_number_float() || b.is_number_float();
    if (operation == '%' || !real) return of_integers(operation, integer(a), integer(b));
    const double x = number(a), y = number(b);
    if (operation == '/' && y == 0) fail("divides by 0");
    const double result = operation == '+' ? x + y : operation == '-' ? x - y : operation == '*' ? x * y : x / y;
    if (!std::isfinite(result) && unneeded_ == 0) fail("is too large");
    return result;
  }
  int64_t of_integers(char operation, int64_t a, int64_t b) const {
    int64_t result = 0;
    const bool divides = operation == '/' || operation == '%';
    if (divides            ? b <= 0
        : operation == '+' ? __builtin_add_overflow(a, b, &result)
        : operation == '-' ? __builtin_sub_overflow(a, b, &result)
                           : __builtin_mul_overflow(a, b, &result))
      fail(divides ? fmt::format("divides by {}", b) : "is too large");
    if (operation == '%') return a % b;
    if (operation != '/') return result;
    if (a % b != 0) fail(fmt::format("divides {} by {}, which leaves a rest", a, b));
    return a / b;
  }

  Json unary() {
    if (take("!")) return !truth(unary());
    if (take("-")) return -integer(unary());
    Json value = primary();
    while (take("[")) {
      const Json index = choice();
      if (!take("]")) fail("is not a formula: ']' is missing");
      value = element(value, index);
    }
    return value;
  }

  // Keys that are layers may have leading zeros.
  static bool spells(std::string_view key, int64_t number) {
    int64_t found = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), found);
    return error == std::errc() && end == key.data() + key.size() && found == number;
  }

  Json element(const Json& value, const Json& index) const {
    if (value.is_object()) {
      for (const auto& [key, of_key] : value.items())
        if (index.is_string() ? key == index.get<std::string>() : spells(key, integer(index))) return of_key;
      return {};
    }
    if (value.is_null() && index.is_string()) return {};
    const int64_t i = integer(index);
    const bool inside = value.is_array() && i >= 0 && i < static_cast<int64_t>(value.size());
    return inside ? value[static_cast<size_t>(i)] : Json();
  }

  Json primary() {
    if (take("(")) {
      Json value = choice();
      if (!take(")")) fail("is not a formula: ')' is missing");
      return value;
    }
    const std::string_view token = token_;
    if (token.empty()) fail("is not a formula: it ends too early");
    advance();
    if (token == "true" || token == "false") return token == "true";
    if (token == "null") return {};
    if (token == "sqrt" && token_ == "(") return root(number(primary()));
    if (is_name(token)) return names_(token);
    if (token[0] == '\'' && token.size() >= 2 && token.back() == '\'') return token.substr(1, token.size() - 2);
    return literal(token);
  }

  double root(double x) const {
    if (x < 0 && unneeded_ == 0) fail(fmt::format("takes the root of {}", x));
    return std::sqrt(x);
  }

  Json literal(std::string_view token) const {
    const char *begin = token.data(), *end = begin + token.size();
    double real = 0;
    int64_t whole = 0;
    if (const auto [rest, error] = std::from_chars(begin, end, whole); error == std::errc() && rest == end)
      return whole;
    const bool digits = std::isdigit(static_cast<unsigned char>(token[0])) != 0;
    const auto [rest, error] = std::from_chars(begin, end, real, std::chars_format::fixed);
    if (!digits || error != std::errc() || rest != end)
      fail(fmt::format("is not a formula: '{}' is not expected", token));
    return real;
  }

  std::string_view formula_;
  const FormulaNames& names_;
  size_t at_ = 0;
  std::string_view token_;
  int unneeded_ = 0;
};

}  // namespace

Json evaluate(std::string_view formula, const FormulaNames& names) {
  return Parser(formula, names).run();
}

bool holds(std::string_view formula, const FormulaNames& names, bool empty) {
  return formula.empty() ? empty : Parser(formula, names).condition();
}

void check_formula(std::string_view formula) {
  const FormulaNames nothing = [](std::string_view) { return Json(); };
  Parser(formula, nothing).read();
}

bool mentions(std::string_view formula, std::string_view name) {
  size_t at = 0;
  for (std::string_view token = next_token(formula, at); !token.empty(); token = next_token(formula, at))
    if (is_name(token) && token == name) return true;
  return false;
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
