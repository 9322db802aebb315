#include "spinor/model/told_lists.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "spinor/model/changed_testing.h"

namespace spinor::told_lists_test {
namespace {

using testing::Changed;

// Its second layer has no gate, or values of twice the size.
void kinds(Architecture& row) {
  const auto find = [&](const char* name) { return std::ranges::find(row.linears, name, &LinearRow::name); };
  find("mlp.gate_proj")->when = "kinds[L] != 'plain'";
  LinearRow wide = *find("mlp.up_proj");
  find("mlp.up_proj")->when = "kinds[L] != 'wide'";
  wide.when = "kinds[L] == 'wide'";
  wide.out = "2 * intermediate_size";
  row.linears.push_back(wide);
  row.told_lists = {{"kinds", {"gated", "plain", "wide"}}};
}

Changed with_kinds(const char* name = "KindsForCausalLM") {
  return {name, "plain", kinds};
}

TEST(ToldLists, TensorsTellWhatIsLeftOut) {
  Changed changed = with_kinds();
  std::erase_if(changed.model.tensors,
                [](const TensorInfo& tensor) { return tensor.name == "model.layers.1.mlp.gate_proj.weight"; });
  const Model model = changed.describe();
  EXPECT_EQ(model.config().keys["kinds"], Json({"gated", "plain"}));
  EXPECT_EQ(model.find("model.layers.1.mlp.gate_proj"), nullptr);
}

TEST(ToldLists, SizesTell) {
  Changed changed = with_kinds();
  changed.model.tensor("model.layers.1.mlp.up_proj.weight").shape[0] *= 2;
  const Model model = changed.describe();
  EXPECT_EQ(model.config().keys["kinds"], Json({"gated", "wide"}));
  EXPECT_EQ(model.find("model.layers.1.mlp.up_proj")->shape.out, 2 * changed.size("intermediate_size"));
}

TEST(ToldLists, WhatTheFileSaysCounts) {
  Changed changed = with_kinds();
  changed.model.config["kinds"] = {"gated", "wide"};
  EXPECT_TRUE(changed.error().starts_with("model.layers.1.mlp.up_proj.weight: has shape")) << changed.error();
}

TEST(ToldLists, NoKindThatFitsIsAnError) {
  Changed changed = with_kinds();
  changed.model.tensor("model.layers.1.mlp.up_proj.weight").shape[0] *= 3;
  EXPECT_NE(changed.error().find("has no kinds, and the tensors of model.layers.1 fit none of gated, plain, wide"),
            std::string::npos)
      << changed.error();
}

TEST(ToldLists, SeveralThatFitAreAnError) {
  const auto alike = [](Architecture& row) {
    kinds(row);
    row.told_lists.front().values.emplace_back("gated_too");
  };
  EXPECT_NE(
      Changed("AlikeForCausalLM", "plain", alike).error().find("the tensors of model.layers.0 fit gated and gated_too"),
      std::string::npos);
}

}  // namespace
}  // namespace spinor::told_lists_test
