#include "spinor/tokenizer/decoder.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "spinor/tokenizer/byte_alphabet.h"
#include "spinor/tokenizer/typed_json.h"
#include "spinor/tokenizer/utf8.h"

namespace spinor::tokenizer {
namespace {

struct ByteLevelDecoderFields {
  bool add_prefix_space = true, trim_offsets = true, use_regex = true;  // they matter to encoding only
  template <class Visitor>
  void fields(Visitor& v) {
    v("add_prefix_space", add_prefix_space);
    v("trim_offsets", trim_offsets);
    v("use_regex", use_regex);
  }
};

struct MetaspaceDecoderFields {
  std::string replacement, prepend_scheme = "always";
  std::optional<bool> add_prefix_space, split;
  std::optional<std::string> str_rep;
  template <class Visitor>
  void fields(Visitor& v) {
    v("replacement", replacement, required);
    v("prepend_scheme", prepend_scheme);
    v("add_prefix_space", add_prefix_space);
    v("split", split);
    v("str_rep", str_rep);
  }
};

struct StripDecoderFields {
  std::string content;
  int64_t start = 0, stop = 0;
  template <class Visitor>
  void fields(Visitor& v) {
    v("content", content, required);
    v("start", start, required);
    v("stop", stop, required);
  }
};

// The value of "<0x41>".
std::optional<char> byte_of_token(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
  int value = 0;
  for (const char c : token.substr(token[3] == '+' ? 4 : 3, token[3] == '+' ? 1 : 2)) {  // Rust's numbers may have a +
    const auto digit = std::string_view("0123456789abcdef").find(static_cast<char>(c | 0x20));
    if (digit == std::string_view::npos || (c < '0')) return std::nullopt;
    value = value * 16 + static_cast<int>(digit);
  }
  return static_cast<char>(value);
}

// The bytes of a run of byte tokens: a text, or one U+FFFD for each.
void flush_bytes(std::string& bytes, std::vector<std::string>& out) {
  if (bytes.empty()) return;
  if (!find_invalid_utf8(bytes))
    out.push_back(bytes);
  else
    for (size_t i = 0; i < bytes.size(); ++i) append_utf8(out.emplace_back(), kReplacementCharacter);
  bytes.clear();
}

// Takes the bytes from `waiting` that nothing can follow any more.
std::string take_complete(std::string& waiting) {
  std::string out;
  size_t at = 0;
  while (at < waiting.size()) {
    const Character character = character_at(waiting, at);
    if (character.state == Character::State::truncated) break;
    append_utf8(out, character.code);
    at += character.bytes;
  }
  waiting.erase(0, at);
  return out;
}

void append_bytes_of(std::string_view token, std::string& bytes) {
  const size_t before = bytes.size();
  for (size_t at = 0; at < token.size();) {
    const Character character = character_at(token, at);
    const auto byte = byte_of_character(character.code);
    if (!byte) {  // an added token, as it is
      bytes.resize(before);
      bytes += token;
      return;
    }
    bytes.push_back(static_cast<char>(*byte));
    at += character.bytes;
  }
}

std::string without_metaspace(std::string_view token, char32_t replacement, bool drop) {
  std::string out;
  for (size_t at = 0; at < token.size();) {
    const Character character = character_at(token, at);
    if (character.code != replacement)
      out += token.substr(at, character.bytes);
    else if (!drop)
      out += ' ';
    at += character.bytes;
  }
  return out;
}

// Cuts up to `most` of these characters off the front; returns how many.
int64_t strip_front(std::string_view& token, char32_t content, int64_t most) {
  int64_t count = 0;
  while (count < most && !token.empty() && character_at(token, 0).code == content) {
    token.remove_prefix(character_at(token, 0).bytes);
    ++count;
  }
  return count;
}

}  // namespace

// The rows of the table of types.
struct DecoderParts {
  using Step = Decoder::Step;
  using Steps = std::vector<Step>;

