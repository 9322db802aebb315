#include "spinor/base/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <iterator>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "spinor/base/error.h"

namespace spinor {
namespace {

// Reads the text and lets others see how far it is: nlohmann's SAX events carry no position.
struct CountingIterator {
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  const char* at;
  const char** seen;

  reference operator*() const { return *at; }
  CountingIterator& operator++() {
    *seen = ++at;
    return *this;
  }
  bool operator==(const CountingIterator& other) const { return at == other.at; }
  bool operator!=(const CountingIterator& other) const { return at != other.at; }
};

// "subject:line:column" of the last character read.
std::string place(std::string_view subject, std::string_view read) {
  int64_t line = 1, column = 0;
  for (const char c : read) {
    ++column;
    if (c == '\n') ++line, column = 0;
  }
  return std::string(subject) + ":" + std::to_string(line) + ":" + std::to_string(column);
}

// Builds the value itself because ordered_json looks every new key up linearly: quadratic for a header of many tensors.
class JsonBuilder final : public nlohmann::json_sax<Json> {
 public:
  JsonBuilder(std::string_view text, std::string_view subject) : text_(text), subject_(subject), seen_(text.data()) {}

  Json run() {
    const char* end = text_.data() + text_.size();
    Json::sax_parse(CountingIterator{text_.data(), &seen_}, CountingIterator{end, &seen_}, this);
    return std::move(root_);
  }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(int64_t value) override { return add(value); }
  bool number_unsigned(uint64_t value) override { return add(value); }
  bool number_float(double value, const std::string&) override { return add(value); }
  bool string(std::string& value) override { return add(std::move(value)); }
  bool binary(Json::binary_t&) override { return false; }  // no such thing in text
  bool start_object(size_t) override { return open(Json::object()); }
  bool start_array(size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(std::string& name) override {
    if (!open_.back().keys.insert(name).second) fail("duplicate key '" + name + "'");
    open_.back().key = std::move(name);
    return true;
  }

  bool parse_error(size_t, const std::string& token, const nlohmann::detail::exception& error) override {
    if (token.ends_with("N") || token.ends_with("I")) fail("NaN and Infinity are not JSON; write a finite number");
    // "[json.exception.parse_error.101] parse error at line 1, column 2: syntax error ...": the last part.
    const std::string_view what = error.what();
    const size_t colon = what.find("column");
    const size_t begin =
        what.find(colon == std::string_view::npos ? "] " : ": ", colon == std::string_view::npos ? 0 : colon);
    fail(std::string(what.substr(begin == std::string_view::npos ? 0 : begin + 2)));
  }

 private:
  struct Open {
    Json* value;
    std::string key;
    std::unordered_set<std::string> keys;
  };

  [[noreturn]] void fail(const std::string& problem) const {
    throw Error(place(subject_, {text_.data(), static_cast<size_t>(seen_ - text_.data())}), problem);
  }

  Json* insert(Json value) {
    if (open_.empty()) return &(root_ = std::move(value));
    Open& parent = open_.back();
    if (parent.value->is_array()) return &parent.value->get_ref<Json::array_t&>().emplace_back(std::move(value));
    Json::object_t::Container& members = parent.value->get_ref<Json::object_t&>();
    return &members.emplace_back(std::move(parent.key), std::move(value)).second;
  }
  bool add(Json value) {
    insert(std::move(value));
    return true;
  }
  bool open(Json value) {
    if (open_.size() == kMaxDepth) fail("nested deeper than " + std::to_string(kMaxDepth));
    open_.push_back({insert(std::move(value)), {}, {}});
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  std::string_view text_, subject_;
  const char* seen_;
  Json root_;
  std::vector<Open> open_;
};

}  // namespace

Json parse_json(std::string_view text, std::string_view subject) {
  return JsonBuilder(text, subject).run();
}

namespace {

// Text that no config has.
constexpr std::string_view kEscapedMark = "\\u0001";
constexpr std::array<std::string_view, 3> kBare = {"-Infinity", "Infinity", "NaN"};

std::string quoted(std::string_view bare) {
  return fmt::format("\"{}{}\"", kEscapedMark, bare);
}

// Of the text at `begin`, which is a quote, the end of the string.
size_t end_of_string(std::string_view text, size_t begin) {
  size_t at = begin + 1;
  while (at < text.size() && text[at] != '"') at += text[at] == '\\' ? 2 : 1;
  return std::min(text.size(), at + 1);
}

}  // namespace

Json parse_python_json(std::string_view text, std::string_view subject) {
  std::string json;
  for (size_t at = 0; at < text.size();) {
    const std::string_view rest = text.substr(at);
    const auto bare = std::ranges::find_if(kBare, [&](std::string_view one) { return rest.starts_with(one); });
    const std::string_view taken = bare != kBare.end() ? *bare
                                   : text[at] == '"'   ? rest.substr(0, end_of_string(text, at) - at)
                                                       : rest.substr(0, 1);
    json += bare != kBare.end() ? quoted(*bare) : std::string(taken);
    at += taken.size();
  }
  return parse_json(json, subject);
}

std::string python_json_text(const Json& json, int indent) {
  std::string text = json.dump(indent);
  for (const std::string_view bare : kBare)
    for (size_t at = text.find(quoted(bare)); at != std::string::npos; at = text.find(quoted(bare), at))
      text.replace(at, quoted(bare).size(), bare);
  return text;
}

std::string pointer_step(std::string_view key) {
  Json::json_pointer pointer;
  pointer.push_back(std::string(key));
  return pointer.to_string();
}

}  // namespace spinor
