#include "spinor/modifier/older_keys.h"

#include <gtest/gtest.h>

#include "spinor/io/testing.h"
#include "spinor/modifier/recipe.h"

namespace spinor::older_keys_test {
namespace {

std::string recipe(const std::string& modifier, const std::string& arguments) {
  return "a_stage:\n  b_modifiers:\n    " + modifier + ":\n      " + arguments + "\n";
}

const std::string kGptq = "{scheme: W8A8, ";

TEST(OlderKeys, ThatAskForNothingAreRead) {
  const std::pair<const char*, std::string> rows[] = {
      {"GPTQModifier",
       kGptq + "block_size: 128, offload_hessians: false, sequential_targets: null, sequential_update: true, quantize: "
               "true, "
               "num_calibration_steps: null, disable_quantization_observer_epoch: null, initialized_: false}"},
      {"GPTQModifier", kGptq + "offload_hessians: true, sequential_targets: [LlamaDecoderLayer, GPT2Block]}"},
      {"GPTQModifier", kGptq + "sequential_targets: GPTNeoXLayer}"},
      {"QuantizationModifier",
       "{scheme: W4A16, num_calibration_steps: null, disable_quantization_observer_epoch: null}"},
      {"SpinQuantModifier", "{initialized_structure_: false, initialized_: false, finalized_: false, started_: false}"},
      {"QuIPModifier", "{ended_: false}"}};
  for (const auto& [modifier, arguments] : rows) {
    const std::string read = Recipe::parse(recipe(modifier, arguments), "recipe.yaml").yaml();
    for (const char* key : {"offload", "sequential", "quantize:", "_steps", "_epoch", "ed_:"})
      EXPECT_EQ(read.find(key), std::string::npos) << read << " is what its arguments amount to";
  }
}

TEST(OlderKeys, ThatAskForMoreAreRefused) {
  const std::pair<std::string, std::string> rows[] = {
      {"sequential_targets: Linear",
       "GPTQModifier.sequential_targets: \"Linear\": calibration takes one decoder layer after the other; leave it "
       "out, or "
       "name the class of the decoder layers"},
      {"sequential_targets: [MixtralSparseMoeBlock]",
       "GPTQModifier.sequential_targets: [\"MixtralSparseMoeBlock\"]: calibration takes one decoder layer after the "
       "other; "
       "leave it out, or name the class of the decoder layers"},
      {"sequential_update: false",
       "GPTQModifier.sequential_update: false: a layer's inputs are always those that the quantized layers before it "
       "give; "
       "leave it out"},
      {"quantize: false",
       "GPTQModifier.quantize: false: GPTQModifier has its scheme itself; write scheme, or config_groups, in "
       "GPTQModifier"},
      {"offload_hessians: 1", "GPTQModifier.offload_hessians: 1: is neither true nor false; leave it out"},
      {"num_calibration_steps: 512",
       "GPTQModifier.num_calibration_steps: 512: the number of samples is no argument of a modifier here; leave it "
       "out, "
       "and give --calibration-samples"}};
  for (const auto& [key, message] : rows)
    EXPECT_EQ(testing::message_of([&] { Recipe::parse(recipe("GPTQModifier", kGptq + key + "}"), "recipe.yaml"); }),
              "recipe.yaml:4: " + message);
}

TEST(OlderKeys, AreThoseOfTheirModifier) {
  const std::string message = testing::message_of(
      [] { Recipe::parse(recipe("QuantizationModifier", "{scheme: W8A8, offload_hessians: false}"), "recipe.yaml"); });
  EXPECT_TRUE(message.starts_with("recipe.yaml:4: unknown key 'offload_hessians' in QuantizationModifier")) << message;
}

}  // namespace
}  // namespace spinor::older_keys_test
