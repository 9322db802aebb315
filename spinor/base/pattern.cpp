#include "spinor/base/pattern.h"

#include <cctype>
#include <utility>

#include "spinor/base/error.h"
#include "spinor/base/pcre2.h"

namespace spinor {
namespace {

// About 0.1 s of backtracking at most; the expressions in use need a few hundred steps.
constexpr uint32_t kMatchLimit = 1'000'000;
constexpr uint32_t kHeapLimit = 20'000;  // KiB
constexpr size_t kMaxLength = 10'000;

// Rewrites what PCRE2 reads differently from Python's re, and refuses what only PCRE2 knows, so that one target
// selects the same modules here and in Python.
class Translator {
 public:
  Translator(const std::string& target, std::string_view expression) : target_(target), text_(expression) {}

  std::string run() {
    while (at_ < text_.size()) step();
    return std::move(out_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(target_, "not a regular expression of Python: " + what + " at offset " + std::to_string(at_));
  }
  std::string_view rest() const { return text_.substr(at_); }
  void copy(size_t n) {
    out_ += text_.substr(at_, n);
    at_ += n;
  }
  void replace(size_t n, std::string_view by) {
    out_ += by;
    at_ += n;
  }

  void step() {
    if (rest().starts_with('\\')) return escape();
    if (in_class_) return class_member();
    if (rest().starts_with('[')) return open_class();
    if (rest().starts_with("(*")) fail("nothing to repeat");
    if (rest().starts_with("(?")) return extension();
    if (rest().starts_with("{,")) return upper_bound();
    copy(1);
  }

  void open_class() {
    in_class_ = true;
    copy(rest().starts_with("[^") ? 2 : 1);
    if (rest().starts_with(']')) copy(1);  // first, it is a member
  }

  void class_member() {
    if (rest().starts_with('[')) return replace(1, "\\[");  // else "[:" opens a POSIX class
    if (rest().starts_with(']')) in_class_ = false;
    copy(1);
  }

  // Python's {,n} is {0,n}; PCRE2 before 10.43 takes it as text.
  void upper_bound() {
    const size_t end = text_.find_first_not_of("0123456789", at_ + 2);
    if (end != std::string_view::npos && text_[end] == '}') return replace(2, "{0,");
    copy(2);
  }

  void extension() {
    const std::string_view after = rest().substr(2);
    for (const std::string_view same : {":", "P<", "P=", "#", "=", "!", "<=", "<!", "(", ">"})
      if (after.starts_with(same)) return same == "#" ? comment() : copy(2 + same.size());
    const size_t end = after.find_first_not_of("ims-");
    const bool flags = end != 0 && end != std::string_view::npos;
    if (!flags || (after[end] != ':' && after[end] != ')'))
      fail("unknown extension '(?" + std::string(after.substr(0, 1)) + "'");
    if (after[end] == ')' && at_ != 0) fail("global flags not at the start of the expression");
    copy(2 + end);
  }

  void comment() {
    const size_t end = text_.find(')', at_);
    if (end == std::string_view::npos) fail("missing ), unterminated comment");
    at_ = end + 1;
  }

  void escape() {
    if (rest().size() < 2) fail("bad escape (end of pattern)");
    const char c = text_[at_ + 1];
    if (c == 'v') return replace(2, "\\x0b");              // PCRE2: any vertical space
    if (c == 'Z' && !in_class_) return replace(2, "\\z");  // PCRE2: also before a final newline
    if (c == 'x') return hexadecimal(2);
    if (c == 'u') return hexadecimal(4);
    if (c == 'U') return hexadecimal(8);
    const std::string_view letters = in_class_ ? "bdDsSwWafnrt" : "AbBdDsSwWafnrt";
    if (std::isalpha(static_cast<unsigned char>(c)) && letters.find(c) == std::string_view::npos)
      fail(std::string("bad escape \\") + c);
    copy(2);
  }

  void hexadecimal(size_t digits) {
    const std::string_view number = rest().substr(2, digits);
    if (number.size() < digits || number.find_first_not_of("0123456789abcdefABCDEF") != std::string_view::npos)
      fail("incomplete escape " + std::string(rest().substr(0, 2)));
    replace(2 + digits, "\\x{" + std::string(number) + "}");
  }

  const std::string& target_;
  std::string_view text_;
  size_t at_ = 0;
  bool in_class_ = false;
  std::string out_;
};

std::shared_ptr<const pcre2_code> compile(const std::string& target, std::string_view expression) {
  if (expression.size() > kMaxLength) throw Error(target.substr(0, 60) + "...", "the expression is too long");
  CompiledPcre2 compiled = compile_pcre2(Translator(target, expression).run(), PCRE2_ANCHORED);
  if (!compiled.code)
    throw Error(target,
                "not a regular expression: " + compiled.reason + " at offset " + std::to_string(compiled.offset));
  return std::move(compiled.code);
}

bool match(const pcre2_code* code, const std::string& target, std::string_view name) {
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data(pcre2_match_data_create(1, nullptr),
                                                                                 pcre2_match_data_free);
  const std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)> context(
      pcre2_match_context_create(nullptr), pcre2_match_context_free);
  pcre2_set_match_limit(context.get(), kMatchLimit);
  pcre2_set_heap_limit(context.get(), kHeapLimit);
  const int found = pcre2_match(code, pcre2_pointer(name), name.size(), 0, 0, data.get(), context.get());
  if (found == PCRE2_ERROR_NOMATCH) return false;
  if (found < 0)
    throw Error(target, "cannot be matched against '" + std::string(name.substr(0, 200)) + "': " + pcre2_reason(found),
                "use a simpler expression, without nested repetitions");
  return true;
}

}  // namespace

Pattern::Pattern(std::string_view target) : target_(target) {
  if (target.starts_with("re:")) code_ = compile(target_, target.substr(3));
}

bool Pattern::matches(std::string_view name) const {
  if (!code_) return name == target_;
  return match(static_cast<const pcre2_code*>(code_.get()), target_, name);
}

}  // namespace spinor
