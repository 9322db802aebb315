// The "decoder" of tokenizer.json: tokens back to text, one token at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "spinor/base/fields.h"
#include "spinor/tokenizer/regex.h"

namespace spinor::tokenizer {

class Decoder {
 public:
  Decoder() = default;  // tokens with spaces between them
  // null, Sequence, ByteLevel, Metaspace, Replace, ByteFallback, Fuse or Strip; Error for anything else, and for orders
  // of these that cannot go token by token: Strip at the end of fused text, Replace of more than a character in it.
  static Decoder read(const Json& json, const Place& place);

  // What the steps remember from one token to the next.
  struct State {
    struct Step {
      int64_t count = 0;    // tokens seen, or characters stripped
      bool done = false;    // nothing more to strip
      std::string waiting;  // bytes that may become a character
    };
    std::vector<Step> steps;
    bool any = false;
  };
  State start() const { return {std::vector<State::Step>(steps_.size()), false}; }
  // The text that the next token completes. Together with finish() it is what the peer decodes at once.
  std::string push(std::string token, State& state) const;
  std::string finish(State& state) const;  // what still waits

 private:
  struct Bytes {};  // ByteLevel
  struct Metaspace {
    char32_t replacement;
    bool drops_first;
  };
  struct Replace {
    Regex pattern;
    std::string content;
  };
  struct ByteFallback {};
  struct Fuse {};  // all tokens become one
  struct Strip {
    char32_t content;
    int64_t start, stop;
    bool fused;  // behind Fuse: of the whole text, not of every token
  };

 public:
  using Step = std::variant<Bytes, Metaspace, Replace, ByteFallback, Fuse, Strip>;

 private:
  friend struct DecoderParts;
  using Tokens = std::vector<std::string>;
  static void apply(const Step& step, std::string token, State::Step& state, Tokens& out);
  static void finish(const Step& step, State::Step& state, Tokens& out);
  Tokens run(size_t from, Tokens tokens, State& state) const;
  void check_order(const Place& place);

  std::vector<Step> steps_;
  bool joins_with_spaces_ = true;
};

}  // namespace spinor::tokenizer
