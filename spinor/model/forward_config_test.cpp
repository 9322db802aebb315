#include "spinor/model/forward_config.h"

#include <gtest/gtest.h>

#include <cmath>

#include "spinor/model/testing.h"

namespace spinor::forward_config_test {
namespace {

using testing::message_of;
using testing::TemporaryDirectory;

// Of the family's first case with these keys of config.json changed; "remove" takes one away.
ForwardConfig read(const std::string& family, const Json& changes = Json::object()) {
  const TemporaryDirectory directory;
  testing::ArchitectureCase model = testing::read_architecture_cases(family).front();
  for (const auto& [key, value] : changes.items())
    if (value == "remove")
      model.config.erase(key);
    else
      model.config[key] = value;
  return read_forward_config(Model::describe(testing::write_checkpoint(directory.path(), model)));
}

// The Error's text without the directory.
std::string refused(const std::string& family, const Json& changes) {
  const std::string message = message_of([&] { read(family, changes); });
  const size_t at = message.find("config.json");
  return at == std::string::npos ? message : message.substr(at);
}

Json rope(Json keys) {
  keys.emplace("rope_theta", 500000.0);
  return {{"rope_parameters", keys}};
}

TEST(ForwardConfig, EveryFamilyIsReadAsTransformersWritesIt) {
  for (const char* family : testing::kFamilies)
    for (const testing::ArchitectureCase& one : testing::read_architecture_cases(family)) {
      SCOPED_TRACE(one.name);
      const TemporaryDirectory directory;
      const Model model = Model::describe(testing::write_checkpoint(directory.path(), one));
      const ForwardConfig forward = read_forward_config(model);
      EXPECT_EQ(forward.norm_epsilon, 1e-6);
      EXPECT_EQ(forward.activation, "silu");
      EXPECT_EQ(forward.rope->type, RopeType::plain);
      EXPECT_EQ(forward.rope->theta, one.config["rope_parameters"]["rope_theta"].get<double>());
      EXPECT_EQ(forward.rope->max_positions, one.config["max_position_embeddings"].get<int64_t>());
      EXPECT_EQ(forward.rope->attention, 1);
      EXPECT_EQ(std::ssize(forward.window), model.num_layers());
      EXPECT_EQ(std::ssize(forward.has_rope), model.num_layers());
      EXPECT_EQ(forward.logits_multiplier, 1);
      const bool granite = std::string_view(family) == "granite";
      EXPECT_EQ(forward.attention_scale, granite ? 1 : 1 / std::sqrt(static_cast<double>(model.head_dim())));
    }
}

TEST(ForwardConfig, KeysLeftOutHaveTheDefaultsOfTheFamily) {
  const Json none = {{"rope_parameters", "remove"},
                     {"rms_norm_eps", "remove"},
                     {"hidden_act", "remove"},
                     {"sliding_window", "remove"},
                     {"no_rope_layers", "remove"}};
  const ForwardConfig llama = read("llama", none);
  EXPECT_EQ(llama.rope->theta, 10000);
  EXPECT_EQ(llama.norm_epsilon, 1e-6);
  EXPECT_EQ(llama.activation, "silu");
  EXPECT_EQ(read("mistral", none).window, std::vector<int64_t>(2, 4096));
  const ForwardConfig smollm3 = read("smollm3", none);
  EXPECT_EQ(smollm3.rope->theta, 2000000);
  EXPECT_EQ(smollm3.has_rope, std::vector<bool>(2, true));  // every fourth has none
}

TEST(ForwardConfig, RopeParametersAndTheKeysOfOlderFilesSayTheSame) {
  const Json kinds[] = {
      {{"rope_type", "linear"}, {"factor", 4.0}},
      {{"rope_type", "dynamic"}, {"factor", 2.5}},
      {{"rope_type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 512}, {"beta_fast", 16}},
      {{"rope_type", "llama3"},
       {"factor", 8.0},
       {"original_max_position_embeddings", 256},
       {"low_freq_factor", 2.0},
       {"high_freq_factor", 3.0}}};
  const RopeType types[] = {RopeType::linear, RopeType::dynamic, RopeType::yarn, RopeType::llama3};
  for (size_t i = 0; i < std::size(kinds); ++i) {
    SCOPED_TRACE(kinds[i].dump());
    Json older = kinds[i];
    older["type"] = older["rope_type"];
    older.erase("rope_type");
    for (const ForwardConfig& forward :
         {read("llama", rope(kinds[i])),
          read("llama", {{"rope_scaling", kinds[i]}, {"rope_theta", 500000.0}, {"rope_parameters", "remove"}}),
          read("llama", {{"rope_scaling", older}, {"rope_theta", 500000.0}, {"rope_parameters", "remove"}})}) {
      EXPECT_EQ(forward.rope->type, types[i]);
      EXPECT_EQ(forward.rope->theta, 500000);
      EXPECT_EQ(forward.rope->factor, kinds[i]["factor"].get<double>());
      EXPECT_EQ(forward.rope->max_positions, 2048);
      EXPECT_EQ(forward.rope->original_positions, kinds[i].value("original_max_position_embeddings", int64_t{2048}));
      EXPECT_EQ(forward.rope->low_frequency, kinds[i].value("low_freq_factor", 1.0));
      EXPECT_EQ(forward.rope->high_frequency, kinds[i].value("high_freq_factor", 4.0));
      EXPECT_EQ(forward.rope->beta_fast, kinds[i].value("beta_fast", 32.0));
    }
  }
}

// YaRN's equation 22, unless the file says the factor, or two of DeepSeek's.
TEST(ForwardConfig, YarnScalesCosineAndSine) {
  const auto attention = [](Json keys) {
    keys.update({{"rope_type", "yarn"}, {"factor", 4.0}});
    return read("llama", rope(keys)).rope->attention;
  };
  const double scale = 0.1 * std::log(4.0) + 1;
  EXPECT_DOUBLE_EQ(attention(Json::object()), scale);
  EXPECT_DOUBLE_EQ(attention({{"mscale", 0.7}}), scale);
  EXPECT_DOUBLE_EQ(attention({{"mscale", 0.7}, {"mscale_all_dim", 0.9}}),
                   (0.07 * std::log(4.0) + 1) / (0.09 * std::log(4.0) + 1));
  EXPECT_DOUBLE_EQ(attention({{"attention_factor", 1.25}, {"mscale", 0.7}, {"mscale_all_dim", 0.9}}), 1.25);
  EXPECT_FALSE(read("llama", rope({{"rope_type", "yarn"}, {"factor", 4.0}, {"truncate", false}})).rope->truncate);
}

TEST(ForwardConfig, WindowsAreThoseOfTheFamily) {
  const auto windows = [](const std::string& family, const Json& changes) { return read(family, changes).window; };
  using Windows = std::vector<int64_t>;
  const Json asked = {{"sliding_window", 7}, {"use_sliding_window", true}, {"layer_types", "remove"}};
  const auto with = [&](Json more) {
    Json all = asked;
    all.update(more);
    return all;
  };
  EXPECT_EQ(windows("llama", asked), (Windows{0, 0}));
  EXPECT_EQ(windows("mistral", {{"sliding_window", 7}}), (Windows{7, 7}));
  EXPECT_EQ(windows("mistral", {{"sliding_window", nullptr}}), (Windows{0, 0}));
  for (const char* family : {"qwen2", "qwen3"}) {
    EXPECT_EQ(windows(family, asked), (Windows{0, 0}));  // of 28 layers on
    EXPECT_EQ(windows(family, with({{"max_window_layers", 1}})), (Windows{0, 7}));
    EXPECT_EQ(windows(family, with({{"max_window_layers", 0}})), (Windows{7, 7}));
    EXPECT_EQ(windows(family, with({{"max_window_layers", 0}, {"use_sliding_window", false}})), (Windows{0, 0}));
    EXPECT_EQ(windows(family, with({{"layer_types", {"sliding_attention", "full_attention"}}})), (Windows{7, 0}));
    EXPECT_EQ(windows(family, with({{"sliding_window", nullptr}})), (Windows{0, 0}));
  }
  EXPECT_EQ(windows("smollm3", asked), (Windows{0, 7}));  // where there is no RoPE
  EXPECT_EQ(windows("smollm3", with({{"layer_types", {"sliding_attention", "sliding_attention"}}})), (Windows{7, 7}));
}

TEST(ForwardConfig, NoRopeLayersHasAOneWhereThereIsRope) {
  EXPECT_EQ(read("smollm3", {{"no_rope_layers", {0, 1}}}).has_rope, (std::vector<bool>{false, true}));
  EXPECT_EQ(read("smollm3", {{"no_rope_layers", nullptr}, {"no_rope_layer_interval", 2}}).has_rope,
            (std::vector<bool>{true, false}));
  EXPECT_EQ(read("llama", {{"no_rope_layers", {0, 0}}}).has_rope, (std::vector<bool>{true, true}));
}

TEST(ForwardConfig, MultipliersAreGranites) {
  const Json keys = {{"embedding_multiplier", 12.0},
                     {"residual_multiplier", 0.25},
                     {"attention_multiplier", 0.015625},
                     {"logits_scaling", 8}};
  const ForwardConfig granite = read("granite", keys), llama = read("llama", keys);
  EXPECT_EQ(granite.embedding_multiplier, 12);
  EXPECT_EQ(granite.residual_multiplier, 0.25);
  EXPECT_EQ(granite.attention_scale, 0.015625);
  EXPECT_EQ(granite.logits_multiplier, 0.125);
  EXPECT_EQ(llama.embedding_multiplier, 1);
  EXPECT_EQ(llama.residual_multiplier, 1);
  EXPECT_EQ(llama.attention_scale, 1 / std::sqrt(6.0));
  EXPECT_EQ(llama.logits_multiplier, 1);
}

TEST(ForwardConfig, SaysWhichKeyIsWrong) {
  const std::vector<std::tuple<std::string, Json, std::string>> cases = {
      {"llama", rope({{"rope_type", "proportional"}}),
       "config.json: rope_parameters: rope_type proportional is not supported; spinor runs default, linear, dynamic, "
       "yarn, llama3 and longrope"},
      {"llama", rope({{"rope_type", "longrope"}}), "config.json: rope_parameters: has no short_factor"},
      {"llama", rope({{"rope_type", "longrope"}, {"short_factor", {1, 2}}}),
       "config.json: rope_parameters: short_factor is [1,2], not a list of 3 positive numbers"},
      {"llama",
       {{"rope_parameters", {{"full_attention", Json::object()}}}},
       "config.json: rope_parameters differs by the type of the layer; spinor runs one for all"},
      {"llama",
       {{"rope_scaling", {{"type", "su"}}}},
       "config.json: rope_scaling: rope_type su is not supported; spinor runs default, linear, dynamic, yarn, "
       "llama3 and longrope"},
      {"llama", rope({{"partial_rotary_factor", 0.5}}),
       "config.json: rope_parameters: partial_rotary_factor is not supported; this family's rotary embedding turns "
       "whole heads"},
      {"llama",
       {{"partial_rotary_factor", 0.25}},
       "config.json: partial_rotary_factor is not supported; this family's rotary embedding turns whole heads"},
      {"llama", {{"rope_parameters", 3}}, "config.json: rope_parameters is 3, not an object"},
      {"llama", {{"rope_scaling", "linear"}}, "config.json: rope_scaling is \"linear\", not an object"},
      {"llama", rope({{"rope_type", 3}}), "config.json: rope_parameters: rope_type is 3, not a string"},
      {"llama", rope({{"rope_type", "linear"}}), "config.json: rope_parameters: has no factor"},
      {"llama", rope({{"rope_type", "linear"}, {"factor", 0}}),
       "config.json: rope_parameters: factor is 0, not a positive number"},
      {"llama", rope({{"rope_type", "llama3"}, {"factor", 8}, {"low_freq_factor", 1}}),
       "config.json: rope_parameters: has no high_freq_factor"},
      {"llama", rope({{"rope_type", "yarn"}, {"factor", 8}, {"truncate", 1}}),
       "config.json: rope_parameters: truncate is 1, not true or false"},
      {"llama", rope({{"rope_type", "yarn"}, {"factor", 8}, {"original_max_position_embeddings", 1.5}}),
       "config.json: rope_parameters: original_max_position_embeddings is 1.5, not an integer from 1 to 2147483647"},
      {"llama",
       {{"rope_parameters", {{"rope_theta", -1}}}},
       "config.json: rope_parameters: rope_theta is -1, not a positive number"},
      {"llama", {{"rope_theta", "10000"}}, "config.json: rope_theta \"10000\" ?? 10000 is \"10000\", not a number"},
      {"llama", {{"rms_norm_eps", 0}}, "config.json: rms_norm_eps 0 ?? 0.000001 is 0, not a positive number"},
      {"llama", {{"hidden_act", 1}}, "config.json: hidden_act is 1, not a string"},
      {"llama",
       {{"max_position_embeddings", 0}},
       "config.json: max_position_embeddings is 0, not an integer from 1 to 2147483647"},
      {"mistral", {{"sliding_window", -7}}, "config.json: sliding_window is -7, not an integer from 1 to 2147483647"},
      {"qwen2",
       {{"sliding_window", 7}, {"use_sliding_window", true}, {"layer_types", {"full_attention"}}},
       "config.json: layer_types is [\"full_attention\"], not a list of layers"},
      {"qwen3",
       {{"sliding_window", 7}, {"use_sliding_window", true}, {"layer_types", {"full_attention", "linear_attention"}}},
       "config.json: layer_types has \"linear_attention\", which spinor cannot run"},
      {"smollm3", {{"no_rope_layers", {1}}}, "config.json: no_rope_layers is [1], not a list of layers"},
      {"smollm3", {{"no_rope_layers", {1, "x"}}}, "config.json: no_rope_layers is [1,\"x\"], not a list of integers"},
      {"granite", {{"logits_scaling", 0}}, "config.json: '1.0 / (logits_scaling ?? 1)': divides by 0"},
      {"granite", {{"residual_multiplier", true}}, "config.json: residual_multiplier true ?? 1 is true, not a number"}};
  for (const auto& [family, changes, expected] : cases) EXPECT_EQ(refused(family, changes), expected) << changes;
}

// A number too large for an integer.
TEST(ForwardConfig, HostileNumbersAreErrors) {
  EXPECT_EQ(refused("llama", {{"max_position_embeddings", int64_t{1} << 40}}),
            "config.json: max_position_embeddings is 1099511627776, not an integer from 1 to 2147483647");
}

TEST(ForwardConfig, AnUnknownArchitectureCannotBeRun) {
  const TemporaryDirectory directory;
  testing::ArchitectureCase model = testing::read_architecture_cases("llama").front();
  model.config["architectures"] = {"NewForCausalLM"};
  const Model described = Model::describe(testing::write_checkpoint(directory.path(), model), {.accept_unknown = true});
  EXPECT_EQ(message_of([&] { read_forward_config(described); }, directory.path()),
            "config.json: spinor cannot run NewForCausalLM; its architecture is unknown");
}

}  // namespace
}  // namespace spinor::forward_config_test
