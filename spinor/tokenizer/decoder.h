// The "decoder" of tokenizer.json: tokens back to text, one token at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
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
  // Whether all tokens of the vocabulary pass a test.
  using EveryToken = std::function<bool(const std::function<bool(const std::string&)>& passes)>;
  // null, Sequence, ByteLevel, Metaspace, Replace, ByteFallback, Fuse or Strip, in any order; Error for anything else.
  static Decoder read(const Json& json, const Place& place, const EveryToken& every_token);

  // What the steps remember from one token to the next.
  struct State {
    struct Step {
      int64_t count = 0;    // tokens seen, or characters stripped
      bool done = false;    // nothing more to strip
      std::string waiting;  // bytes that may become a character
    };
    std::vector<Step> steps;
    bool any = false;
    std::string held;  // text for steps that need all of it
  };
  State start() const { return {std::vector<State::Step>(steps_.size()), false, {}}; }
  // The text that the next token completes; nothing before finish() where a step behind Fuse or ByteLevel needs the
  // whole text. Together with finish() it is what the peer decodes at once, from a list of all tokens.
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
    bool fused;  // behind Fuse, but by parts: of the whole text, not of every token
  };

 public:
  using Step = std::variant<Bytes, Metaspace, Replace, ByteFallback, Fuse, Strip>;

 private:
  friend struct DecoderParts;
  using Tokens = std::vector<std::string>;
  static void apply(const Step& step, std::string token, State::Step& state, Tokens& out);
  static void finish(const Step& step, State::Step& state, Tokens& out);
  Tokens run(size_t from, size_t end, Tokens tokens, State& state) const;
  Tokens finish_steps(size_t from, size_t end, State& state) const;
  bool goes_by_parts(size_t step, const EveryToken& every_token) const;
  void divide(const EveryToken& every_token);

  std::vector<Step> steps_;
  size_t whole_ = 0;  // steps from this one on get the whole text as one token, those before it one token at a time
  bool joins_with_spaces_ = true;
};

}  // namespace spinor::tokenizer
