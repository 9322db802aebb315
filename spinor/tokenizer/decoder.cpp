#include "spinor/tokenizer/decoder.h"

#include <algorithm>
#include <iterator>
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

bool is_byte_text(const std::string& token) {
  for (size_t at = 0; at < token.size();) {
    const Character character = character_at(token, at);
    if (!byte_of_character(character.code)) return false;
    at += character.bytes;
  }
  return true;
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

Decoder Decoder::read(const Json& json, const Place& place, const EveryToken& every_token) {
  Decoder decoder;
  if (json.is_null()) return decoder;
  decoder.joins_with_spaces_ = false;
  read_steps<Step>(json, DecoderParts::kTypes, place, decoder.steps_);
  decoder.divide(every_token);
  return decoder;
}

// Whether a step behind Fuse or ByteLevel does to the parts of the text, in their order, what it does to the whole.
bool Decoder::goes_by_parts(size_t step, const EveryToken& every_token) const {
  if (const auto* strip = std::get_if<Strip>(&steps_[step])) return strip->stop == 0;
  if (const auto* replace = std::get_if<Replace>(&steps_[step]))
    return single_character(replace->pattern.text()).has_value();
  if (!std::holds_alternative<Bytes>(steps_[step])) return std::holds_alternative<Fuse>(steps_[step]);
  // One character that is no byte, anywhere, and the peer takes the whole text as it is. Twice: a first token may be
  // another than a later one.
  return every_token([&](const std::string& token) {
    State state = start();
    Tokens parts = run(0, step, {token, token}, state);
    std::ranges::move(finish_steps(0, step, state), std::back_inserter(parts));
    return std::ranges::all_of(parts, is_byte_text);
  });
}

void Decoder::divide(const EveryToken& every_token) {
  bool fused = false;
  for (whole_ = 0; whole_ < steps_.size(); ++whole_) {
    if (fused && !goes_by_parts(whole_, every_token)) return;
    if (auto* strip = std::get_if<Strip>(&steps_[whole_])) strip->fused = fused;
    fused = fused || std::holds_alternative<Fuse>(steps_[whole_]) || std::holds_alternative<Bytes>(steps_[whole_]);
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

Decoder::Tokens Decoder::run(size_t from, size_t end, Tokens tokens, State& state) const {
  for (size_t i = from; i < end; ++i) {
    Tokens next;
    for (std::string& token : tokens) apply(steps_[i], std::move(token), state.steps[i], next);
    tokens = std::move(next);
  }
  return tokens;
}

Decoder::Tokens Decoder::finish_steps(size_t from, size_t end, State& state) const {
  Tokens all;
  for (size_t i = from; i < end; ++i) {
    Tokens rest;
    finish(steps_[i], state.steps[i], rest);
    std::ranges::move(run(i + 1, end, std::move(rest), state), std::back_inserter(all));
  }
  return all;
}

std::string Decoder::push(std::string token, State& state) const {
  if (joins_with_spaces_ && std::exchange(state.any, true)) token.insert(0, " ");
  Tokens tokens;
  tokens.push_back(std::move(token));
  std::string out;
  for (const std::string& text : run(0, whole_, std::move(tokens), state)) out += text;
  if (whole_ == steps_.size()) return out;
  state.held += out;
  return {};
}

std::string Decoder::finish(State& state) const {
  std::string out;
  for (const std::string& text : finish_steps(0, whole_, state)) out += text;
  if (whole_ == steps_.size()) return out;
  Tokens whole = run(whole_, steps_.size(), {std::exchange(state.held, {}) + out}, state);
  std::ranges::move(finish_steps(whole_, steps_.size(), state), std::back_inserter(whole));
  out.clear();
  for (const std::string& text : whole) out += text;
  return out;
}

}  // namespace spinor::tokenizer
