// Plans that quantize, saved and read back.
#include <gtest/gtest.h>

#include "spinor/base/error.h"
#include "spinor/linalg/convert.h"
#include "spinor/plan/execute.h"
#include "spinor/plan/save.h"
#include "spinor/plan/testing.h"

namespace spinor::quantize_test {
namespace {

using enum QuantizationStrategy;

QuantizationArgs ints(int bits, QuantizationStrategy strategy, std::optional<int64_t> group_size = {}) {
  return {.num_bits = bits, .group_size = group_size, .strategy = strategy};
}

class QuantizePlan : public ::testing::Test {
 protected:
  testing::TemporaryDirectory directory_;

  Model make(const testing::TinyModel& tiny) {
    return Model::describe(Checkpoint::open(testing::write_model(directory_ / "model", tiny)));
  }
  static const TensorPlan& planned(const RewritePlan& plan, const std::string& name) {
    for (const TensorPlan& tensor : plan.tensors())
      if (tensor.name == name) return tensor;
    throw std::out_of_range(name);
  }
  // What the edits before the quantization make of the tensor, as the encoder sees it.
  static Matrix<float> edited(RewritePlan plan, const std::string& name) {
    TensorPlan tensor = planned(plan, name);
    tensor.edits.pop_back();
    const TensorProgram<double> program(plan, tensor, DType::F64);
    TensorProgram<double>::Workspace work;
    Matrix<float> x(tensor.source->info.rows(), tensor.source->info.cols());
    for (int64_t b = 0; b < program.cut().blocks(); ++b)
      program.compute_tiles(program.cut().block(b), work, [&](const Block& tile, MatrixView<double> values) {
        for (int64_t i = 0; i < tile.rows; ++i)
          for (int64_t j = 0; j < tile.cols; ++j) x(tile.row + i, tile.col + j) = static_cast<float>(values(i, j));
      });
    return x;
  }
  // The tensors of the weight, made at once from the whole of it.
  static std::vector<std::vector<std::byte>> at_once(const Matrix<float>& x, const WeightQuantization& q) {
    WeightEncoder encoder({q.args, q.format, x.rows, x.cols, DType::F32}, q.observer, q.arithmetic);
    for (int pass = 0; pass < encoder.passes(true); ++pass) {
      encoder.observe(pass, 0, 0, x.view());
      encoder.end_pass(pass);
    }
    std::vector<std::vector<std::byte>> tensors(1);
    const int64_t width = encoder.row_bytes(x.cols);
    tensors[0].resize(static_cast<size_t>(width * x.rows));
    encoder.encode(0, 0, x.view(), tensors[0].data(), width);
    for (size_t i = 1; i < stored_tensors(encoder.layout()).size(); ++i) tensors.push_back(encoder.small_tensor(i));
    return tensors;
  }
  // Saves with one thread and with three, and compares what is stored for the weight with at_once().
  void check(const RewritePlan& plan, const std::string& name) {
    const auto& q = std::get<Quantize>(planned(plan, name).edits.back()).quantization;
    const auto expected = at_once(edited(plan, name), q);
    const std::vector<TensorInfo> outputs = output_tensors(planned(plan, name), DType::F32);
    for (const int threads : {1, 3}) {
      save(plan, directory_ / "out", {.threads = threads, .force = true});
      const Checkpoint out = Checkpoint::open(directory_ / "out");
      ASSERT_EQ(outputs.size(), expected.size());
      for (size_t i = 0; i < outputs.size(); ++i)
        EXPECT_EQ(out.read(out.at(outputs[i].name)), expected[i]) << outputs[i].name << " " << threads;
      EXPECT_EQ(out.find(name) != nullptr, outputs[0].name == name);
    }
  }
};

TEST_F(QuantizePlan, StoresWhatTheWholeWeightGives) {
  const Model model = make({.hidden = 128, .intermediate = 256});
  const std::pair<QuantizationArgs, const char*> cases[] = {{ints(4, group, 64), "pack-quantized"},
                                                            {ints(3, group, 32), "pack-quantized"},
                                                            {ints(8, channel), "int-quantized"},
                                                            {ints(5, tensor), "naive-quantized"}};
  for (const auto& [args, format] : cases)
    for (const bool mse : {false, true}) {
      RewritePlan plan(model);
      const Module& down = *model.find("model.layers.0.mlp.down_proj");
      plan.edit_weight(down, MultiplyLeft{Rotation::hadamard(Hadamard::sylvester(128)), "R1'"});
      plan.edit_weight(down, Quantize{{.args = args, .format = format, .observer = {.mse = mse}}});
      check(plan, "model.layers.0.mlp.down_proj.weight");
    }
}

// A rotation of all rows makes panels of columns; rows of such a length do not fit into a tile.
TEST_F(QuantizePlan, ObservesFirstWhereAGroupIsLargerThanATile) {
  const Model model = make({.hidden = 1024, .layers = 1, .intermediate = 4096});
  const std::string name = "model.layers.0.mlp.down_proj.weight";
  for (const auto& [args, format, passes] :
       {std::tuple(ints(8, channel), "int-quantized", 1), std::tuple(ints(4, group, 128), "pack-quantized", 0)}) {
    RewritePlan plan(model);
    const Module& down = *model.find("model.layers.0.mlp.down_proj");
    plan.edit_weight(down, MultiplyLeft{Rotation::hadamard(Hadamard::sylvester(1024)), "R1'"});
    plan.edit_weight(down, Quantize{{.args = args, .format = format}});
    EXPECT_EQ(observing_passes(planned(plan, name), DType::F32), passes);
    EXPECT_EQ(kept_bytes(planned(plan, name), DType::F32), passes * 1024 * 4096 * 4);
    check(plan, name);
  }
}

TEST_F(QuantizePlan, EditsAgainWhatIsTooLargeToKeep) {
  const Model model = make({.hidden = 2048, .layers = 1, .intermediate = 8448});
  const std::string name = "model.layers.0.mlp.down_proj.weight";
  RewritePlan plan(model);
  const Module& down = *model.find("model.layers.0.mlp.down_proj");
  plan.edit_weight(down, MultiplyLeft{Rotation::hadamard(Hadamard::sylvester(2048)), "R1'"});
  plan.edit_weight(down, Quantize{{.args = ints(8, channel), .format = "int-quantized"}});
  EXPECT_EQ(kept_bytes(planned(plan, name), DType::F32), 0);
  check(plan, name);
}

TEST_F(QuantizePlan, FusedWeightsShareTheirGlobalScale) {
  const Model model = make({.hidden = 64, .layers = 1});
  QuantizationArgs args{.num_bits = 4, .type = QuantizationType::floating, .group_size = 16};
  args.strategy = tensor_group;
  RewritePlan plan(model);
  for (const char* linear : {"q_proj", "k_proj", "v_proj", "o_proj"})
    plan.edit_weight(
        *model.find(std::string("model.layers.0.self_attn.") + linear),
        Quantize{
            {.args = args, .format = "nvfp4-pack-quantized", .fused = std::string(linear) == "o_proj" ? "" : "qkv"}});
  save(plan, directory_ / "out");
  const Checkpoint out = Checkpoint::open(directory_ / "out");
  const auto scale = [&](const std::string& linear) {
    return out.read(out.at("model.layers.0.self_attn." + linear + ".weight_global_scale"));
  };
  EXPECT_EQ(scale("q_proj"), scale("k_proj"));
  EXPECT_EQ(scale("q_proj"), scale("v_proj"));
  EXPECT_NE(scale("q_proj"), scale("o_proj"));
}

TEST_F(QuantizePlan, QuantizedAndDequantizedIsWhatTheCodesMean) {
  const Model model = make({.hidden = 64, .intermediate = 128});
  const Module& down = *model.find("model.layers.0.mlp.down_proj");
  const WeightQuantization quantization{.args = ints(4, group, 32), .format = "pack-quantized"};
  RewritePlan codes(model), numbers(model);
  codes.edit_weight(down, Quantize{quantization});
  numbers.edit_weight(down, QuantizeDequantize{quantization});
  QuantizationConfig config;
  config.config_groups.emplace_back(
      "group_0",
      QuantizationScheme{.targets = {down.name}, .weights = quantization.args, .format = quantization.format});
  codes.set_quantization(config);
  save(codes, directory_ / "codes");
  save(numbers, directory_ / "numbers");
  save(RewritePlan(Model::describe(Checkpoint::open(directory_ / "codes"))), directory_ / "decoded");
  const Checkpoint a = Checkpoint::open(directory_ / "decoded"), b = Checkpoint::open(directory_ / "numbers");
  for (const CheckpointTensor& tensor : b.tensors())
    EXPECT_EQ(a.read(a.at(tensor.info.name)), b.read(tensor)) << tensor.info.name;
}

// What is run is what is stored: also after a rotation, and where scales are narrower than what is computed.
TEST_F(QuantizePlan, DequantizedIsWhatTheStoredCodesMean) {
  QuantizationArgs nvfp4{.num_bits = 4, .type = QuantizationType::floating, .group_size = 16, .strategy = tensor_group};
  QuantizationArgs asymmetric = ints(4, group, 32);
  asymmetric.symmetric = false;
  const std::tuple<QuantizationArgs, const char*, bool> cases[] = {{ints(4, group, 32), "pack-quantized", false},
                                                                   {asymmetric, "pack-quantized", true},
                                                                   {ints(8, channel), "int-quantized", true},
                                                                   {nvfp4, "nvfp4-pack-quantized", false}};
  const Model model = make({.hidden = 64, .intermediate = 128});
  const Module& down = *model.find("model.layers.0.mlp.down_proj");
  for (const auto& [args, format, mse] : cases)
    for (const DType saved : {DType::F32, DType::BF16}) {
      SCOPED_TRACE(std::string(format) + ", " + std::string(info(saved).name));
      RewritePlan codes(model);
      codes.edit_weight(down, MultiplyLeft{Rotation::hadamard(Hadamard::sylvester(64)), "R1'"});
      codes.edit_weight(down, Quantize{{.args = args, .format = format, .observer = {.mse = mse}}});
      QuantizationConfig config;
      config.config_groups.emplace_back("group_0",
                                        QuantizationScheme{.targets = {down.name}, .weights = args, .format = format});
      codes.set_quantization(config);
      RewritePlan numbers = codes;
      numbers.dequantize(saved);
      const TensorPlan& tensor = planned(numbers, down.name + ".weight");
      ASSERT_TRUE(std::holds_alternative<QuantizeDequantize>(tensor.edits.back()));
      EXPECT_EQ(quantization_of(tensor.edits)->scale_dtype, saved);
      save(codes, directory_ / "codes", {.dtype = saved, .force = true});
      // Both in float32, because the decoded weight is what the runtime would compute with.
      save(numbers, directory_ / "numbers", {.dtype = DType::F32, .force = true});
      save(RewritePlan(Model::describe(Checkpoint::open(directory_ / "codes"))), directory_ / "decoded",
           {.dtype = DType::F32, .force = true});
      const Checkpoint a = Checkpoint::open(directory_ / "decoded"), b = Checkpoint::open(directory_ / "numbers");
      EXPECT_EQ(a.read(a.at(down.name + ".weight")), b.read(b.at(down.name + ".weight")));
    }
}

TEST_F(QuantizePlan, DequantizeTakesTheSourcesDTypeForScalesAndLeavesOtherEdits) {
  const Model model = make({.hidden = 64});
  RewritePlan plan(model);
  plan.edit_weight(*model.find("model.layers.0.self_attn.q_proj"),
                   Quantize{{.args = ints(4, group, 32), .format = "pack-quantized"}});
  plan.edit_weight(*model.find("model.norm"), Fill{2});
  plan.dequantize();
  const std::string name = "model.layers.0.self_attn.q_proj.weight";
  EXPECT_EQ(quantization_of(planned(plan, name).edits)->scale_dtype, DType::F32);
  EXPECT_EQ(output_tensors(planned(plan, name), DType::BF16).size(), 1u);
  EXPECT_TRUE(std::holds_alternative<Fill>(planned(plan, "model.norm.weight").edits.back()));
}

TEST_F(QuantizePlan, ScalesAreNotFloat64) {
  const Model model = make({.hidden = 64});
  RewritePlan plan(model);
  plan.edit_weight(*model.find("model.layers.0.self_attn.q_proj"),
                   Quantize{{.args = ints(8, channel), .format = "int-quantized"}});
  EXPECT_EQ(testing::message_of([&] { save(plan, directory_ / "out", {.dtype = DType::F64}); }),
            "model.layers.0.self_attn.q_proj.weight: would have scales of float64, and no format has those; save it in "
            "another type: --dtype bfloat16");
  save(plan, directory_ / "out", {.dtype = DType::BF16});
}

TEST_F(QuantizePlan, SaysWhichWeightDoesNotDivide) {
  const Model model = make({.hidden = 96});
  RewritePlan plan(model);
  plan.edit_weight(*model.find("model.layers.0.self_attn.q_proj"),
                   Quantize{{.args = ints(4, group, 128), .format = "pack-quantized"}});
  try {
    save(plan, directory_ / "out");
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "model.layers.0.self_attn.q_proj.weight: 96 columns are not divisible by group_size 128; use "
                 "--group-size 32 by command, group_size: 32 in a recipe, or leave the module out: its name in "
                 "--ignore by command, in ignore in a recipe");
  }
}

}  // namespace
}  // namespace spinor::quantize_test
