// The "added_tokens" of tokenizer.json: tokens that are found in the text before anything else is done to it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "spinor/base/fields.h"
#include "spinor/tokenizer/bpe.h"
#include "spinor/tokenizer/normalizer.h"

namespace spinor::tokenizer {

struct AddedToken {
  int64_t id = 0;
  std::string content;
  bool single_word = false;             // not inside a word
  bool lstrip = false, rstrip = false;  // takes the white space on this side along
  bool normalized = true;               // sought in the normalized text, itself normalized
  bool special = false;

  template <class Visitor>
  void fields(Visitor& v) {
    v("id", id, required);
    v("content", content, required);
    v("single_word", single_word, required);
    v("lstrip", lstrip, required);
    v("rstrip", rstrip, required);
    v("normalized", normalized, required);
    v("special", special, required);
  }
};

// Finds the leftmost of some strings in a text, the longest where several begin. O(text * longest string) at worst.
class StringFinder {
 public:
  void add(std::string text, int32_t value) { strings_.push_back({std::move(text), value}); }
  // After all strings are added. Error for an empty one, or two that are equal.
  void finish(const Place& place);

  struct Found {
    Match range;
    int32_t value;
  };
  std::vector<Found> find_all(std::string_view text) const;

 private:
  struct String {
    std::string text;
    int32_t value;
  };
  const String* longest_at(std::string_view text) const;

  std::vector<String> strings_;                        // sorted
  std::vector<bool> starts_ = std::vector<bool>(256);  // by first byte
};

class AddedTokens {
 public:
  // Error for wrong types, ids or contents that repeat, and ids that are not those the peer would give.
  static AddedTokens read(const Json& json, const BpeModel& model, const Normalizer& normalizer, const Place& place);

  // A stretch of the text and the added token it is; -1: none.
  struct Stretch {
    Match range;
    int32_t id;
  };
  // Which tokens to seek: those for the text as it is, or those for normalized text.
  enum class Stage { raw, normalized };
  // Covers the text, without empty stretches.
  std::vector<Stretch> cut(std::string_view text, Stage stage) const;

  const std::string* text_of(int32_t id) const;  // as the decoder is to see it; null: no such token
  const std::string* content_of(int32_t id) const;
  std::optional<int32_t> id_of(std::string_view content) const;
  bool is_special(std::string_view text) const { return specials_.contains(std::string(text)); }
  std::vector<int32_t> ids() const;                   // in no order
  int32_t largest_id() const { return largest_id_; }  // -1: no tokens

 private:
  struct Known {
    AddedToken token;
    std::string text;
  };
  void add(AddedToken token, const BpeModel& model, const Normalizer& normalizer, const Place& place);

  std::unordered_map<int32_t, Known> tokens_;
  StringMap<int32_t> ids_;
  std::unordered_set<std::string> specials_;
  StringFinder raw_, normalized_;
  int32_t largest_id_ = -1;
  int64_t outside_ = 0;  // tokens that the model's vocabulary lacks
};

}  // namespace spinor::tokenizer
