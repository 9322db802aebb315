#include "spinor/transform/given_rotations.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "spinor/linalg/convert.h"
#include "spinor/linalg/fixing_ones.h"
#include "spinor/linalg/nearest_orthogonal.h"
#include "spinor/linalg/orthogonal.h"
#include "spinor/plan/testing.h"
#include "spinor/transform/apply.h"
#include "spinor/transform/auto_operation.h"
#include "spinor/transform/rotate_model.h"
#include "tests/golden/golden.h"

namespace spinor::given_rotations_test {
namespace {

using testing::message_of;

struct Tensor {
  std::string name;
  Matrix<double> m;
  DType dtype = DType::F64;
};

Matrix<double> orthogonal(int64_t n, uint64_t seed = 1) {
  Random random(seed);
  return random_orthogonal(n, random);
}

// A safetensors file of these tensors, for a model of hidden size 32, heads of 8 and 2 layers.
class OwnMatrices : public ::testing::Test {
 protected:
  testing::TemporaryDirectory directory;
  const Model model = Model::describe(Checkpoint::open(testing::write_model(directory / "model", {.biases = true})));
  const std::filesystem::path file = directory / "own.safetensors";

  void write(const std::vector<Tensor>& tensors) const {
    std::vector<TensorInfo> infos;
    for (const Tensor& tensor : tensors)
      infos.push_back({.name = tensor.name, .dtype = tensor.dtype, .shape = {tensor.m.rows, tensor.m.cols}});
    std::string bytes = make_safetensors_header(infos, {{"format", "pt"}});
    if (!infos.empty()) bytes.resize(static_cast<size_t>(infos.back().end));
    for (const TensorInfo& info : infos)
      for (const Tensor& tensor : tensors)
        if (tensor.name == info.name)
          // What does not fit is stored as infinity, which is what a test of that wants.
          (void)store(tensor.dtype, tensor.m.data.data(), reinterpret_cast<std::byte*>(bytes.data()) + info.begin,
                      std::ssize(tensor.m.data));
    write_text(file, bytes);
  }
  GivenRotations read(const std::vector<Tensor>& tensors) const {
    write(tensors);
    return read_rotations(file, model);
  }
  // The message without the file's name, which it begins with.
  std::string refusal(const std::vector<Tensor>& tensors) const {
    const std::string message = message_of([&] { read(tensors); }), prefix = file.string() + ": ";
    EXPECT_TRUE(message.starts_with(prefix)) << message;
    return message.substr(std::min(message.size(), prefix.size()));
  }
};

TEST_F(OwnMatrices, AreReadByTheirNames) {
  const GivenRotations given = read({{"R1", orthogonal(32)},
                                     {"R2.0", orthogonal(8, 2)},
                                     {"model.layers.1.self_attn.R2", orthogonal(8, 3), DType::F32}});
  ASSERT_EQ(given.groups.size(), 2u);
  EXPECT_EQ(given.groups.at("R1").at(kEveryLayer).matrix().data, orthogonal(32).data);
  EXPECT_EQ(given.groups.at("R2").at(0).matrix().data, orthogonal(8, 2).data);
  EXPECT_LT(golden::distance(given.groups.at("R2").at(1).matrix(), orthogonal(8, 3)), 1e-7);
  EXPECT_EQ(given.digest.size(), 32u);
}

TEST_F(OwnMatrices, BecomeOrthogonalAgainWhateverTheyWereStoredAs) {
  for (const DType dtype : {DType::F64, DType::F32, DType::BF16}) {
    const Matrix<double> r = read({{"R1", orthogonal(32), dtype}}).groups.at("R1").at(kEveryLayer).matrix();
    EXPECT_LE(orthogonality_error({r.data.data(), r.rows, r.cols}), kOrthogonal);
    EXPECT_LT(golden::distance(r, orthogonal(32)), dtype == DType::BF16 ? 0x1p-8 : 0x1p-23);
  }
}

TEST_F(OwnMatrices, AreRefusedByNameShapeTypeAndLayer) {
  const char* names =
      "; names are R1, R2, R2.<layer>, model.layers.<layer>.self_attn.R2, v.<linear>, of scales scale.<module>, "
      "and of orders permutation.<linear>";
  for (const std::string name : {"R3", "r1", "R1.0", "R2.", "R2.01", "R2.-1", "R2.+1", "R2.1x", "R2.99999999999",
                                 "model.layers..self_attn.R2", "model.layers.0.self_attn.R1"})
    EXPECT_EQ(refusal({{"R1", orthogonal(32)}, {name, orthogonal(8)}}),
              name + ": is not the name of a rotation" + names);
  EXPECT_EQ(refusal({{"R2.2", orthogonal(8)}}), "R2.2: the model has 2 layers");
  EXPECT_EQ(refusal({{"v.model.norm", orthogonal(8)}}), "v.model.norm: the model has no linear model.norm");
  EXPECT_EQ(
      refusal({{"v.lm_head", orthogonal(24)}}),
      "v.lm_head: is of size 24, but the number of its inputs is 32; a rotation has that size, or one that divides "
      "it");
  EXPECT_EQ(refusal({{"R1", Matrix<double>(32, 16)}}), "R1: is not a square matrix");
  EXPECT_EQ(refusal({{"R1", Matrix<double>(0, 0)}}), "R1: is not a square matrix");
  EXPECT_EQ(refusal({{"R1", orthogonal(24)}}),
            "R1: is of size 24, but hidden_size is 32; a rotation has that size, or one that divides it");
  EXPECT_EQ(refusal({{"R2", orthogonal(16)}}),
            "R2: is of size 16, but head_dim is 8; a rotation has that size, or one that divides it");
  EXPECT_EQ(refusal({{"R1", orthogonal(32), DType::F16}}), "R1: is stored as F16; use float64, float32 or bfloat16");
  EXPECT_EQ(refusal({{"R2", orthogonal(8)}, {"R2.1", orthogonal(8)}}).substr(0, 6), "R2.1: ");
  EXPECT_EQ(refusal({{"R2.1", orthogonal(8)}, {"model.layers.1.self_attn.R2", orthogonal(8)}}),
            std::string("model.layers.1.self_attn.R2: is a second matrix for the same layer") + names);
  EXPECT_EQ(refusal({{"R2.1", orthogonal(8)}, {"R2.0", orthogonal(4)}}).substr(6),
            "is of another size than the matrices of other layers");
  EXPECT_EQ(refusal({}), std::string("has no rotation, no scale and no permutation in it") + names);
}

TEST_F(OwnMatrices, AreRefusedWhenNotOrthogonal) {
  Matrix<double> m = orthogonal(32);
  m(3, 4) += 1e-3;
  EXPECT_TRUE(refusal({{"R1", m}}).starts_with("R1: is not orthogonal: an entry of R R^T is off by 0.00"));
  EXPECT_TRUE(refusal({{"R1", m, DType::F32}}).ends_with("and rounding to float32 explains 6.1e-05"));
  EXPECT_EQ(read({{"R1", m, DType::BF16}}).groups.size(), 1u);  // rounding alone does as much
  for (double& x : m.data) x *= 2;
  EXPECT_EQ(refusal({{"R1", m, DType::BF16}}).substr(0, 21), "R1: is not orthogonal");
  EXPECT_EQ(refusal({{"R1", Matrix<double>(32, 32)}}).substr(0, 21), "R1: is not orthogonal");
}

// float32 rounded to float64 is no better than float32, but says that it is.
TEST_F(OwnMatrices, AreAsExactAsTheirTypeSays) {
  Matrix<double> m = orthogonal(32);
  for (double& x : m.data) x = static_cast<double>(static_cast<float>(x));
  EXPECT_EQ(refusal({{"R1", m}}).substr(0, 21), "R1: is not orthogonal");
  EXPECT_EQ(read({{"R1", m, DType::F32}}).groups.size(), 1u);
}

TEST_F(OwnMatrices, AreRefusedWhenNotFinite) {
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    Matrix<double> m = orthogonal(32);
    m(31, 31) = bad;
    for (const DType dtype : {DType::F64, DType::F32, DType::BF16})
      EXPECT_EQ(refusal({{"R1", m, dtype}}), "R1: has an entry that is not finite");
  }
}

TEST_F(OwnMatrices, AreRefusedInABrokenFile) {
  write({{"R1", orthogonal(32)}});
  const std::string whole = read_text(file);
  for (const size_t length : {size_t{0}, size_t{7}, size_t{40}, whole.size() - 1}) {
    write_text(file, whole.substr(0, length));
    EXPECT_THROW(read_rotations(file, model), Error) << length;
  }
  EXPECT_THROW(read_rotations(directory / "none.safetensors", model), Error);
}

TEST_F(OwnMatrices, AreKnownByTheirDigest) {
  const std::string digest = read({{"R1", orthogonal(32)}}).digest;
  EXPECT_EQ(read_rotations(file, model, digest).digest, digest);
  write({{"R1", orthogonal(32, 9)}});
  const std::string message = message_of([&] { read_rotations(file, model, digest); });
  EXPECT_NE(message.find("is not the file of rotations that was used"), std::string::npos) << message;
}

TEST_F(OwnMatrices, TakeThePlaceOfDrawnOnes) {
  const GivenRotations given = read({{"R1", orthogonal(32)}, {"R2.0", orthogonal(8, 2)}, {"R2.1", orthogonal(8, 3)}});
  RewritePlan plan(model);
  rotate_model(model, plan, {.spin = {.given = given}});
  RewritePlan expected(model);
  const Module& value = *model.find("model.layers.1.self_attn.v_proj");
  expected.edit_weight(value, FoldNorm{"model.layers.1.input_layernorm.weight"});
  AutoOperation::rotate_input(expected, value, Rotation::dense(orthogonal(32), true).transposed(), "R1'");
  AutoOperation::rotate_output(expected, value, Rotation::dense(orthogonal(8, 3), true), "R2");
  const auto edits_of = [&](const RewritePlan& p) { return golden::tensor(p, weight_name(value)).edits; };
  const auto found = edits_of(plan), wanted = edits_of(expected);
  ASSERT_EQ(found.size(), wanted.size());
  for (size_t i = 0; i < found.size(); ++i) EXPECT_EQ(text_of(found[i], 16, 32), text_of(wanted[i], 16, 32));
  EXPECT_EQ(std::get<MultiplyLeft>(found.back()).r.matrix().data,
            std::get<MultiplyLeft>(wanted.back()).r.matrix().data);
  EXPECT_EQ(plan.transform_config()["config_groups"]["R1"]["type"], "given");
  EXPECT_EQ(plan.transform_config()["config_groups"]["R2"]["head_dim"], 8);
}

TEST_F(OwnMatrices, MayBeBlocks) {
  const GivenRotations given = read({{"R1", orthogonal(16)}, {"R2", orthogonal(4)}});
  RewritePlan plan(model);
  rotate_model(model, plan, {.spin = {.given = given}});
  EXPECT_NE(plan.text().find("W R1 (2 blocks of 16)"), std::string::npos) << plan.text();
  EXPECT_NE(plan.text().find("R2' W (4 blocks of 4)"), std::string::npos) << plan.text();
}

TEST_F(OwnMatrices, LeaveTheOthersToBeDrawn) {
  const GivenRotations given = read({{"R2", orthogonal(8)}});
  const TransformConfig config = spinquant(model, {.transform_type = "random-hadamard", .given = given});
  EXPECT_EQ(config.config_groups[0].second.type, "random-hadamard");
  EXPECT_EQ(config.config_groups[1].second.type, "given");
}

TEST_F(OwnMatrices, MustBeWhatIsAskedFor) {
  const GivenRotations given = read({{"R1", orthogonal(32)}, {"R2.0", orthogonal(8)}});
  const auto refused = [&](const SpinQuantOptions& options) {
    RewritePlan plan(model);
    return message_of([&] { rotate_model(model, plan, {.spin = options}); });
  };
  EXPECT_EQ(refused({.rotations = {Spin::R2}, .given = given}),
            "R1: has matrices of its own, but is not among the rotations; "
            "add it to --rotations (rotations in a recipe), or take it out of the file");
  EXPECT_EQ(refused({.transform_block_size = 16, .given = given}),
            "R1: has matrices of size 32 of its own, not of 16; leave out --block-size by command, "
            "transform_block_size or head_dim in a recipe");
  EXPECT_EQ(refused({.given = given}),
            "model.layers.1.self_attn.v_proj: no R2 was given for its layer; give one for every layer, or one for all");
}

TEST_F(OwnMatrices, AreNotDrawn) {
  RewritePlan plan(model);
  TransformConfig config = spinquant(model, {});
  config.config_groups[0].second.type = kGivenType;
  EXPECT_EQ(message_of([&] { apply(config, model, plan); }),
            "R1: stands for matrices of the user's own, which are not here; give their file: --rotation FILE by "
            "command, rotation_file in a recipe");
}

// Matrices that a program made itself are checked by what they do.
TEST_F(OwnMatrices, OfAProgramMustBeOrthogonalToo) {
  Matrix<double> m = orthogonal(32);
  for (int64_t j = 0; j < 32; ++j) m(0, j) *= 2;
  GivenRotations given;
  given.groups["R1"].emplace(kEveryLayer, Rotation::dense(m, true));
  RewritePlan plan(model);
  EXPECT_THROW(rotate_model(model, plan, {.spin = {.given = given}}), Error);
}

}  // namespace
}  // namespace spinor::given_rotations_test
