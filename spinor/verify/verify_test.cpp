#include "spinor/verify/verify.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <stop_token>

#include "spinor/io/file.h"
#include "spinor/linalg/convert.h"
#include "spinor/plan/save.h"
#include "spinor/plan/testing.h"
#include "spinor/transform/apply.h"
#include "spinor/transform/fold.h"
#include "spinor/transform/quip.h"
#include "spinor/transform/spinquant.h"
#include "spinor/transform/stored_online.h"

namespace spinor::verify::verify_test {
namespace {

class VerifyWeights : public ::testing::Test {
 protected:
  testing::TemporaryDirectory directory_;
  std::filesystem::path source_ =
      testing::write_model(directory_ / "model", {.hidden = 64, .layers = 3, .tied = true, .biases = true});
  std::filesystem::path out_ = directory_ / "out";

  static Model open(const std::filesystem::path& path) { return Model::describe(Checkpoint::open(path)); }

  void rotate(SpinQuantOptions options, std::optional<DType> dtype = {}) {
    const Model model = open(source_);
    RewritePlan plan(model);
    plan.untie();
    fold_norms(model, plan);
    apply(spinquant(model, options), model, plan);
    save(plan, out_, {.dtype = dtype, .force = true});
  }

  Report report() const { return verify_weights(open(source_), open(out_), {.threads = 2}); }

  // The tensors named by failed checks.
  std::vector<std::string> blamed() const {
    std::vector<std::string> names;
    const Report result = report();
    for (const Check* check : result.failures())
      names.insert(names.end(), check->tensors.begin(), check->tensors.end());
    return names;
  }

  // Replaces a tensor of OUT by the source's: a rotation forgotten.
  void forget(const std::string& name) const {
    const Checkpoint source = Checkpoint::open(source_), out = Checkpoint::open(out_);
    const CheckpointTensor& tensor = out.at(name);
    const std::vector<std::byte> bytes = source.read(source.at(name));
    File::create(out_ / "model.safetensors", out.shards()[0].bytes()).write(tensor.info.begin, bytes);
  }
};

TEST_F(VerifyWeights, ASoundRotationPassesInEveryDtype) {
  for (const DType dtype : {DType::F64, DType::F32, DType::F16, DType::BF16}) {
    rotate({.transform_type = "random-hadamard"}, dtype);
    const Report result = report();
    EXPECT_TRUE(result.passed()) << info(dtype).name << ": " << result.failures().front()->tensors.front();
  }
}

TEST_F(VerifyWeights, ARequestToStopEndsIt) {
  rotate({.transform_type = "random-hadamard"});
  std::stop_source caller;
  caller.request_stop();
  EXPECT_THROW(verify_weights(open(source_), open(out_), {.stop = caller.get_token()}), Stopped);
}

TEST_F(VerifyWeights, EveryTensorThatWasNotRotatedIsNamed) {
  for (const char* name :
       {"model.embed_tokens.weight", "model.layers.1.mlp.down_proj.weight", "model.layers.1.mlp.down_proj.bias",
        "model.layers.2.self_attn.q_proj.weight", "model.layers.0.mlp.gate_proj.weight",
        "model.layers.1.self_attn.o_proj.weight", "model.layers.1.self_attn.o_proj.bias",
        "model.layers.0.self_attn.v_proj.weight", "model.layers.2.self_attn.v_proj.bias"}) {
    rotate({.transform_type = "random-hadamard"});
    forget(name);
    const std::vector<std::string> names = blamed();
    EXPECT_NE(std::find(names.begin(), names.end(), name), names.end()) << name;
    EXPECT_LE(names.size(), 3U) << name;  // a value and its output projection are named together
  }
}

TEST_F(VerifyWeights, ANormThatWasFoldedButStillScalesIsNamed) {
  rotate({});
  forget("model.layers.1.post_attention_layernorm.weight");
  EXPECT_EQ(blamed(), std::vector<std::string>{"model.layers.1.post_attention_layernorm.weight"});
}

TEST_F(VerifyWeights, ABiasThatARotationLeavesAloneMustBeLeftAlone) {
  rotate({});
  const Checkpoint out = Checkpoint::open(out_);
  const std::vector<float> zeros(32);
  File::create(out_ / "model.safetensors", out.shards()[0].bytes())
      .write(out.at("model.layers.1.self_attn.q_proj.bias").info.begin, std::as_bytes(std::span(zeros)));
  EXPECT_EQ(blamed(), std::vector<std::string>{"model.layers.1.self_attn.q_proj.bias"});
}

TEST_F(VerifyWeights, AMatrixThatIsNotOrthogonalFailsForEveryWriter) {
  rotate({.rotations = {Spin::R1}, .transform_type = "random-matrix", .llm_compressor_compat = true}, DType::F64);
  const std::vector<std::string> names = blamed();
  EXPECT_NE(std::find(names.begin(), names.end(), "model.embed_tokens.weight"), names.end());
}

// Changes config.json of OUT.
void change_config(const std::filesystem::path& directory, const std::string& key, const Json& value) {
  Json config = Json::parse(read_text(directory / "config.json"));
  config[key] = value;
  write_text(directory / "config.json", config.dump(2));
}

TEST_F(VerifyWeights, AKeyOfTheConfigThatChangesTheFunctionIsNamed) {
  rotate({});
  change_config(out_, "rms_norm_eps", 0.1);
  const Report result = report();
  ASSERT_EQ(result.failures().size(), 1u);
  EXPECT_EQ(result.failures().front()->what, "config");
  EXPECT_EQ(result.failures().front()->tensors, std::vector<std::string>{"rms_norm_eps"});
  EXPECT_EQ(result.failures().front()->hint, "config.json says 0.1, the source's nothing");
}

// A source with transforms on the inputs and the outputs of its linears, online: R4 and QuIP's.
class VerifyOnline : public VerifyWeights {
 protected:
  void SetUp() override {
    const Model model = open(source_);
    RewritePlan plan(model);
    plan.untie();
    apply(spinquant(model, {.rotations = {Spin::R3, Spin::R4}, .transform_type = "random-orthogonal"}), model, plan);
    apply(quip({.rotations = {Quip::u}, .transform_block_size = 16}), model, plan);
    save(plan, online_, {.force = true});
    source_ = online_;
  }

