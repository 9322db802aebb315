#include "spinor/tokenizer/bpe.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <queue>
#include <ranges>
#include <utility>

#include "spinor/base/error.h"
#include "spinor/tokenizer/utf8.h"

namespace spinor::tokenizer {
namespace {

constexpr std::string_view kUnderline = "▁";
constexpr size_t kLongestCached = 256;  // bytes; longer words hardly come twice

struct Options {
  std::string type;
  std::optional<double> dropout;
  std::optional<std::string> unk_token, continuing_subword_prefix, end_of_word_suffix;
  std::optional<bool> fuse_unk, byte_fallback, ignore_merges;

  template <class Visitor>
  void fields(Visitor& v) {
    v("type", type, required);
    v("dropout", dropout);
    v("unk_token", unk_token);
    v("continuing_subword_prefix", continuing_subword_prefix);
    v("end_of_word_suffix", end_of_word_suffix);
    v("fuse_unk", fuse_unk);
    v("byte_fallback", byte_fallback);
    v("ignore_merges", ignore_merges);
  }
};

void refuse_unsupported(const Options& options, const Place& place) {
  if (options.dropout.value_or(0) != 0) place.fail("model.dropout makes the tokens random", "set it to null");
  if (options.continuing_subword_prefix && !options.continuing_subword_prefix->empty())
    place.fail("model.continuing_subword_prefix is not supported");
  if (options.end_of_word_suffix && !options.end_of_word_suffix->empty())
    place.fail("model.end_of_word_suffix is not supported");
}

Json take(Json& object, const char* key, const Place& place) {
  const auto found = object.find(key);
  if (found == object.end()) place.fail(fmt::format("{} has no {}", place.name, key));
  Json value = std::move(*found);
  object.erase(key);
  return value;
}

uint64_t pair_key(int32_t left, int32_t right) {
  return static_cast<uint64_t>(left) << 32 | static_cast<uint32_t>(right);
}

}  // namespace

// One token of the word so far; they are a list, so that a merge costs no moving.
struct BpeModel::Symbol {
  int32_t id;
  int32_t previous, next;  // -1: none
  bool merged = false;     // into the one on its left
};

struct BpeModel::Candidate {
  int32_t rank, position, token;
  bool operator>(const Candidate& other) const {
    return rank != other.rank ? rank > other.rank : position > other.position;
  }
};

BpeModel BpeModel::read(Json json, const Place& place) {
  fields_detail::expect_object(json, place);
  std::string type;
  if (const auto found = json.find("type"); found != json.end()) read_value(*found, type, place.key("type"));
  if (type != "BPE") place.fail(fmt::format("model.type '{}' is not supported", type), "only BPE models are read");
  const Json vocabulary = take(json, "vocab", place), merges = take(json, "merges", place);
  const auto options = read_fields<Options>(json, place);
  refuse_unsupported(options, place);

  BpeModel model;
  model.read_vocabulary(vocabulary, place.key("vocab"));
  model.read_merges(merges, place.key("merges"));
  model.index_characters();
  if (options.byte_fallback.value_or(false))
    for (int byte = 0; byte < 256; ++byte)
      model.byte_ids_.push_back(model.id_of(fmt::format("<0x{:02X}>", byte)).value_or(-1));
  model.unknown_token_ = options.unk_token;
  model.fuse_unknown_ = options.fuse_unk.value_or(false);
  model.ignore_merges_ = options.ignore_merges.value_or(false);
  return model;
}

void BpeModel::read_vocabulary(const Json& vocabulary, const Place& place) {
  fields_detail::expect_object(vocabulary, place);
  ids_.reserve(vocabulary.size());
  tokens_.reserve(vocabulary.size());
  for (const auto& [token, value] : vocabulary.items()) {
    int64_t id = -1;
    if (value.is_number_integer())  // a Place for each token would take longer than all the rest
      read_value(value, id, place);
    else
      read_value(value, id, place.key(token));
    if (id < 0 || id >= std::numeric_limits<int32_t>::max())
      place.fail(fmt::format("{}: the id {} of '{}' is not in 0 to 2^31 - 2", place.name, id, token));
    const auto [other, added] = tokens_.emplace(static_cast<int32_t>(id), token);
    if (!added) place.fail(fmt::format("{}: '{}' and '{}' have the same id {}", place.name, other->second, token, id));
    ids_.emplace(token, static_cast<int32_t>(id));
    largest_id_ = std::max(largest_id_, static_cast<int32_t>(id));
  }
}

// Either ["a b", ...], where a first line "#version" may stand, or [["a", "b"], ...].
void BpeModel::read_merges(const Json& merges, const Place& place) {
  fields_detail::expect_list(merges, place);
  if (merges.size() > size_t{std::numeric_limits<int32_t>::max()}) place.fail(place.name + " has too many items");
  merges_.reserve(merges.size());
  const bool pairs = !merges.empty() && merges[0].is_array();
  int32_t rank = 0;
  for (size_t i = 0; i < merges.size(); ++i) {
    const Json& item = merges[i];
    if (pairs) {
      if (!item.is_array() || item.size() != 2 || !item[0].is_string() || !item[1].is_string())
        place.fail(place.item(i).name + " is not a pair of tokens");
      add_merge(item[0].get_ref<const std::string&>(), item[1].get_ref<const std::string&>(), rank++, place, i);
      continue;
    }
    if (!item.is_string()) place.fail(place.item(i).name + " is not a string as the ones before it");
    const std::string_view text = item.get_ref<const std::string&>();
    if (text.starts_with("#version")) continue;
    const size_t space = text.find(' ');
    if (space == text.npos || text.find(' ', space + 1) != text.npos)
      place.fail(place.item(i).name + " is not two tokens with a space between them");
    add_merge(text.substr(0, space), text.substr(space + 1), rank++, place, i);
  }
}

void BpeModel::add_merge(std::string_view left, std::string_view right, int32_t rank, const Place& place,
                         size_t index) {
  const auto known = [&](std::string_view token) {
    const auto id = id_of(token);
    if (!id) place.fail(fmt::format("{}: '{}' is not in the vocabulary", place.item(index).name, token));
    return *id;
  };
  const int32_t left_id = known(left), right_id = known(right);
  std::string both(left);
  both += right;
  joins_words_ = joins_words_ || (!left.ends_with(kUnderline) && right.starts_with(kUnderline));
  merges_.insert_or_assign(pair_key(left_id, right_id), Merge{rank, known(both)});
}

void BpeModel::index_characters() {
  for (const auto& [token, id] : ids_)
    if (const auto code = single_character(token)) character_ids_.emplace(*code, id);
  joins_words_ = joins_words_ || !id_of(kUnderline);  // then it may be a part of an unknown stretch
}

std::optional<int32_t> BpeModel::id_of(std::string_view token) const {
  const auto found = ids_.find(token);
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

std::vector<int32_t> BpeModel::ids() const {
  const auto ids = std::views::keys(tokens_);
  return {ids.begin(), ids.end()};
}

const std::string* BpeModel::token_of(int32_t id) const {
  const auto found = tokens_.find(id);
  return found == tokens_.end() ? nullptr : &found->second;
}

const BpeModel::Merge* BpeModel::find_merge(int32_t left, int32_t right) const {
  const auto found = merges_.find(pair_key(left, right));
  return found == merges_.end() ? nullptr : &found->second;
}

int32_t BpeModel::unknown_id() const {
  const auto id = id_of(*unknown_token_);
  if (!id) throw Error("tokenizer.json", fmt::format("model.unk_token '{}' is not in the vocabulary", *unknown_token_));
  return *id;
}

bool BpeModel::append_bytes(std::string_view character, std::vector<Symbol>& symbols) const {
  if (byte_ids_.empty()) return false;
  const auto id = [&](char byte) { return byte_ids_[static_cast<uint8_t>(byte)]; };
  if (std::ranges::any_of(character, [&](char byte) { return id(byte) < 0; })) return false;
  for (const char byte : character) symbols.push_back({id(byte), 0, 0});
  return true;
}

std::vector<BpeModel::Symbol> BpeModel::characters(std::string_view word) const {
  std::vector<Symbol> symbols;
  symbols.reserve(word.size());
  // The unknown token waits here for those that are fused with it. As in the peer, bytes do not end the waiting.
  std::optional<int32_t> unknown;
  for (size_t at = 0; at < word.size();) {
    const Character character = character_at(word, at);
    const std::string_view text = word.substr(at, character.bytes);
    at += character.bytes;
    if (const auto found = character_ids_.find(character.code); found != character_ids_.end()) {
      if (unknown) symbols.push_back({*std::exchange(unknown, std::nullopt), 0, 0});
      symbols.push_back({found->second, 0, 0});
    } else if (!append_bytes(text, symbols) && unknown_token_) {
      if (unknown && !fuse_unknown_) symbols.push_back({*unknown, 0, 0});
      unknown = unknown_id();
    }
  }
  if (unknown) symbols.push_back({*unknown, 0, 0});
  for (size_t i = 0; i < symbols.size(); ++i) {
    symbols[i].previous = static_cast<int32_t>(i) - 1;
    symbols[i].next = i + 1 < symbols.size() ? static_cast<int32_t>(i) + 1 : -1;
  }
  return symbols;
}

std::vector<int32_t> BpeModel::merge(std::string_view word) const {
  std::vector<Symbol> symbols = characters(word);
  const auto at = [&](int32_t position) -> Symbol& { return symbols[static_cast<size_t>(position)]; };
  std::vector<Candidate> candidates;
  const auto candidate = [&](int32_t position) -> std::optional<Candidate> {
    if (position < 0 || at(position).next < 0) return std::nullopt;
    const Merge* found = find_merge(at(position).id, at(at(position).next).id);
    if (!found) return std::nullopt;
    return Candidate{found->rank, position, found->token};
  };
  for (int32_t i = 0; i < std::ssize(symbols); ++i)
    if (const auto found = candidate(i)) candidates.push_back(*found);

  std::priority_queue queue(std::greater<Candidate>{}, std::move(candidates));
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Symbol& left = at(best.position);
    if (left.merged) continue;
    const auto now = candidate(best.position);
    if (!now || now->token != best.token) continue;  // a neighbour has changed since
    Symbol& right = at(left.next);
    left.id = best.token;
    left.next = right.next;
    right.merged = true;
    if (left.next >= 0) at(left.next).previous = best.position;
    if (const auto found = candidate(left.previous)) queue.push(*found);
    if (const auto found = candidate(best.position)) queue.push(*found);
  }

  std::vector<int32_t> ids;
  for (const Symbol& symbol : symbols)
    if (!symbol.merged) ids.push_back(symbol.id);
  return ids;
}

// Where no merge crosses, the parts can be merged one by one: SentencePiece's texts are one word, but their parts
// repeat.
size_t BpeModel::end_of_part(std::string_view word, size_t begin) const {
  if (joins_words_) return word.size();
  for (size_t at = begin + 1; (at = word.find(kUnderline, at)) != word.npos; at += kUnderline.size())
    if (!word.substr(0, at).ends_with(kUnderline)) return at;
  return word.size();
}

void BpeModel::encode(std::string_view word, Cache& cache, std::vector<int32_t>& out) const {
  if (word.size() >= size_t{std::numeric_limits<int32_t>::max()}) throw Error("text", "a word of 2 GiB is too long");
  if (ignore_merges_)
    if (const auto id = id_of(word)) return out.push_back(*id);
  for (size_t begin = 0, end = 0; begin < word.size(); begin = end) {
    end = end_of_part(word, begin);
    encode_part(word.substr(begin, end - begin), cache, out);
  }
}

void BpeModel::encode_part(std::string_view part, Cache& cache, std::vector<int32_t>& out) const {
  if (part.size() > kLongestCached) {
    const std::vector<int32_t> ids = merge(part);
    out.insert(out.end(), ids.begin(), ids.end());
    return;
  }
  auto found = cache.find(part);
  if (found == cache.end()) found = cache.emplace(part, merge(part)).first;
  out.insert(out.end(), found->second.begin(), found->second.end());
}

}  // namespace spinor::tokenizer
