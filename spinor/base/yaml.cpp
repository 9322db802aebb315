#include "spinor/base/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <charconv>
#include <sstream>
#include <vector>

#include "spinor/base/error.h"
#include "spinor/base/pattern.h"

namespace spinor {
namespace {

constexpr int64_t kMaxCopied = 10'000;  // values that aliases stand for, all together
// llm-compressor saves an enum as a call of its class with a list of one value.
constexpr std::string_view kEnumTag = "tag:yaml.org,2002:python/object/apply:compressed_tensors.";

enum class Plain { null, yes, no, integer, floating, infinite, base60, date, merge };

struct Resolver {
  Plain kind;
  Pattern pattern;
};

// PyYAML's implicit resolvers; the first that matches decides, none means text.
const std::vector<Resolver>& resolvers() {
  static const std::vector<Resolver> table = {
      {Plain::null, Pattern(R"(re:(~|null|Null|NULL|)\Z)")},
      {Plain::yes, Pattern(R"(re:(?:yes|Yes|YES|true|True|TRUE|on|On|ON)\Z)")},
      {Plain::no, Pattern(R"(re:(?:no|No|NO|false|False|FALSE|off|Off|OFF)\Z)")},
      {Plain::integer, Pattern(R"(re:[-+]?(?:0b[01_]+|0[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)\Z)")},
      {Plain::floating,
       Pattern(R"(re:(?:[-+]?[0-9][0-9_]*(?:\.[0-9_]*|(?=[eE]))|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?\Z)")},
      {Plain::infinite, Pattern(R"(re:(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z)")},
      {Plain::base60, Pattern(R"(re:[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?\Z)")},
      {Plain::date, Pattern(R"(re:[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt \t].*)?\Z)")},
      {Plain::merge, Pattern(R"(re:<<\Z)")},
  };
  return table;
}

// False when the number does not fit.
bool read_integer(std::string digits, Json& out) {
  const bool negative = digits.front() == '-';
  if (negative || digits.front() == '+') digits.erase(0, 1);
  int base = 10;
  if (digits.starts_with("0x")) base = 16;
  if (digits.starts_with("0b")) base = 2;
  if (base == 10 && digits.size() > 1 && digits.front() == '0') base = 8;
  if (base == 16 || base == 2) digits.erase(0, 2);
  uint64_t magnitude = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), magnitude, base);
  if (error != std::errc() || end != digits.data() + digits.size()) return false;
  constexpr uint64_t kMostNegative = uint64_t{1} << 63;
  if (!negative) out = magnitude;
  if (negative) out = static_cast<int64_t>(-magnitude);
  return !negative || magnitude <= kMostNegative;
}

bool read_floating(std::string digits, Json& out) {
  if (digits.front() == '+') digits.erase(0, 1);
  double value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  out = value;
  return error == std::errc() && end == digits.data() + digits.size();
}

// JSON knows, and would refuse to print it later.
bool is_utf8(const std::string& text) {
  try {
    (void)Json(text).dump();
    return true;
  } catch (const Json::type_error&) {
    return false;
  }
}

int64_t count_values(const Json& value) {
  int64_t count = 1;
  if (value.is_structured())
    for (const Json& child : value) count += count_values(child);
  return count;
}

class YamlBuilder final : public YAML::EventHandler {
 public:
  explicit YamlBuilder(std::string_view subject) { document_.subject = subject; }

