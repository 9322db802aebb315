#include "spinor/model/module_name.h"

#include <gtest/gtest.h>

namespace spinor::module_name_test {
namespace {

TEST(ModuleName, HasAParentAndALastComponent) {
  EXPECT_EQ(parent_of("a.b.c"), "a.b");
  EXPECT_EQ(last_component("a.b.c"), "c");
  EXPECT_EQ(parent_of("a"), "");
  EXPECT_EQ(last_component("a"), "a");
}

TEST(ModuleName, CountsToTheNumberOfExperts) {
  EXPECT_EQ(numbered("experts.{E}.up", 12), "experts.12.up");
  EXPECT_EQ(numbered("up", 12), "up");
  EXPECT_EQ(counted("e.{E}", 2), (std::vector<std::string>{"e.0", "e.1"}));
  EXPECT_EQ(counted("e.{E}", 0), std::vector<std::string>());
  EXPECT_EQ(counted("up", 0), std::vector<std::string>{"up"});
}

TEST(ModuleName, FindsANumberAgain) {
  EXPECT_EQ(number_in("experts.12.up", "experts.{E}.up"), 12);
  EXPECT_EQ(number_in("tables.3", "tables.{E}"), 3);
  for (const char* name : {"experts.up", "experts..up", "experts.1.2.up", "experts.x.up", "experts.1.up.weight",
                           "experts.99999999999999999999.up"})
    EXPECT_EQ(number_in(name, "experts.{E}.up"), std::nullopt) << name;
  EXPECT_EQ(number_in("up", "up"), std::nullopt);
}

TEST(ModuleName, OfALayerIsBelowItOrBesideTheList) {
  EXPECT_EQ(name_in_layer("model.layers.3.", "mlp.up"), "model.layers.3.mlp.up");
  EXPECT_EQ(name_in_layer("model.layers.3.", "mlps.{L}.up"), "model.mlps.3.up");
  EXPECT_EQ(name_in_layer("layers.10.", "norms.{L}"), "norms.10");
  EXPECT_EQ(name_in_layer("", "head"), "head");
}

TEST(ModuleName, TellsNumbersAndEmbeddings) {
  EXPECT_TRUE(is_number("012"));
  for (const char* text : {"", "-1", "1a", "1.0"}) EXPECT_FALSE(is_number(text)) << text;
  for (const char* name : {"model.embed_tokens", "transformer.wpe", "tok_embeddings"})
    EXPECT_TRUE(names_embedding(name)) << name;
  for (const char* name : {"embed_out", "embed_norm", "embed.proj"}) EXPECT_FALSE(names_embedding(name)) << name;
}

}  // namespace
}  // namespace spinor::module_name_test
