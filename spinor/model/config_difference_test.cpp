#include "spinor/model/config_difference.h"

#include <gtest/gtest.h>

#include "spinor/model/testing.h"

namespace spinor::config_difference_test {
namespace {

using testing::ArchitectureCase;
using testing::TemporaryDirectory;

ArchitectureCase llama() {
  return testing::read_architecture_cases("llama").front();
}

// The keys in which an output with this config.json differs; "remove" takes a key away.
std::vector<std::string> keys_that_differ(const ArchitectureCase& source, const Json& changes) {
  const TemporaryDirectory before, after;
  ArchitectureCase output = source;
  for (const auto& [key, value] : changes.items())
    if (value == "remove")
      output.config.erase(key);
    else
      output.config[key] = value;
  const Model a = Model::describe(testing::write_checkpoint(before.path(), source)),
              b = Model::describe(testing::write_checkpoint(after.path(), output));
  std::vector<std::string> keys;
  for (const ConfigDifference& one : config_differences(a, b)) keys.push_back(one.key);
  return keys;
}

using Keys = std::vector<std::string>;

TEST(ConfigDifference, KeysOfTheForwardPassAreFound) {
  const Json rope = {{"rope_type", "default"}, {"rope_theta", 77.0}};
  for (const auto& [key, value] : std::vector<std::pair<std::string, Json>>{
           {"rms_norm_eps", 0.1}, {"hidden_act", "gelu"}, {"rope_parameters", rope}, {"model_type", "mistral"}})
    EXPECT_EQ(keys_that_differ(llama(), {{key, value}}), Keys{key});
  const ArchitectureCase granite = testing::read_architecture_cases("granite").front();
  for (const char* key : {"embedding_multiplier", "residual_multiplier", "attention_multiplier", "logits_scaling"})
    EXPECT_EQ(keys_that_differ(granite, {{key, 3.5}}), Keys{key});
}

TEST(ConfigDifference, SeveralAreAllNamed) {
  EXPECT_EQ(keys_that_differ(llama(), {{"rms_norm_eps", 0.1}, {"hidden_act", "relu"}, {"use_cache", false}}),
            (Keys{"hidden_act", "rms_norm_eps"}));
}

TEST(ConfigDifference, WhatChangesNothingIsNone) {
  EXPECT_EQ(keys_that_differ(llama(), Json::object()), Keys{});
  EXPECT_EQ(keys_that_differ(llama(), {{"transformers_version", "0.0"},
                                       {"dtype", "float16"},
                                       {"use_cache", "remove"},
                                       {"attention_dropout", 0.5},
                                       {"eos_token_id", 1},
                                       {"sliding_window", 2},  // Llama's class has no such key
                                       {"a_key_of_my_own", true}}),
            Keys{});
}

TEST(ConfigDifference, AnOlderNameOfTheSameValueIsNone) {
  ArchitectureCase newer = llama();
  newer.config["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 500.0}};
  newer.config.erase("rope_theta");
  EXPECT_EQ(keys_that_differ(newer, {{"rope_parameters", "remove"}, {"rope_theta", 500.0}}), Keys{});
  EXPECT_EQ(keys_that_differ(newer, {{"rope_parameters", "remove"}, {"rope_theta", 600.0}}),
            (Keys{"rope_parameters", "rope_theta"}));
}

TEST(ConfigDifference, ValuesAreThoseOfTheFiles) {
  const TemporaryDirectory before, after;
  ArchitectureCase output = llama();
  output.config["rms_norm_eps"] = 0.25;
  const auto found = config_differences(Model::describe(testing::write_checkpoint(before.path(), llama())),
                                        Model::describe(testing::write_checkpoint(after.path(), output)));
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].source, llama().config["rms_norm_eps"]);
  EXPECT_EQ(found[0].output, 0.25);
}

// What spinor cannot run it cannot read either: then every key counts that is not known to change nothing.
TEST(ConfigDifference, OfWhatCannotBeRunEveryKeyCounts) {
  ArchitectureCase odd = llama();
  odd.config["rope_parameters"] = {{"rope_type", "of my own"}, {"rope_theta", 500.0}};
  EXPECT_EQ(keys_that_differ(odd, {{"a_key_of_my_own", true}, {"dtype", "float16"}}), Keys{"a_key_of_my_own"});
  EXPECT_EQ(keys_that_differ(odd, {{"use_cache", false}, {"attention_dropout", 0.5}}), Keys{});
}

}  // namespace
}  // namespace spinor::config_difference_test
