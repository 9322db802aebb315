#include "spinor/runtime/weights.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "spinor/plan/save.h"
#include "spinor/runtime/testing.h"

namespace spinor::runtime::weights_test {
namespace {

class RuntimeWeights : public ::testing::Test {
 protected:
  testing::TemporaryDirectory directory_;

  // Every edited weight of the checkpoint that save() writes, against what is computed; the others are the source's.
  void check(const RewritePlan& plan, DType saved, DType dtype) {
    SCOPED_TRACE(std::string(info(saved).name) + " run in " + std::string(info(dtype).name));
    save(plan, directory_ / "out", {.dtype = saved, .force = true});
    // A checkpoint that is run as it is stored; of a quantized one the weights are decoded.
    const Weights stored(RewritePlan(Model::describe(Checkpoint::open(directory_ / "out"))), {.dtype = dtype});
    const Weights computed(plan, {.dtype = dtype, .saved = saved});
    EXPECT_EQ(stored.plan().tensors().size(), plan.tensors().size());
    const Weights source(RewritePlan(plan.model()), {.dtype = dtype});
    for (const TensorPlan& tensor : plan.tensors()) {
      const Weights& peer = tensor.edits.empty() && source.compute(tensor.name).defined() ? source : stored;
      const at::Tensor expected = peer.compute(tensor.name), result = computed.compute(tensor.name);
      ASSERT_TRUE(expected.defined()) << tensor.name;
      EXPECT_EQ(result.scalar_type(), torch_dtype(dtype));
      EXPECT_TRUE(result.equal(expected)) << tensor.name;
    }
  }
};

TEST_F(RuntimeWeights, AreWhatSaveWrites) {
  const Model model = testing::make_model(directory_, {.tied = true, .biases = true});
  const RewritePlan plan = testing::rotated(model, {Spin::R1, Spin::R2, Spin::R4});
  for (const DType saved : {DType::F32, DType::BF16, DType::F64})
    for (const DType dtype : {DType::F32, DType::F64, DType::BF16}) {
      if (saved == DType::F64 && dtype != DType::F64) continue;
      RewritePlan only_weights = plan;
      only_weights.take_online();
      only_weights.set_transform_config({});
      check(only_weights, saved, dtype);
    }
}

TEST_F(RuntimeWeights, AreWhatTheStoredCodesMean) {
  const Model model = testing::make_model(directory_, {.hidden = 64, .heads = 8, .intermediate = 96});
  RewritePlan plan = testing::rotated(model, {Spin::R1, Spin::R2});
  testing::quantize(model, plan, 8);
  check(plan, DType::F32, DType::F32);
  check(plan, DType::BF16, DType::F32);
}

TEST_F(RuntimeWeights, AreTheSourcesWhereNothingIsEdited) {
  const Model model = testing::make_model(directory_);
  const Weights weights(RewritePlan(model), {});
  const CheckpointTensor& norm = model.checkpoint().at("model.norm.weight");
  const at::Tensor computed = weights.compute("model.norm.weight");
  const std::vector<std::byte> bytes = model.checkpoint().read(norm);
  EXPECT_EQ(std::memcmp(computed.data_ptr(), bytes.data(), bytes.size()), 0);
  EXPECT_FALSE(weights.compute("model.norm.bias").defined());
  EXPECT_EQ(Weights(RewritePlan(model), {.dtype = DType::BF16}).bytes(), weights.bytes() / 2);
}

// The embedding is large enough to be computed in several blocks.
TEST_F(RuntimeWeights, RowsAreThoseOfTheWhole) {
  const Model model = testing::make_model(directory_, {.hidden = 256, .layers = 1, .vocabulary = 9000, .biases = true});
  const RewritePlan plan = testing::rotated(model, {Spin::R1});
  for (const int threads : {1, 3}) {
    const Weights weights(plan, {.threads = threads});
    const at::Tensor indices = at::tensor({8999, 0, 17, 17, 5000, 1, 8999, 4096}, at::kLong).reshape({2, 4});
    const at::Tensor whole = weights.compute("model.embed_tokens.weight");
    const at::Tensor rows = weights.compute_rows("model.embed_tokens.weight", indices);
    EXPECT_EQ(rows.sizes().vec(), (std::vector<int64_t>{2, 4, 256}));
    EXPECT_TRUE(rows.equal(at::embedding(whole, indices)));
  }
}

TEST_F(RuntimeWeights, DoNotDependOnTheThreads) {
  const Model model = testing::make_model(directory_, {.hidden = 256, .layers = 1, .intermediate = 1024});
  RewritePlan plan = testing::rotated(model, {Spin::R1, Spin::R2, Spin::R4});
  testing::quantize(model, plan, 4);
  const Weights one(plan, {.threads = 1}), three(plan, {.threads = 3});
  for (const TensorPlan& tensor : plan.tensors())
    EXPECT_TRUE(one.compute(tensor.name).equal(three.compute(tensor.name))) << tensor.name;
}

TEST(TorchDtype, IsOneThatModelsAreRunIn) {
  EXPECT_EQ(torch_dtype(DType::BF16), at::kBFloat16);
  EXPECT_EQ(testing::message_of([] { torch_dtype(DType::I8); }), "I8: is not a type that models are run in");
}

}  // namespace
}  // namespace spinor::runtime::weights_test