  std::filesystem::path plain_ = source_, online_ = directory_ / "online";
};

TEST_F(VerifyOnline, IsPartOfTheSource) {
  const Model model = open(source_);
  RewritePlan plan = start_plan(model);
  fold_norms(model, plan);
  apply(spinquant(model, {.transform_type = "random-hadamard"}), model, plan);
  save(plan, out_, {.force = true});
  EXPECT_EQ(blamed(), std::vector<std::string>{});
}

TEST_F(VerifyOnline, IsPartOfTheOutput) {
  source_ = plain_;
  out_ = online_;
  EXPECT_EQ(blamed(), std::vector<std::string>{});
}

TEST_F(VerifyOnline, IsMissedWhereTheOutputLostIt) {
  RewritePlan plan = as_stored(open(source_));
  plan.take_online();
  save(plan, out_, {.force = true});
  const std::vector<std::string> names = blamed();
  EXPECT_NE(std::ranges::find(names, "model.layers.0.mlp.down_proj.weight"), names.end());
  EXPECT_NE(std::ranges::find(names, "model.layers.1.mlp.up_proj.weight"), names.end());
}

TEST_F(VerifyOnline, QueriesAndKeysMustBeTransformedAlike) {
  const Model model = open(plain_);
  RewritePlan plan(model);
  TransformConfig config = spinquant(model, {.rotations = {Spin::R3}});
  config.config_groups.front().second.apply.pop_back();  // the keys
  apply(config, model, plan);
  save(plan, out_, {.force = true});
  source_ = plain_;
  EXPECT_EQ(blamed(), (std::vector<std::string>{"model.layers.0.self_attn", "model.layers.1.self_attn",
                                                "model.layers.2.self_attn"}));
}

TEST_F(VerifyWeights, AnotherModelIsNotTheSameFunction) {
  rotate({});
  testing::write_model(directory_ / "model", {.hidden = 64, .layers = 3, .tied = true, .biases = true, .seed = 2});
  EXPECT_FALSE(report().passed());
}

}  // namespace
}  // namespace spinor::verify::verify_test
