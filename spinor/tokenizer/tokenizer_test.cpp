#include "spinor/tokenizer/tokenizer.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "spinor/io/testing.h"
#include "spinor/tokenizer/byte_alphabet.h"
#include "spinor/tokenizer/utf8.h"

namespace spinor::tokenizer::tokenizer_test {
namespace {

using testing::message_of;
using Ids = std::vector<int32_t>;

// Byte-level: all bytes, then "he", "ll", "hell".
Json byte_level() {
  Json vocabulary = Json::object();
  for (int byte = 0; byte < 256; ++byte) {
    std::string character;
    append_as_alphabet(character, std::string(1, static_cast<char>(byte)));
    vocabulary[character] = byte;
  }
  vocabulary["he"] = 256, vocabulary["ll"] = 257, vocabulary["hell"] = 258;
  return {{"version", "1.0"},
          {"added_tokens", Json::array()},
          {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
          {"decoder", {{"type", "ByteLevel"}}},
          {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", {"h e", "l l", "he ll"}}}}};
}

// SentencePiece's: <unk>, bytes, and a few pieces.
Json sentencepiece() {
  Json vocabulary = {{"<unk>", 0}};
  for (int byte = 0; byte < 256; ++byte) vocabulary[fmt::format("<0x{:02X}>", byte)] = byte + 1;
  int id = 257;
  for (const char* piece : {"▁", "a", "b", "▁a", "ab", "▁ab"}) vocabulary[piece] = id++;
  const Json string = {{"String", "▁"}};
  const Json decoders = {{{"type", "Replace"}, {"pattern", string}, {"content", " "}},
                         {{"type", "ByteFallback"}},
                         {{"type", "Fuse"}},
                         {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}};
  return {
      {"pre_tokenizer", {{"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", "first"}, {"split", false}}},
      {"decoder", {{"type", "Sequence"}, {"decoders", decoders}}},
      {"model",
       {{"type", "BPE"},
        {"unk_token", "<unk>"},
        {"byte_fallback", true},
        {"vocab", vocabulary},
        {"merges", Json::array({Json::array({"▁", "a"}), Json::array({"a", "b"}), Json::array({"▁a", "b"})})}}}};
}

Json replace(const char* what, const char* by) {
  return {{"type", "Replace"}, {"pattern", {{"String", what}}}, {"content", by}};
}

// What transformers makes of a byte-level GGUF.
Json byte_level_from_gguf() {
  Json document = byte_level();
  document["decoder"] = {
      {"type", "Sequence"},
      {"decoders", {{{"type", "ByteFallback"}}, {{"type", "Fuse"}}, replace("▁", " "), {{"type", "ByteLevel"}}}}};
  return document;
}

Json added(const char* content, int id, Json changes = Json::object()) {
  Json token = {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
                {"rstrip", false}, {"normalized", false}, {"special", true}};
  token.update(changes);
  return token;
}

Tokenizer make(const Json& document, std::string_view config = {}) {
  return Tokenizer::parse(document.dump(), config);
}

std::string refusal(const Json& document) {
  return message_of([&] { make(document); });
}

TEST(Tokenizer, MergesTheLowestRankFirst) {
  const Tokenizer tokenizer = make(byte_level());
  EXPECT_EQ(tokenizer.encode("hello hell"), (Ids{258, 'o', ' ', 258}));
  EXPECT_EQ(tokenizer.encode("lllheh"), (Ids{257, 'l', 256, 'h'}));
  EXPECT_EQ(tokenizer.encode(""), Ids{});
  EXPECT_EQ(tokenizer.size(), 259);
}

TEST(Tokenizer, IgnoreMergesTakesWholeWordsFromTheVocabulary) {
  Json document = byte_level();
  document["model"]["vocab"]["abc"] = 259;
  EXPECT_EQ(make(document).encode("abc"), (Ids{'a', 'b', 'c'}));
  document["model"]["ignore_merges"] = true;
  EXPECT_EQ(make(document).encode("abc abcd"), (Ids{259, ' ', 'a', 'b', 'c', 'd'}));
}

TEST(Tokenizer, BytesStandForCharactersThatAreNotInTheVocabulary) {
  const Tokenizer tokenizer = make(sentencepiece());
  EXPECT_EQ(tokenizer.encode("abé a"), (Ids{262, 1 + 0xC3, 1 + 0xA9, 260}));
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("abé a")), "abé a");
  EXPECT_EQ(tokenizer.decode(std::vector<int32_t>{262, 1 + 0xC3, 258}), "ab\uFFFDa");
}

TEST(Tokenizer, UnknownCharactersAreFusedOrDropped) {
  Json document = sentencepiece();
  document["model"]["byte_fallback"] = false;
  EXPECT_EQ(make(document).encode("axyb"), (Ids{260, 0, 0, 259}));
  document["model"]["fuse_unk"] = true;
  EXPECT_EQ(make(document).encode("axyb"), (Ids{260, 0, 259}));
  document["model"]["unk_token"] = nullptr;
  EXPECT_EQ(make(document).encode("axyb"), (Ids{262}));
  document["model"]["unk_token"] = "?";
  EXPECT_EQ(message_of([&] { make(document).encode("x"); }),
            "tokenizer.json: model.unk_token '?' is not in the vocabulary");
}

TEST(Tokenizer, FindsAddedTokensLeftmostAndLongest) {
  Json document = byte_level();
  document["added_tokens"] = {added("<s>", 259), added("<s>>", 260), added("he", 256)};
  EXPECT_EQ(make(document).encode("a<s><s>>hello<s"), (Ids{'a', 259, 260, 256, 257, 'o', '<', 's'}));
}

TEST(Tokenizer, AddedTokensTakeSpacesAndWholeWords) {
  Json document = byte_level();
  document["added_tokens"] = {added("L", 'L', {{"lstrip", true}}), added("R", 'R', {{"rstrip", true}}),
                              added("he", 256, {{"single_word", true}})};
  EXPECT_EQ(make(document).encode("a \tL b"), (Ids{'a', 'L', ' ', 'b'}));
  EXPECT_EQ(make(document).encode("R \n\nb"), (Ids{'R', 'b'}));
  EXPECT_EQ(make(document).encode("he.hell"), (Ids{256, '.', 258}));
}

TEST(Tokenizer, SpecialTokensAreLeftOutOnRequest) {
  Json document = byte_level();
  document["added_tokens"] = {added("<s>", 259), added("<t>", 260, {{"special", false}})};
  const Tokenizer tokenizer = make(document);
  const Ids ids = {259, 258, 260, 'o', 1000, -1};
  EXPECT_EQ(tokenizer.decode(ids), "<s>hell<t>o");
  EXPECT_EQ(tokenizer.decode(ids, SpecialTokens::skip), "hell<t>o");
}

TEST(Tokenizer, TheEndsComeFromTheConfigOrTheTemplate) {
  Json document = byte_level();
  document["added_tokens"] = {added("<s>", 259), added("</s>", 260)};
  EXPECT_EQ(make(document).bos(), std::nullopt);
  const Json text = {{"Sequence", {{"id", "A"}}}};
  const auto special = [](const char* id) { return Json{{"SpecialToken", {{"id", id}, {"type_id", 0}}}}; };
  document["post_processor"] = {{"type", "TemplateProcessing"},
                                {"single", Json::array({special("<s>"), text, special("</s>")})}};
  EXPECT_EQ(make(document).bos(), 259);
  EXPECT_EQ(make(document).eos(), 260);
  EXPECT_EQ(make(document, R"({"bos_token": null, "eos_token": {"content": "<s>"}})").bos(), std::nullopt);
  EXPECT_EQ(make(document, R"({"bos_token": null, "eos_token": {"content": "<s>"}})").eos(), 259);
}

TEST(Tokenizer, TextThatIsNotUtf8IsRefusedWithTheByte) {
  const Tokenizer tokenizer = make(byte_level());
  for (const std::string bad : {"ab\xff", "ab\xc3", "ab\xed\xa0\x80", "ab\xc0\x80", "ab\xf4\x90\x80\x80"})
    EXPECT_EQ(message_of([&] { tokenizer.encode(bad); }), "text: is not UTF-8 at byte 2");
}

TEST(Tokenizer, NormalizesBeforeItMerges) {
  Json document = byte_level();
  document["normalizer"] = {{"type", "NFC"}};
  EXPECT_EQ(make(document).encode("e\u0301"), (Ids{0xC3, 0xA9}));
  EXPECT_EQ(make(document).encode("\uAC00\u11A8"), make(document).encode("\uAC01"));
}

RC_GTEST_PROP(Tokenizer, BytesComeBack, (const std::vector<uint32_t>& codes)) {
  static const Tokenizer tokenizer = make(byte_level());
  std::string text;
  for (const uint32_t code : codes)
    if (const char32_t c = code % 0x110000; c < 0xD800 || c >= 0xE000) append_utf8(text, c);
  RC_ASSERT(tokenizer.decode(tokenizer.encode(text)) == text);
}

RC_GTEST_PROP(TokenStream, NeverEndsInsideACharacter, (const std::vector<uint8_t>& choices)) {
  static const Tokenizer tokenizers[] = {make(byte_level()), make(sentencepiece()), make(byte_level_from_gguf())};
  for (const Tokenizer& tokenizer : tokenizers) {
    const Ids ids(choices.begin(), choices.end());
    TokenStream stream(tokenizer);
    std::string text;
    for (const int32_t id : ids) {
      const std::string piece = stream.push(id);
      RC_ASSERT(!find_invalid_utf8(piece));
      text += piece;
    }
    RC_ASSERT(text + stream.finish() == tokenizer.decode(ids));
  }
}

TEST(TokenStream, WaitsForTheRestOfACharacter) {
  const Tokenizer tokenizer = make(byte_level());
  TokenStream stream(tokenizer);
  EXPECT_EQ(stream.push(0xE2), "");
  EXPECT_EQ(stream.push(0x82), "");
  EXPECT_EQ(stream.push(0xAC), "€");
  EXPECT_EQ(stream.push(0xF0), "");
  EXPECT_EQ(stream.push('a'), "\uFFFDa");
  EXPECT_EQ(stream.push(0xF0), "");
  EXPECT_EQ(stream.finish(), "\uFFFD");
}

std::string pushed(TokenStream& stream, const Ids& ids) {
  std::string text;
  for (const int32_t id : ids) text += stream.push(id);
  return text;
}

TEST(TokenStream, GoesByPartsWhereEveryTokenIsOfBytes) {
  const Tokenizer tokenizer = make(byte_level_from_gguf());
  TokenStream stream(tokenizer);
  EXPECT_EQ(stream.push(258), "hell");
  EXPECT_EQ(pushed(stream, {0xE2, 0x82}), "");
  EXPECT_EQ(stream.push(0xAC), "€");
}

TEST(TokenStream, WaitsForTheEndWhereATokenChangesAllOfTheText) {
  Json document = byte_level_from_gguf();
  document["added_tokens"] = {added("▁", 259)};
  const Tokenizer tokenizer = make(document);
  for (const bool raw : {false, true}) {
    TokenStream stream(tokenizer);
    EXPECT_EQ(pushed(stream, {258, 0xE2, 0x82, 0xAC}), "");
    EXPECT_EQ(raw ? stream.push(259) : "", "");
    EXPECT_EQ(stream.finish(), raw ? "hellâĤ¬ " : "hell€") << "as the peer has it";
    EXPECT_EQ(stream.push('a'), "");
    EXPECT_EQ(stream.finish(), "a") << "and begins anew";
  }
}

TEST(Tokenizer, ADecoderThatIsNotKnownStopsDecodingAlone) {
  Json document = byte_level();
  document["decoder"] = {{"type", "CTC"}};
  const std::string message =
      "tokenizer.json: decoder.type 'CTC' is not supported; known: Sequence, ByteLevel, Metaspace, Replace, Fuse, "
      "ByteFallback, Strip";
  const testing::TemporaryDirectory directory;
  write_text(directory / "tokenizer.json", document.dump());
  const Tokenizer tokenizer = Tokenizer::load(directory.path());
  EXPECT_EQ(tokenizer.encode("hello"), (Ids{258, 'o'}));
  EXPECT_EQ(message_of([&] { tokenizer.decode(Ids{258}); }, directory.path()), message);
  EXPECT_EQ(message_of([&] { TokenStream stream(tokenizer); }, directory.path()), message);
}

TEST(Tokenizer, MergesThatCrossWordsAreFollowed) {
  Json document = sentencepiece();
  const Tokenizer apart = make(document);
  EXPECT_EQ(apart.encode("ab a  b"), (Ids{262, 260, 257, 257, 259}));
  document["model"]["vocab"]["b▁"] = 263;
  document["model"]["merges"].insert(document["model"]["merges"].begin(), Json::array({"b", "▁"}));
  EXPECT_EQ(make(document).encode("ab a  b"), (Ids{260, 263, 258, 257, 257, 259}));
}

TEST(Tokenizer, LongWordsAreNotQuadratic) {
  const Tokenizer tokenizer = make(sentencepiece());
  std::string text;
  for (int i = 0; i < 500'000; ++i) text += "ab";
  EXPECT_EQ(tokenizer.encode(text).size(), 500'000u);
}

struct Refused {
  const char* pointer;
  Json value;
  const char* message;
};

TEST(Tokenizer, RefusesWhatItCannotReadAlike) {
  const Json letters = {{"String", "a"}};
  const Refused kRefused[] = {
      {"/version", "2.0", "version \"2.0\" is not supported; 1.0 is read"},
      {"/truncation", {{"max_length", 5}}, "truncation would cut texts short; set it to null"},
      {"/model/type", "WordPiece", "model.type 'WordPiece' is not supported; only BPE models are read"},
      {"/model/dropout", 0.1, "model.dropout makes the tokens random; set it to null"},
      {"/model/continuing_subword_prefix", "##", "model.continuing_subword_prefix is not supported"},
      {"/model/end_of_word_suffix", "</w>", "model.end_of_word_suffix is not supported"},
      {"/model/vocab/a", "x", "model.vocab.a must be an integer, not \"x\""},
      {"/model/vocab/a", -1, "model.vocab: the id -1 of 'a' is not in 0 to 2^31 - 2"},
      {"/model/vocab/a", 1ull << 40, "model.vocab: the id 1099511627776 of 'a' is not in 0 to 2^31 - 2"},
      {"/model/vocab/a", 98, "model.vocab: 'a' and 'b' have the same id 98"},
      {"/model/merges/0", "h", "model.merges[0] is not two tokens with a space between them"},
      {"/model/merges/0", "h x", "model.merges[0]: 'hx' is not in the vocabulary"},
      {"/model/merges/0", {"h", 1}, "model.merges[0] is not a pair of tokens"},
      {"/model/merges/1", {"l", "l"}, "model.merges[1] is not a string as the ones before it"},
      {"/model/unknown", 1,
       "unknown key 'unknown' in model; known: type, dropout, unk_token, continuing_subword_prefix, "
       "end_of_word_suffix, fuse_unk, byte_fallback, ignore_merges"},
      {"/normalizer",
       {{"type", "Precompiled"}},
       "normalizer.type 'Precompiled' is not supported; known: Sequence, NFC, NFD, NFKC, NFKD, Prepend, Replace, "
       "Strip, "
       "ByteLevel"},
      {"/normalizer", {{"type", "Prepend"}, {"prepend", 1}}, "normalizer.prepend must be a string, not 1"},
      {"/pre_tokenizer/use_regex", 1, "pre_tokenizer.use_regex must be true or false, not 1"},
      {"/pre_tokenizer",
       {{"type", "Split"}, {"pattern", letters}, {"behavior", "removed"}, {"invert", false}},
       "pre_tokenizer.behavior must be one of Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous, not "
       "'removed'; did you mean 'Removed'?"},
      {"/added_tokens",
       {added("a", 1)},
       "added_tokens[0]: 'a' has the id 1, but would be loaded as 97; save the tokenizer with the library that made "
       "it"},
      {"/added_tokens",
       {added("x<", 400)},
       "added_tokens[0]: 'x<' has the id 400, but would be loaded as 259; save the tokenizer with the library that "
       "made "
       "it"},
      {"/added_tokens", {added("a", 97), added("a", 97)}, "added_tokens[1]: 'a' is listed twice"},
  };
  for (const auto& [pointer, value, message] : kRefused) {
    Json document = byte_level();
    document[Json::json_pointer(pointer)] = value;
    EXPECT_EQ(refusal(document), std::string("tokenizer.json: ") + message);
  }
}

TEST(Tokenizer, RefusesExpressionsThatOnigurumaReadsInAnotherWay) {
  const auto split = [](const std::string& expression) {
    Json document = byte_level();
    document["pre_tokenizer"] = {
        {"type", "Split"}, {"pattern", {{"Regex", expression}}}, {"behavior", "Isolated"}, {"invert", false}};
    return refusal(document);
  };
  for (const std::string expression : {"^a",           "a$",      "\\h",         "\\bword",     "\\1",
                                       "\\R",          "\\X",     "a{,3}",       "a{2}+",       "[a[b]]",
                                       "[a&&b]",       "[]a]",    "[[:alpha:]]", "\\p{Han}",    "\\p{^L}",
                                       "(?i)a",        "(?m:a)",  "(?<n>a)",     "(?i:ss)",     "(?i:é)",
                                       "(?i:\\p{Lu})", "[\\d-z]", "\\xff",       "\\x{110000}", "[\\u0000-\\uffff]",
                                       "(a",           "a)",      "[a",          "a\\",         "*",
                                       "(?#x)",        "\\C",     "(*ACCEPT)",   "\U00011DE0"})
    EXPECT_NE(split(expression), "") << expression;
  EXPECT_EQ(
      split("a^"),
      "tokenizer.json: pre_tokenizer.pattern.Regex: the expression has a line anchor at offset 1; only what Oniguruma "
      "and PCRE2 read alike is supported");
  EXPECT_EQ(split(R"((?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|\s+(?!\S)|\s+|\x{41}-\u00e9[一-龥]\w\W)"), "");
}

TEST(Tokenizer, HostileExpressionsEnd) {
  Json document = byte_level();
  document["pre_tokenizer"] = {
      {"type", "Split"}, {"pattern", {{"Regex", "(?:a|aa)+[bc]"}}}, {"behavior", "Isolated"}, {"invert", false}};
  const Tokenizer tokenizer = make(document);
  EXPECT_EQ(message_of([&] { tokenizer.encode(std::string(60, 'a')); }),
            "tokenizer.json: pre_tokenizer.pattern.Regex: cannot be matched against the text: match limit exceeded");
}

TEST(Tokenizer, LoadNamesTheFile) {
  const testing::TemporaryDirectory directory;
  const auto load = [&] { return message_of([&] { Tokenizer::load(directory.path()); }, directory.path()); };
  EXPECT_TRUE(load().ends_with("has no tokenizer.json; save the tokenizer with a current version of transformers"));
  write_text(directory / "tokenizer.json", "{");
  EXPECT_TRUE(load().starts_with("tokenizer.json:1:"));
  write_text(directory / "tokenizer.json", "[]");
  EXPECT_EQ(load(), "tokenizer.json: tokenizer.json must be a map, not []");
  write_text(directory / "tokenizer.json", "{}");
  EXPECT_EQ(load(), "tokenizer.json: model must be a map, not null");
  write_text(directory / "tokenizer.json", byte_level().dump());
  EXPECT_EQ(load(), "");
  write_text(directory / "tokenizer_config.json", R"({"bos_token": 5})");
  EXPECT_EQ(load(), "tokenizer_config.json: bos_token is not a token");
}

}  // namespace
}  // namespace spinor::tokenizer::tokenizer_test
