#include "spinor/tokenizer/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "spinor/base/error.h"
#include "spinor/io/file.h"
#include "spinor/tokenizer/utf8.h"

namespace spinor::tokenizer {
namespace {

constexpr std::string_view kFile = "tokenizer.json", kConfigFile = "tokenizer_config.json";
constexpr int64_t kMaxBytes = 1 << 30;

Json take(Json& document, const char* key) {
  const auto found = document.find(key);
  return found == document.end() ? Json() : std::exchange(*found, Json());
}

Place at(std::string_view key) {
  return Place{"", std::string(kFile)}.key(key);
}

// "<s>" or {"content": "<s>", ...}; nothing for null.
std::optional<std::string> token_name(const Json& value, std::string_view key) {
  if (value.is_null()) return std::nullopt;
  const bool object = value.is_object() && value.contains("content");
  const Json& name = object ? value["content"] : value;
  if (!name.is_string()) throw Error(std::string(kConfigFile), fmt::format("{} is not a token", key));
  return name.get<std::string>();
}

// The special tokens in front of and behind the text in a post-processor's template for one text.
std::pair<std::optional<std::string>, std::optional<std::string>> template_ends(const Json& post_processor) {
  std::pair<std::optional<std::string>, std::optional<std::string>> ends;
  if (!post_processor.is_object()) return ends;
  if (const auto list = post_processor.find("processors"); list != post_processor.end() && list->is_array())
    for (const Json& processor : *list)
      if (processor.value("type", "") == "TemplateProcessing") return template_ends(processor);
  const auto single = post_processor.find("single");
  if (single == post_processor.end() || !single->is_array()) return ends;
  bool behind = false;
  for (const Json& piece : *single) {
    const bool special = piece.is_object() && piece.contains("SpecialToken");
    if (!special) {
      behind = true;
      continue;
    }
    const Json& token = piece["SpecialToken"];
    if (!token.is_object() || !token.contains("id") || !token["id"].is_string()) continue;
    auto& end = behind ? ends.second : ends.first;
    if (!end) end = token["id"].get<std::string>();
  }
  return ends;
}

}  // namespace

Tokenizer Tokenizer::load(const std::filesystem::path& directory) {
  const auto prefixed = [&](const Error& error) {
    return Error((directory / error.subject()).string(), error.problem(), error.hint());
  };
  return with_system_errors([&] {
    const std::filesystem::path path = directory / kFile, config = directory / kConfigFile;
    if (!std::filesystem::exists(path))
      throw Error(directory.string(), "has no tokenizer.json",
                  "save the tokenizer with a current version of transformers");
    const std::string text = read_text(path, kMaxBytes);
    const std::string config_text = std::filesystem::exists(config) ? read_text(config, kMaxBytes) : "";
    try {
      Tokenizer tokenizer = parse(text, config_text);
      if (tokenizer.no_decoder_) tokenizer.no_decoder_ = prefixed(*tokenizer.no_decoder_);
      return tokenizer;
    } catch (const Error& error) {
      throw prefixed(error);
    }
  });
}

Tokenizer Tokenizer::parse(std::string_view tokenizer_json, std::string_view tokenizer_config) {
  Json document = parse_json(tokenizer_json, kFile);
  fields_detail::expect_object(document, {"tokenizer.json", std::string(kFile)});
  if (const Json version = take(document, "version"); !version.is_null() && version != "1.0")
    throw Error(std::string(kFile), fmt::format("version {} is not supported", version.dump()), "1.0 is read");
  if (!take(document, "truncation").is_null())
    throw Error(std::string(kFile), "truncation would cut texts short", "set it to null");

  Tokenizer tokenizer;
  tokenizer.model_ = BpeModel::read(take(document, "model"), at("model"));
  tokenizer.normalizer_ = Normalizer::read(take(document, "normalizer"), at("normalizer"));
  tokenizer.pre_tokenizer_ = PreTokenizer::read(take(document, "pre_tokenizer"), at("pre_tokenizer"));
  if (tokenizer.pre_tokenizer_.depends_on_position() && !tokenizer.normalizer_.keeps_start())
    at("pre_tokenizer").fail("prepend_scheme 'first' is not supported after this normalizer");
  tokenizer.added_ =
      AddedTokens::read(take(document, "added_tokens"), tokenizer.model_, tokenizer.normalizer_, at("added_tokens"));
  tokenizer.read_decoder(take(document, "decoder"));
  tokenizer.read_ends(take(document, "post_processor"), tokenizer_config);
  return tokenizer;
}

// Evaluation and calibration only encode: they need no decoder.
void Tokenizer::read_decoder(const Json& json) {
  const auto every_token = [&](const std::function<bool(const std::string&)>& passes) {
    const auto shown_passes = [&](int32_t id) { return passes(*shown(id, SpecialTokens::keep)); };
    return std::ranges::all_of(added_.ids(), shown_passes) && std::ranges::all_of(model_.ids(), shown_passes);
  };
  try {
    decoder_ = Decoder::read(json, at("decoder"), every_token);
  } catch (const Error& error) {
    no_decoder_ = error;
  }
}

const Decoder& Tokenizer::decoder() const {
  if (no_decoder_) throw Error(*no_decoder_);
  return decoder_;
}

void Tokenizer::read_ends(const Json& post_processor, std::string_view config_text) {
  auto [first, last] = template_ends(post_processor);
  if (!config_text.empty()) {
    const Json config = parse_json(config_text, kConfigFile);
    fields_detail::expect_object(config, {"tokenizer_config.json", std::string(kConfigFile)});
    if (const auto bos = config.find("bos_token"); bos != config.end()) first = token_name(*bos, "bos_token");
    if (const auto eos = config.find("eos_token"); eos != config.end()) last = token_name(*eos, "eos_token");
  }
  const auto known = [&](const std::optional<std::string>& name) { return name ? id_of(*name) : std::nullopt; };
  bos_ = known(first);
  eos_ = known(last);
}

std::optional<int32_t> Tokenizer::id_of(std::string_view token) const {
  const auto added = added_.id_of(token);
  return added ? added : model_.id_of(token);
}

std::vector<int32_t> Tokenizer::encode(std::string_view text) const {
  if (const auto invalid = find_invalid_utf8(text))
    throw Error("text", fmt::format("is not UTF-8 at byte {}", *invalid));
  std::vector<int32_t> ids;
  ids.reserve(text.size() / 3);
  BpeModel::Cache cache;
  for (const auto& [range, id] : added_.cut(text, AddedTokens::Stage::raw)) {
    const auto position = range.begin == 0 ? PreTokenizer::Position::start_of_text : PreTokenizer::Position::later;
    if (id >= 0)
      ids.push_back(id);
    else
      encode_stretch(text.substr(range.begin, range.end - range.begin), position, cache, ids);
  }
  return ids;
}

void Tokenizer::encode_stretch(std::string_view raw, PreTokenizer::Position position, BpeModel::Cache& cache,
                               std::vector<int32_t>& ids) const {
  const std::string text = normalizer_.apply(std::string(raw));
  for (const auto& [range, id] : added_.cut(text, AddedTokens::Stage::normalized)) {
    if (id >= 0) {
      ids.push_back(id);
      continue;
    }
    const auto place = range.begin == 0 ? position : PreTokenizer::Position::later;
    const Words words = pre_tokenizer_.cut(text.substr(range.begin, range.end - range.begin), place);
    for (const Match& word : words.ranges) model_.encode(words.word(word), cache, ids);
  }
}

const std::string* Tokenizer::shown(int32_t id, SpecialTokens special) const {
  const std::string* added = added_.text_of(id);
  const std::string* text = added ? added : model_.token_of(id);
  return text && special == SpecialTokens::skip && added_.is_special(*text) ? nullptr : text;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, SpecialTokens special) const {
  TokenStream stream(*this, special);
  std::string text;
  for (const int32_t id : ids) text += stream.push(id);
  return text += stream.finish();
}

std::string TokenStream::push(int32_t id) {
  const std::string* token = tokenizer_.shown(id, special_);
  return token ? tokenizer_.decoder().push(*token, state_) : "";
}

std::string TokenStream::finish() {
  std::string text = tokenizer_.decoder().finish(state_);
  state_ = tokenizer_.decoder().start();
  return text;
}

}  // namespace spinor::tokenizer
