// Text to tokens and back, as the Hugging Face tokenizer.json of a checkpoint says: byte-level BPE (Llama 3, Qwen,
// SmolLM2, GPT-2) and SentencePiece's BPE (Llama 2, Mistral). The ids are those of the tokenizers library 0.23.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "spinor/base/error.h"
#include "spinor/base/json.h"
#include "spinor/tokenizer/added_tokens.h"
#include "spinor/tokenizer/bpe.h"
#include "spinor/tokenizer/decoder.h"
#include "spinor/tokenizer/normalizer.h"
#include "spinor/tokenizer/pre_tokenizer.h"

namespace spinor::tokenizer {

enum class SpecialTokens { keep, skip };

// May be used from several threads at once.
class Tokenizer {
 public:
  // Reads tokenizer.json, and tokenizer_config.json if there is one, of a checkpoint directory. Error, naming the file
  // and the key, for anything that is not supported; but a decoder that is not is one when something is decoded.
  static Tokenizer load(const std::filesystem::path& directory);
  // The same from the texts of the files; an empty config is none.
  static Tokenizer parse(std::string_view tokenizer_json, std::string_view tokenizer_config = {});

  // The text as it is: special tokens in it are found, none are added. O(n log n), about 10 MB/s for words that repeat.
  // Error for text that is not UTF-8, with the offset of the byte.
  std::vector<int32_t> encode(std::string_view text) const;
  // Ids without a token are left out. Bytes that are not UTF-8 become U+FFFD. Error for a decoder that is not
  // supported.
  std::string decode(std::span<const int32_t> ids, SpecialTokens special = SpecialTokens::keep) const;

  // From tokenizer_config.json, or else from the post-processor's template; nothing if neither names one.
  std::optional<int32_t> bos() const { return bos_; }
  std::optional<int32_t> eos() const { return eos_; }
  std::optional<int32_t> id_of(std::string_view token) const;
  // One more than the largest id.
  int64_t size() const { return int64_t{std::max(model_.largest_id(), added_.largest_id())} + 1; }

 private:
  friend class TokenStream;
  void read_decoder(const Json& json);
  const Decoder& decoder() const;
  void read_ends(const Json& post_processor, std::string_view config);
  void encode_stretch(std::string_view text, PreTokenizer::Position position, BpeModel::Cache& cache,
                      std::vector<int32_t>& ids) const;
  // As the decoder is to see it; null: left out.
  const std::string* shown(int32_t id, SpecialTokens special) const;

  BpeModel model_;
  Normalizer normalizer_;
  PreTokenizer pre_tokenizer_;
  AddedTokens added_;
  Decoder decoder_;
  std::optional<Error> no_decoder_;  // why decoder_ is none
  std::optional<int32_t> bos_, eos_;
};

// Decodes ids as they come, for a terminal. The texts end to end are decode() of all ids; each ends with a whole
// character. All of it comes with finish() where the decoder needs the whole text. The tokenizer must outlive it.
class TokenStream {
 public:
  // Error for a decoder that is not supported.
  explicit TokenStream(const Tokenizer& tokenizer, SpecialTokens special = SpecialTokens::keep)
      : tokenizer_(tokenizer), special_(special), state_(tokenizer.decoder().start()) {}

  std::string push(int32_t id);  // the text that is complete with this id; often empty in the middle of a character
  std::string finish();          // what is left, after the last id

 private:
  const Tokenizer& tokenizer_;
  SpecialTokens special_;
  Decoder::State state_;
};

}  // namespace spinor::tokenizer