  static void byte_level(const Json& json, const Place& place, Steps& steps) {
    read_part<ByteLevelDecoderFields>(json, place);
    steps.emplace_back(Decoder::Bytes{});
  }
  static void metaspace(const Json& json, const Place& place, Steps& steps) {
    const auto fields = read_part<MetaspaceDecoderFields>(json, place);
    const auto replacement = single_character(fields.replacement);
    if (!replacement) place.fail(place.name + ".replacement is not one character");
    const std::string& scheme = fields.prepend_scheme;
    if (scheme != "always" && scheme != "first" && scheme != "never")
      place.fail(fmt::format("{}.prepend_scheme '{}' is not supported", place.name, scheme));
    steps.emplace_back(Decoder::Metaspace{*replacement, scheme != "never" && fields.add_prefix_space != false});
  }
  static void replace(const Json& json, const Place& place, Steps& steps) {
    const auto fields = read_part<ReplaceFields>(json, place);
    steps.emplace_back(Decoder::Replace{Regex::read(fields.pattern, place.key("pattern")), fields.content});
  }
  static void byte_fallback(const Json& json, const Place& place, Steps& steps) {
    read_part<NoFields>(json, place);
    steps.emplace_back(Decoder::ByteFallback{});
  }
  static void fuse(const Json& json, const Place& place, Steps& steps) {
    read_part<NoFields>(json, place);
    steps.emplace_back(Decoder::Fuse{});
  }
  static void strip(const Json& json, const Place& place, Steps& steps) {
    const auto fields = read_part<StripDecoderFields>(json, place);
    const auto content = single_character(fields.content);
    if (!content) place.fail(place.name + ".content is not one character");
    if (fields.start < 0 || fields.stop < 0) place.fail(place.name + " strips less than nothing");
    steps.emplace_back(Decoder::Strip{*content, fields.start, fields.stop, false});
  }
  static void sequence(const Json& json, const Place& place, Steps& steps);
  static constexpr PartType<Step> kTypes[] = {
      {"Sequence", sequence}, {"ByteLevel", byte_level},       {"Metaspace", metaspace}, {"Replace", replace},
      {"Fuse", fuse},         {"ByteFallback", byte_fallback}, {"Strip", strip}};
};

void DecoderParts::sequence(const Json& json, const Place& place, Steps& steps) {
  read_sequence<Step>(json, "decoders", kTypes, place, steps);
}

Decoder Decoder::read(const Json& json, const Place& place) {
  Decoder decoder;
  if (json.is_null()) return decoder;
  decoder.joins_with_spaces_ = false;
  read_steps<Step>(json, DecoderParts::kTypes, place, decoder.steps_);
  decoder.check_order(place);
  return decoder;
}

// Behind Fuse and ByteLevel the peer's steps see one long token, ours its parts: only steps to which that is the same.
void Decoder::check_order(const Place& place) {
  bool fused = false;
  for (Step& step : steps_) {
    if (auto* strip = std::get_if<Strip>(&step)) {
      strip->fused = fused;
      if (fused && strip->stop > 0) place.fail(place.name + ": Strip at the end of fused text is not supported");
    } else if (const auto* replace = std::get_if<Replace>(&step)) {
      if (fused && !single_character(replace->pattern.text()))
        place.fail(place.name + ": Replace in fused text is supported for one character only");
    } else if (fused && !std::holds_alternative<Fuse>(step)) {
      place.fail(place.name + ": ByteLevel, ByteFallback or Metaspace on fused text is not supported");
    }
    fused = fused || std::holds_alternative<Fuse>(step) || std::holds_alternative<Bytes>(step);
  }
}

void Decoder::apply(const Step& step, std::string token, State::Step& state, Tokens& out) {
  if (std::holds_alternative<Bytes>(step)) {
    append_bytes_of(token, state.waiting);
    out.push_back(take_complete(state.waiting));
  } else if (const auto* metaspace = std::get_if<Metaspace>(&step)) {
    const bool first = state.count++ == 0;
    out.push_back(without_metaspace(token, metaspace->replacement, first && metaspace->drops_first));
  } else if (const auto* replace = std::get_if<Replace>(&step)) {
    out.push_back(replace->pattern.replace_all(token, replace->content));
  } else if (std::holds_alternative<ByteFallback>(step)) {
    if (const auto byte = byte_of_token(token)) return state.waiting.push_back(*byte);
    flush_bytes(state.waiting, out);
    out.push_back(std::move(token));
  } else if (const auto* strip = std::get_if<Strip>(&step)) {
    std::string_view rest = token;
    if (!strip->fused) state = {};
    if (!state.done) state.count += strip_front(rest, strip->content, strip->start - state.count);
    state.done = state.done || !rest.empty();
    for (int64_t i = 0; i < strip->stop && !rest.empty(); ++i) {
      const Character last = character_before(rest, rest.size());
      if (last.code != strip->content) break;
      rest.remove_suffix(last.bytes);
    }
    out.emplace_back(rest);
  } else {
    out.push_back(std::move(token));
  }
}

void Decoder::finish(const Step& step, State::Step& state, Tokens& out) {
  if (std::holds_alternative<ByteFallback>(step)) flush_bytes(state.waiting, out);
  if (std::holds_alternative<Bytes>(step) && !state.waiting.empty()) out.push_back(repair_utf8(state.waiting));
  state.waiting.clear();
}

Decoder::Tokens Decoder::run(size_t from, Tokens tokens, State& state) const {
  for (size_t i = from; i < steps_.size(); ++i) {
    Tokens next;
    for (std::string& token : tokens) apply(steps_[i], std::move(token), state.steps[i], next);
    tokens = std::move(next);
  }
  return tokens;
}

std::string Decoder::push(std::string token, State& state) const {
  if (joins_with_spaces_ && std::exchange(state.any, true)) token.insert(0, " ");
  std::string out;
  Tokens tokens;
  tokens.push_back(std::move(token));
  for (const std::string& text : run(0, std::move(tokens), state)) out += text;
  return out;
}

std::string Decoder::finish(State& state) const {
  std::string out;
  for (size_t i = 0; i < steps_.size(); ++i) {
    Tokens rest;
    finish(steps_[i], state.steps[i], rest);
    for (const std::string& text : run(i + 1, std::move(rest), state)) out += text;
  }
  return out;
}

}  // namespace spinor::tokenizer
