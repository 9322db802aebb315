#include "spinor/model/end_tokens.h"

#include <gtest/gtest.h>

#include "spinor/io/file.h"
#include "spinor/model/testing.h"

namespace spinor::end_tokens_test {
namespace {

using Ids = std::vector<int32_t>;
using testing::message_of;
using testing::TemporaryDirectory;

// Of a Llama with these keys in config.json, null: as it is without, and this generation_config.json, "": without.
Ids read(const TemporaryDirectory& directory, const Json& keys, const std::string& generation = "") {
  testing::ArchitectureCase model = testing::read_architecture_cases("llama").front();
  model.config.erase("eos_token_id");
  model.config.update(keys);
  Checkpoint checkpoint = testing::write_checkpoint(directory.path(), model);
  if (!generation.empty()) write_text(directory / "generation_config.json", generation);
  return end_tokens(Model::describe(std::move(checkpoint)));
}

Ids end_of(const Json& keys, const std::string& generation = "") {
  const TemporaryDirectory directory;
  return read(directory, keys, generation);
}

std::string end_refused(const Json& keys, const std::string& generation = "") {
  const TemporaryDirectory directory;
  return message_of([&] { read(directory, keys, generation); }, directory.path());
}

const Json kSeven = {{"eos_token_id", 7}};

TEST(EndTokens, AreOneOrSeveral) {
  EXPECT_EQ(end_of(kSeven), Ids{7});
  EXPECT_EQ(end_of({{"eos_token_id", {7, 9}}}), (Ids{7, 9}));
  EXPECT_EQ(end_of({{"eos_token_id", nullptr}}), Ids{});
  EXPECT_EQ(end_of(Json::object()), Ids{});
}

TEST(EndTokens, AreThoseOfGenerationConfig) {
  EXPECT_EQ(end_of(kSeven, R"({"eos_token_id": [3, 5]})"), (Ids{3, 5}));
  EXPECT_EQ(end_of(kSeven, R"({"eos_token_id": 3})"), Ids{3});
  EXPECT_EQ(end_of(kSeven, "{}"), Ids{}) << "transformers does not stop either";
  EXPECT_EQ(end_of(kSeven, R"({"eos_token_id": null})"), Ids{});
}

TEST(EndTokens, AreThoseOfTheDecoderWhereConfigHasNone) {
  const Json text = {{"text_config", kSeven}};
  EXPECT_EQ(end_of(text), Ids{7});
  Json both = text;
  both["eos_token_id"] = 9;
  EXPECT_EQ(end_of(both), Ids{9});
  both["eos_token_id"] = nullptr;
  EXPECT_EQ(end_of(both), Ids{7});
}

TEST(EndTokens, SayWhatIsNone) {
  EXPECT_EQ(end_refused({{"eos_token_id", "</s>"}}), "config.json: eos_token_id is \"</s>\", not a token");
  EXPECT_EQ(end_refused({{"eos_token_id", {1, 2.5}}}), "config.json: eos_token_id is [1,2.5], not a token");
  EXPECT_EQ(end_refused({{"eos_token_id", int64_t{1} << 40}}),
            "config.json: eos_token_id is 1099511627776, not a token");
  EXPECT_EQ(end_refused(kSeven, R"({"eos_token_id": true})"),
            "generation_config.json: eos_token_id is true, not a token");
  EXPECT_EQ(end_refused(kSeven, "[]"), "generation_config.json: generation_config.json must be a map, not []");
}

}  // namespace
}  // namespace spinor::end_tokens_test
