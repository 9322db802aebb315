#include "spinor/transform/fold_online.h"

#include <gtest/gtest.h>

#include "spinor/base/error.h"
#include "spinor/plan/testing.h"
#include "spinor/transform/apply.h"
#include "spinor/transform/net_product.h"

namespace spinor::fold_online_test {
namespace {

class FoldOnline : public ::testing::Test {
 protected:
  testing::TemporaryDirectory directory_;
  Model model_ = Model::describe(Checkpoint::open(testing::write_model(directory_ / "model", {.biases = true})));
  RewritePlan plan_{model_};

  // Only the online half of two groups, so that something is left to see.
  void apply_online(const char* location) {
    TransformConfig config;
    for (const char* group : {"a", "b"})
      config.config_groups.push_back({group,
                                      {.type = group == std::string("a") ? "random-matrix" : "random-orthogonal",
                                       .apply = {{.targets = {"re:.*down_proj$"}, .location = {}}},
                                       .precision = "torch.float64",
                                       .seed = group[0]}});
    for (auto& [name, scheme] : config.config_groups)
      scheme.apply[0].location =
          location == std::string("input") ? TransformLocation::input : TransformLocation::output;
    apply(config, model_, plan_);
  }
  const Module& down() const { return *model_.find("model.layers.1.mlp.down_proj"); }
};

TEST_F(FoldOnline, WeightsDoWhatTheTransformsDid) {
  for (const char* location : {"input", "output"}) {
    plan_ = RewritePlan(model_);
    apply_online(location);
    const NetProducts before(plan_);
    const Row x = probe(down().weight->info.cols()), y = probe(down().weight->info.rows());
    const Row in = x * before.incoming(down()), out = y * before.outgoing(down());
    ASSERT_EQ(plan_.online().size(), 4u);
    fold_online(plan_);
    EXPECT_TRUE(plan_.online().empty());
    const NetProducts after(plan_);
    EXPECT_TRUE(agree(in, x * after.incoming(down()))) << location;
    EXPECT_TRUE(agree(out, y * after.outgoing(down()))) << location;
    EXPECT_TRUE(agree(out, y * after.bias(down()))) << location;
  }
}

TEST_F(FoldOnline, LeavesThePlanOfAModelWithPairsWithoutEffect) {
  TransformConfig config;
  config.config_groups.push_back(
      {"v",
       {.type = "random-hadamard",
        .apply = {{.targets = {"Linear"}, .location = TransformLocation::input},
                  {.targets = {"Linear"}, .location = TransformLocation::weight_input, .inverse = true}},
        .precision = "torch.float64"}});
  apply(config, model_, plan_);
  fold_online(plan_);
  const NetProducts net(plan_);
  EXPECT_TRUE(is_identity(net.incoming(down()), down().weight->info.cols()));
}

TEST_F(FoldOnline, RefusesAWeightThatHasBecomeCodes) {
  apply_online("input");
  plan_.edit_weight(down(), Quantize{});
  EXPECT_THROW(fold_online(plan_), Error);
}

}  // namespace
}  // namespace spinor::fold_online_test
