// Byte pair encoding: a word becomes its characters, then the pair with the lowest rank is merged, until none is left.
// Sennrich et al., arXiv 1508.07909; ties and unknown characters as in Hugging Face tokenizers 0.23.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "spinor/base/fields.h"
#include "spinor/base/json.h"

namespace spinor::tokenizer {

struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>{}(text); }
};

template <class T>
using StringMap = std::unordered_map<std::string, T, StringHash, std::equal_to<>>;

class BpeModel {
 public:
  // The "model" of tokenizer.json; its vocabulary is taken out of `model`. Error for another type than BPE, for
  // dropout, prefixes and suffixes of subwords, ids that repeat or do not fit, and merges of unknown tokens.
  static BpeModel read(Json model, const Place& place);

  // Tokens of the words that one text has had, so that each is merged once.
  using Cache = StringMap<std::vector<int32_t>>;
  // Appends the tokens of the word. O(n log n) in its length. Error when the unknown token is needed but not in the
  // vocabulary; characters are left out when there is neither an unknown token nor a token for their bytes.
  void encode(std::string_view word, Cache& cache, std::vector<int32_t>& out) const;

  std::optional<int32_t> id_of(std::string_view token) const;
  const std::string* token_of(int32_t id) const;  // null: no such id
  int64_t vocabulary_size() const { return static_cast<int64_t>(ids_.size()); }
  std::vector<int32_t> ids() const;                   // in no order
  int32_t largest_id() const { return largest_id_; }  // -1: no tokens

 private:
  struct Merge {
    int32_t rank, token;
  };
  struct Symbol;
  struct Candidate;

  void read_vocabulary(const Json& vocabulary, const Place& place);
  void read_merges(const Json& merges, const Place& place);
  void add_merge(std::string_view left, std::string_view right, int32_t rank, const Place& place, size_t index);
  void index_characters();
  const Merge* find_merge(int32_t left, int32_t right) const;
  int32_t unknown_id() const;
  bool append_bytes(std::string_view character, std::vector<Symbol>& symbols) const;
  size_t end_of_part(std::string_view word, size_t begin) const;
  void encode_part(std::string_view part, Cache& cache, std::vector<int32_t>& out) const;
  std::vector<Symbol> characters(std::string_view word) const;
  std::vector<int32_t> merge(std::string_view word) const;

  StringMap<int32_t> ids_;
  std::unordered_map<int32_t, std::string> tokens_;
  std::unordered_map<char32_t, int32_t> character_ids_;  // the part of ids_ that is asked for most
  std::vector<int32_t> byte_ids_;                        // of "<0x00>" to "<0xFF>", -1: none; empty: no byte fallback
  std::unordered_map<uint64_t, Merge> merges_;
  std::optional<std::string> unknown_token_;
  bool fuse_unknown_ = false, ignore_merges_ = false;
  bool joins_words_ = false;  // a merge leads from another character to a "▁", which begins words in SentencePiece
  int32_t largest_id_ = -1;
};

}  // namespace spinor::tokenizer
