#include "spinor/family/model_config.h"

#include <gtest/gtest.h>

#include "spinor/model/testing.h"

namespace spinor::model_config_test {
namespace {

TEST(ModelConfig, DefaultsOfKeysLeftOutAreTransformers) {
  for (const char* family : testing::kFamilies) {
    SCOPED_TRACE(family);
    Json config = testing::read_architecture_cases(family).front().config;
    for (const char* key : {"num_key_value_heads", "head_dim", "tie_word_embeddings", "attention_bias", "mlp_bias"})
      config.erase(key);
    config["hidden_size"] = 4096;
    config["num_attention_heads"] = 64;
    const std::string name = read_architecture_name(config, "config.json");
    const ModelConfig read = read_model_config(config, find_architecture(name), "config.json");
    const Json defaults = testing::read_architecture_defaults(family);
    EXPECT_EQ(read.num_key_value_heads, defaults.at("num_key_value_heads").get<int64_t>());
    EXPECT_EQ(read.head_dim, defaults.value("head_dim", int64_t{4096 / 64}));
    EXPECT_EQ(read.tie_word_embeddings, defaults.at("tie_word_embeddings").get<bool>());
    for (const char* key : {"attention_bias", "mlp_bias"})
      EXPECT_EQ(is_so(key, read, false), defaults.value(key, false));
  }
}

TEST(ModelConfig, KeysThatTheClassDoesNotHaveMeanNothing) {
  const Json gpt2 = {{"n_embd", 24}, {"n_layer", 2}, {"n_head", 3}, {"n_inner", 40}};
  Json with_others = gpt2;
  with_others.update({{"intermediate_size", 96}, {"hidden_act", "relu"}, {"head_dim", 5}, {"num_key_value_heads", 1}});
  for (const Json& config : {gpt2, with_others}) {
    const ModelConfig read = read_model_config(config, find_architecture("GPT2LMHeadModel"), "config.json");
    EXPECT_EQ(read.intermediate_size, 40);
    EXPECT_EQ(read.activation, "gelu_new");
    EXPECT_EQ(read.head_dim, 8);
    EXPECT_EQ(read.num_key_value_heads, 3);
  }
  // Another name of a key that the class has goes before it.
  with_others.update({{"hidden_size", 48}, {"max_position_embeddings", 7}});
  const ModelConfig read = read_model_config(with_others, find_architecture("GPT2LMHeadModel"), "config.json");
  EXPECT_EQ(read.hidden_size, 48);
  EXPECT_EQ(size_of("n_positions", read), 7);
}

TEST(ModelConfig, WithoutARowOnlyWhatTheFileHasIsSet) {
  const ModelConfig empty = read_model_config(Json::object(), nullptr, "config.json");
  EXPECT_EQ(empty.hidden_size, std::nullopt);
  EXPECT_EQ(empty.head_dim, std::nullopt);
  EXPECT_FALSE(empty.tie_word_embeddings);
  const ModelConfig some = read_model_config({{"hidden_size", 24}, {"num_attention_heads", 6}}, nullptr, "config.json");
  EXPECT_EQ(some.head_dim, 4);
  EXPECT_EQ(some.num_key_value_heads, 6);
  EXPECT_EQ(read_architecture_name(Json::object(), "config.json"), "");
}

}  // namespace
}  // namespace spinor::model_config_test
