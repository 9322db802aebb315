#include "spinor/transform/rotate_model.h"

#include <gtest/gtest.h>

#include "spinor/io/testing.h"
#include "spinor/transform/apply.h"
#include "spinor/transform/auto_operation.h"
#include "spinor/transform/fold.h"
#include "tests/golden/golden.h"

namespace spinor::rotate_model_test {
namespace {

using testing::message_of;

Model with_class(const Model& model, const std::string& name) {
  Json config = model.checkpoint().config();
  config["architectures"] = {name};
  const auto tensors = model.checkpoint().tensors();
  return Model::describe(model.checkpoint().with(config, {tensors.begin(), tensors.end()}), {.accept_unknown = true});
}

std::string refusal(const Model& model, const RotateOptions& options = {}) {
  RewritePlan plan(model);
  const std::string before = plan.text(true);
  const std::string message = message_of([&] { rotate_model(model, plan, options); });
  if (!message.empty()) {
    EXPECT_EQ(plan.text(true), before);
  }
  return message;
}

TEST(RotateModel, DoesForAKnownArchitectureWhatSpinQuantDoes) {
  for (const char* name : {"transforms/llama", "transforms/llama_tied", "transforms/qwen3"}) {
    const Model model = golden::model(name);
    const SpinQuantOptions spin = {
        .rotations = {Spin::R1, Spin::R2, Spin::R3, Spin::R4}, .transform_type = "random-orthogonal", .seed = 3};
    RewritePlan rotated(model), expected(model);
    rotate_model(model, rotated, {.spin = spin});
    expected.untie();
    fold_norms(model, expected);
    apply(spinquant(model, spin), model, expected);
    EXPECT_EQ(rotated.text(true), expected.text(true));
    EXPECT_EQ(rotated.transform_config(), expected.transform_config());
    for (const TensorPlan& tensor : expected.tensors())
      EXPECT_EQ(golden::distance(golden::evaluate(rotated, golden::tensor(rotated, tensor.name)),
                                 golden::evaluate(expected, tensor)),
                0);
  }
}

TEST(RotateModel, FoldsNormsOnlyForR1OrWhenNothingElseIsAsked) {
  const Model model = golden::model("transforms/llama");
  const auto folds = [&](std::vector<Spin> rotations) {
    RewritePlan plan(model);
    rotate_model(model, plan, {.spin = {.rotations = std::move(rotations)}});
    return !golden::tensor(plan, "model.norm.weight").edits.empty();
  };
  EXPECT_TRUE(folds({Spin::R1}));
  EXPECT_FALSE(folds({Spin::R2}));
  EXPECT_TRUE(folds({}));
}

TEST(RotateModel, SaysHowToRegisterAnOperation) {
  EXPECT_EQ(refusal(golden::unknown_model("transforms/llama")),
            "UnheardOfForCausalLM: no operation that rotates this class of models is registered; write one, "
            "void(const Model&, RewritePlan&, const RotateOptions&), and give it to "
            "RotateOperationRegistry::register_operation(\"UnheardOfForCausalLM\", ...)");
  EXPECT_THROW(RotateOperationRegistry::register_operation("", [](auto&&...) {}), Error);
  EXPECT_THROW(RotateOperationRegistry::register_operation("X", {}), Error);
}

TEST(RotateModel, DoesByBothMappingsWhatItDoesByTheRow) {
  const Model known = golden::model("transforms/llama"), unknown = golden::unknown_model("transforms/llama");
  RewritePlan expected(known), plan(unknown);
  rotate_model(known, expected);
  SpinQuantMapping mapping = infer_mapping(known);
  EXPECT_TRUE(rotate_model(unknown, plan, {.spin = {.mappings = mapping}, .norm_mappings = infer_norm_mappings(known)})
                  .empty());
  for (const TensorPlan& tensor : expected.tensors())
    EXPECT_EQ(
        golden::distance(golden::evaluate(plan, golden::tensor(plan, tensor.name)), golden::evaluate(expected, tensor)),
        0);
}

TEST(RotateModel, RunsOperationsInTheirOrderWithTheOptionsAsTheyAre) {
  std::vector<std::string> calls;
  const auto note = [&](std::string name) {
    return [&calls, name](const Model& model, RewritePlan&, const RotateOptions& options) {
      calls.push_back(name + " " + std::string(model.architecture_name()) + " " +
                      std::any_cast<std::string>(options.extra.at("wish")) + " " + options.spin.transform_type);
    };
  };
  RotateOperationRegistry::register_operation("OrderForCausalLM", note("first"));
  RotateOperationRegistry::register_operation("OtherForCausalLM", note("other"));
  RotateOperationRegistry::register_operation("OrderForCausalLM", note("second"));
  const Model model = with_class(golden::unknown_model("transforms/llama"), "OrderForCausalLM");
  RewritePlan plan(model);
  rotate_model(model, plan, {.spin = {.transform_type = "mine"}, .extra = {{"wish", std::string("w")}}});
  EXPECT_EQ(calls, (std::vector<std::string>{"first OrderForCausalLM w mine", "second OrderForCausalLM w mine"}));
}

TEST(RotateModel, KnowsTheRowsOfAProgram) {
  Architecture row = *find_architecture("LlamaForCausalLM");
  row.names = {"RowOfTheTestForCausalLM"};
  register_architecture(row, "row of the test");
  EXPECT_EQ(refusal(with_class(golden::model("transforms/llama"), "RowOfTheTestForCausalLM")), "");
}

// With the layers of one kind told apart as if they were two.
TEST(RotateModel, RotatesTheValuesOfEachKindOfAttention) {
  Architecture row = *find_architecture("LlamaForCausalLM");
  row.names = {"TwoKindsOfTheTestForCausalLM"};
  row.forward.reset();
  row.attention.when = "L % 2 == 0";
  row.other_attentions = {{.when = "L % 2 == 1"}};
  register_architecture(row, "row of the test");
  const Model one = golden::model("transforms/llama"), two = with_class(one, row.names.front());
  const RotateOptions options = {
      .spin = {.rotations = {Spin::R1, Spin::R2, Spin::R4}, .transform_type = "random-orthogonal", .seed = 3}};
  RewritePlan expected(one), plan(two);
  rotate_model(one, expected, options);
  rotate_model(two, plan, options);
  for (const TensorPlan& tensor : expected.tensors())
    EXPECT_EQ(
        golden::distance(golden::evaluate(plan, golden::tensor(plan, tensor.name)), golden::evaluate(expected, tensor)),
        0)
        << tensor.name;
  const std::string reason = "its layers have several kinds of attention, and spinor writes it for one";
  EXPECT_NE(refusal(two, {.spin = {.rotations = {Spin::R3}}}).find(reason), std::string::npos);
}

// The layers of multi-token prediction read what the final norm gives.
TEST(RotateModel, RefusesWhatPredictsSeveralTokens) {
  const Model llama = golden::model("transforms/llama");
  std::vector<CheckpointTensor> tensors(llama.checkpoint().tensors().begin(), llama.checkpoint().tensors().end());
  tensors.push_back(tensors.front());
  tensors.back().info.name = "mtp.fc.weight";
  const Model model = Model::describe(llama.checkpoint().with(llama.checkpoint().config(), tensors));
  for (std::vector<Spin> spins : {std::vector<Spin>{Spin::R1}, std::vector<Spin>{}})
    EXPECT_TRUE(refusal(model, {.spin = {.rotations = spins}}).starts_with("mtp.fc.weight: belongs to layers for"));
  EXPECT_EQ(refusal(model, {.spin = {.rotations = {Spin::R2}}}), "");
}

// Not the class of a parent: an operation knows the modules of one class.
TEST(RotateModel, TakesTheExactClass) {
  RotateOperationRegistry::register_operation("PreTrainedModel", [](auto&&...) { throw Error("x", "called"); });
  EXPECT_EQ(refusal(golden::model("transforms/llama")), "");
}

TEST(RotateModel, ChecksWhatAProgramsOperationsDid) {
  const auto half = [](const Model& model, RewritePlan& plan, const RotateOptions&) {
    const Rotation r = Rotation::hadamard(Hadamard::sylvester(8));
    AutoOperation::rotate_output(plan, *model.find("model.embed_tokens"), r, "R1");
  };
  RotateOperationRegistry::register_operation("HalfForCausalLM", half);
  const Model known = golden::model("transforms/llama"),
              model = with_class(golden::unknown_model("transforms/llama"), "HalfForCausalLM");
  EXPECT_EQ(refusal(model, {.spin = {.mappings = infer_mapping(known)}}),
            "lm_head.weight: does not undo the transform of the residual stream that it reads; "
            "transform it at weight_input, inverse, with the groups that transform model.embed_tokens");
  EXPECT_EQ(refusal(model), "");  // nobody knows better
}

}  // namespace
}  // namespace spinor::rotate_model_test
