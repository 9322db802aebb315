#include "spinor/transform/apply.h"

#include <gtest/gtest.h>

#include "spinor/base/error.h"
#include "tests/golden/golden.h"

namespace spinor::apply_test {
namespace {

const std::string kQuery = "model.layers.0.self_attn.q_proj";

TransformConfig one_group(TransformScheme scheme) {
  return {.config_groups = {{"R1", std::move(scheme)}}};
}

TransformConfig one(std::string type, std::string target, TransformLocation location, bool inverse = false) {
  return one_group({.type = std::move(type), .apply = {{{std::move(target)}, location, inverse, {}}}});
}

std::string refusal(const TransformConfig& config) {
  const Model model = golden::model("transforms/llama");
  RewritePlan plan(model);
  try {
    apply(config, model, plan);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

std::string line(const TransformConfig& config, const std::string& tensor) {
  const Model model = golden::model("transforms/llama");
  RewritePlan plan(model);
  apply(config, model, plan);
  const TensorPlan& found = golden::tensor(plan, tensor);
  EXPECT_EQ(found.edits.size(), 1u);
  return text_of(found.edits.at(0), found.source->info.rows(), found.source->info.cols());
}

// Every type, location, inverse, randomize and block size; several sizes from one stream; groups one after the other.
// 1e-9: the inverse of a random matrix is computed by another LU than torch's (condition about 1e3).
TEST(Apply, ChangesEveryTensorAsThePeerDoes) {
  const Model model = golden::model("transforms/llama");
  const auto expected = golden::matrices("transforms/weights.safetensors");
  const Json configs = golden::json("transforms/weights.json");
  size_t compared = 0;
  for (size_t i = 0; i < configs.size(); ++i) {
    RewritePlan plan(model);
    apply(transform_config_from_json(configs[i], "golden"), model, plan);
    for (const TensorPlan& tensor : plan.tensors()) {
      const auto found = expected.find(std::to_string(i) + ":" + tensor.name);
      ASSERT_EQ(found == expected.end(), tensor.edits.empty()) << tensor.name << configs[i];
      if (found == expected.end()) continue;
      ++compared;
      EXPECT_LE(golden::distance(golden::evaluate(plan, tensor), found->second), 1e-9 * golden::largest(found->second))
          << tensor.name << configs[i];
    }
  }
  EXPECT_EQ(compared, expected.size());
}

TEST(Apply, SharesOneMatrixAmongModulesOfASize) {
  const Model model = golden::model("transforms/llama");
  RewritePlan plan(model);
  apply(one("random-hadamard", "Linear", TransformLocation::input), model, plan);
  const auto matrix_of = [&](std::string_view module) {
    for (const OnlineTransform& online : plan.online())
      if (online.module == module) return online.r.matrix();
    throw Error(std::string(module), "is not online");
  };
  EXPECT_EQ(plan.online().size(), 15u);
  EXPECT_EQ(golden::distance(matrix_of(kQuery), matrix_of("model.layers.1.mlp.up_proj")), 0);
  EXPECT_EQ(matrix_of("model.layers.0.mlp.down_proj").rows, 12);
}

TEST(Apply, StartsEveryGroupFromItsOwnSeed) {
  const Model model = golden::model("transforms/llama");
  TransformScheme scheme{.type = "random-hadamard", .apply = {{{kQuery}, TransformLocation::output, false, {}}}};
  TransformConfig config = {.config_groups = {{"a", scheme}, {"b", scheme}}};
  scheme.seed = 7;
  config.config_groups.emplace_back("c", scheme);
  RewritePlan plan(model);
  apply(config, model, plan);
  ASSERT_EQ(plan.online().size(), 3u);
  EXPECT_EQ(golden::distance(plan.online()[0].r.matrix(), plan.online()[1].r.matrix()), 0);
  EXPECT_GT(golden::distance(plan.online()[0].r.matrix(), plan.online()[2].r.matrix()), 0);
}

TEST(Apply, LabelsEditsByGroupAndSide) {
  using enum TransformLocation;
  EXPECT_EQ(line(one("hadamard", kQuery, weight_input, true), kQuery + ".weight"), "W R1");
  EXPECT_EQ(line(one("hadamard", kQuery, weight_input, false), kQuery + ".weight"), "W R1'");
  EXPECT_EQ(line(one("hadamard", kQuery, weight_output, false), kQuery + ".weight"), "R1' W");
  EXPECT_EQ(line(one("hadamard", kQuery, weight_output, false), kQuery + ".bias"), "b R1");
  EXPECT_EQ(line(one("random-matrix", kQuery, weight_input, true), kQuery + ".weight"), "W R1^-1'");
  EXPECT_EQ(line(one("random-matrix", kQuery, weight_output, true), kQuery + ".bias"), "b R1^-1");
  EXPECT_EQ(line(one("hadamard", "Embedding", weight_output, false), "model.embed_tokens.weight"), "W R1");
}

TEST(Apply, RaisesThePrecisionButNeverLowersIt) {
  const Model model = golden::model("transforms/llama");
  for (const bool asked : {false, true}) {
    TransformConfig config = one("hadamard", kQuery, TransformLocation::weight_input);
    config.config_groups[0].second.precision = asked ? "torch.float64" : "torch.float32";
    for (const Precision before : {Precision::float32, Precision::float64}) {
      RewritePlan plan(model);
      plan.ask_for(before);
      apply(config, model, plan);
      EXPECT_EQ(plan.precision(), asked ? Precision::float64 : before);
    }
  }
}

TEST(Apply, SaysWhichTensorHasNoMatrix) {
  EXPECT_EQ(
      refusal(one("hadamard", "re:.*down_proj$", TransformLocation::weight_input)),
      "model.layers.0.mlp.down_proj.weight: R1: hadamard has no matrix of size 12, which is not a power of two; use "
      "--transform-type auto by command, transform_type: auto in a recipe; or blocks: --block-size 4, "
      "transform_block_size: 4");
  TransformConfig config = one("hadamard", kQuery, TransformLocation::weight_input);
  config.config_groups[0].second.head_dim = 3;
  EXPECT_EQ(refusal(config),
            kQuery +
                ".weight: R1: blocks of 3 do not divide its weight_input of 8; choose another block size: "
                "--block-size by command, transform_block_size or head_dim in a recipe");
  config.config_groups[0].second.head_dim = 0;
  EXPECT_THROW(apply(config, golden::model("transforms/llama"),
                     *std::make_unique<RewritePlan>(golden::model("transforms/llama"))),
               Error);
}

TEST(Apply, RefusesWhatItCannotDo) {
  using enum TransformLocation;
  EXPECT_EQ(refusal(one("hadamard", "re:.*qq_proj$", input)),
            "re:.*qq_proj$: R1: no module of the model matches this target");
  EXPECT_EQ(refusal(one("hadamard", "model.norm", weight_input)),
            "model.norm: is neither a linear nor an embedding, so it has no weight_input; narrow the targets, or name "
            "it in ignore");
  EXPECT_EQ(refusal(one("hadamard", "re:.*self_attn$", q_attn)),
            "model.layers.0.self_attn: R1: the size of a transform here is not known; give head_dim");
  EXPECT_EQ(refusal(one("hadamard", "re:.*mlp$", k_cache)),
            "model.layers.0.mlp: is not an attention: it has no k_cache");
  EXPECT_EQ(refusal(one("walsh", kQuery, input)).substr(0, 34), "walsh: is not a transform type; kn");
  EXPECT_EQ(
      refusal(one_group({.type = "hadamard", .requires_grad = true})),
      "R1: is to be learned first (requires_grad); give --calibration FILE to a recipe whose SpinQuantModifier has "
      "it, or set requires_grad: false");
  EXPECT_EQ(refusal(one_group({.type = "hadamard", .precision = "torch.bfloat16"})),
            "R1: weights cannot be transformed in precision torch.bfloat16; use float64 or float32");
}

TEST(Apply, RefusesToEditATiedEmbedding) {
  const Model model = golden::model("transforms/llama_tied");
  RewritePlan plan(model);
  EXPECT_THROW(apply(one("hadamard", "Embedding", TransformLocation::weight_output), model, plan), Error);
  RewritePlan untied(model);
  untied.untie();
  apply(one("hadamard", "lm_head", TransformLocation::weight_input), model, untied);
  EXPECT_EQ(golden::tensor(untied, "lm_head.weight").edits.size(), 1u);
  EXPECT_TRUE(golden::tensor(untied, "model.embed_tokens.weight").edits.empty());
}

}  // namespace
}  // namespace spinor::apply_test