  Document take() { return std::move(document_); }
  [[noreturn]] void fail(int line, const std::string& problem, const std::string& hint = {}) const {
    throw Error(document_.subject + ":" + std::to_string(line + 1), problem, hint);
  }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { scalar(mark, "?", anchor, ""); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override { alias(mark, anchors_.at(anchor)); }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& text) override {
    scalar(mark, tag, anchor, text);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, Json::array());
  }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, Json::object());
  }
  void OnSequenceEnd() override {
    const Open closed = open_.back();
    open_.pop_back();
    if (!closed.is_enum) return;
    if (closed.value->size() != 1 || closed.value->front().is_structured())
      fail(document_.lines.at(closed.pointer) - 1, "an enum has one value");
    Json value = closed.value->front();
    *closed.value = std::move(value);
  }
  void OnMapEnd() override { open_.pop_back(); }

 private:
  struct Open {
    Json* value;
    std::string pointer;
    std::string key;
    bool has_key = false;  // a map's next event is the value of `key`
    bool is_enum = false;
  };

  bool expects_key() const { return !open_.empty() && open_.back().value->is_object() && !open_.back().has_key; }

  void scalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, const std::string& text) {
    if (!is_utf8(text)) fail(mark.line, "holds bytes that are not UTF-8");
    const bool is_text = tag == "!" || tag == "tag:yaml.org,2002:str";
    if (!is_text && tag != "?" && !tag.empty()) fail(mark.line, "the tag " + tag + " is not supported", "remove it");
    Json value = is_text ? Json(text) : resolve(mark, text);
    if (expects_key()) return key(mark, value, text);
    remember(anchor, next_pointer());
    insert(mark, std::move(value));
  }

  void remember(YAML::anchor_t anchor, const std::string& pointer) {
    if (anchor) anchors_[anchor] = pointer;
  }

  // A copy of the value at `from`, with the lines of what it holds.
  void alias(const YAML::Mark& mark, const std::string& from) {
    if (expects_key()) fail(mark.line, "a key must be text");
    for (const Open& open : open_)
      if (open.pointer == from) fail(mark.line, "an alias stands for a value that it is a part of");
    Json value = document_.value.at(Json::json_pointer(from));
    copied_ += count_values(value);
    if (copied_ > kMaxCopied) fail(mark.line, "aliases stand for more than " + std::to_string(kMaxCopied) + " values");
    const std::string to = next_pointer();
    insert(mark, std::move(value));
    Lines lines;
    for (const auto& [pointer, line] : document_.lines)
      if (pointer.starts_with(from + "/")) lines[to + pointer.substr(from.size())] = line;
    document_.lines.merge(lines);
  }

  void key(const YAML::Mark& mark, const Json& value, const std::string& text) {
    if (!value.is_string()) fail(mark.line, "the key " + text + " is not text", "put it in quotes");
    Open& map = open_.back();
    if (map.value->contains(text)) fail(mark.line, "duplicate key '" + text + "'");
    map.key = text;
    map.has_key = true;
    document_.lines[map.pointer + pointer_step(text)] = mark.line + 1;
  }

  Json resolve(const YAML::Mark& mark, const std::string& text) const {
    const auto row = std::ranges::find_if(resolvers(), [&](const Resolver& r) { return r.pattern.matches(text); });
    if (row == resolvers().end()) return text;
    std::string digits = text;
    std::erase(digits, '_');
    Json value;
    switch (row->kind) {
      case Plain::null:
        return nullptr;
      case Plain::yes:
        return true;
      case Plain::no:
        return false;
      case Plain::integer:
        if (read_integer(digits, value)) return value;
        break;
      case Plain::floating:
        if (read_floating(digits, value)) return value;
        break;
      case Plain::infinite:
        fail(mark.line, text + " is not supported", "write a finite number");
      case Plain::base60:
        fail(mark.line, text + " is a base-60 number in YAML 1.1", "put it in quotes");
      case Plain::date:
        fail(mark.line, text + " is a date in YAML", "put it in quotes");
      case Plain::merge:
        fail(mark.line, "merge keys are not supported", "write the values out");
    }
    fail(mark.line, "the number " + text + " is out of range");
  }

  // Where insert() puts its value.
  std::string next_pointer() const {
    if (open_.empty()) return "";
    const Open& parent = open_.back();
    return parent.pointer + pointer_step(parent.value->is_object() ? parent.key : std::to_string(parent.value->size()));
  }

  Json* insert(const YAML::Mark& mark, Json value) {
    if (open_.empty()) {
      document_.lines[""] = mark.line + 1;
      return &(document_.value = std::move(value));
    }
    Open& parent = open_.back();
    parent.has_key = false;
    if (parent.value->is_object()) return &((*parent.value)[parent.key] = std::move(value));
    document_.lines[parent.pointer + "/" + std::to_string(parent.value->size())] = mark.line + 1;
    return &parent.value->emplace_back(std::move(value));
  }

  void open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, Json value) {
    const bool is_enum = tag.starts_with(kEnumTag) && value.is_array();
    if (!is_enum && tag != "?" && tag != "!" && !tag.empty())
      fail(mark.line, "the tag " + tag + " is not supported", "remove it");
    if (expects_key()) fail(mark.line, "a key must be text");
    if (open_.size() == kMaxDepth) fail(mark.line, "nested deeper than " + std::to_string(kMaxDepth));
    std::string pointer = next_pointer();
    remember(anchor, pointer);
    Json* inserted = insert(mark, std::move(value));
    open_.push_back({inserted, std::move(pointer), {}, false, is_enum});
  }

  Document document_;
  std::vector<Open> open_;
  std::map<YAML::anchor_t, std::string> anchors_;  // the pointers of what they name
  int64_t copied_ = 0;
};

}  // namespace

Document parse_yaml(std::string_view text, std::string_view subject) {
  YamlBuilder builder(subject);
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    parser.HandleNextDocument(builder);
    YamlBuilder second(subject);
    if (parser.HandleNextDocument(second)) throw Error(std::string(subject), "holds more than one document");
  } catch (const YAML::Exception& error) {
    builder.fail(error.mark.line, error.msg);
  }
  return builder.take();
}

}  // namespace spinor
