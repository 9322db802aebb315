#include "spinor/runtime/stage.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "spinor/base/error.h"
#include "spinor/linalg/orthogonal.h"
#include "spinor/runtime/matrices.h"

namespace spinor::runtime::stage_test {
namespace {

std::vector<int8_t> signs(int64_t n) {
  std::vector<int8_t> result;
  for (int64_t i = 0; i < n; ++i) result.push_back(i % 3 == 1 || i % 7 == 2 ? -1 : 1);
  return result;
}
std::vector<int64_t> permutation(int64_t n) {
  std::vector<int64_t> result;
  for (int64_t i = 0; i < n; ++i) result.push_back((i * 5 + 2) % n);
  return result;
}
Rotation dense(int64_t n, uint64_t seed) {
  Random random(seed);
  return Rotation::dense(random_orthogonal(n, random), true);
}

// All of them divide 96.
std::vector<std::pair<std::string, Rotation>> rotations() {
  const Hadamard h12 = Hadamard::of_order(12), h96 = Hadamard::of_order(96), h32 = Hadamard::sylvester(32);
  return {{"Sylvester, in blocks", Rotation::hadamard(h32)},
          {"with signs", Rotation::hadamard(h32, signs(32))},
          {"no power of two", Rotation::hadamard(h96, signs(96))},
          {"no power of two, in blocks", Rotation::hadamard(h12, signs(12))},
          {"permuted", Rotation::hadamard(h96, signs(96), permutation(96))},
          {"permuted, in blocks", Rotation::hadamard(h12, {}, permutation(12))},
          {"transposed", Rotation::hadamard(h12, signs(12)).transposed()},
          {"dense", dense(96, 1)},
          {"dense, in blocks, transposed", dense(24, 2).transposed()}};
}

// x blockdiag(r) in float64.
at::Tensor product(const at::Tensor& x, const Rotation& r) {
  const at::Tensor wide = x.to(at::kDouble);
  return wide.reshape({-1, r.size()}).matmul(tensor_of(r.matrix())).reshape(wide.sizes());
}

// More rows than are computed at once; three dimensions, as activations have.
at::Tensor activations(at::ScalarType dtype) {
  at::manual_seed(4);
  return at::randn({3, 97, 96}, at::kDouble).to(dtype);
}

TEST(Stage, ARotationIsTheDenseProduct) {
  // float32: its roundoff times the stages of the transform. Narrow ones: that, and one rounding at the end.
  const std::tuple<at::ScalarType, double, double> types[] = {
      {at::kDouble, 1e-13, 0}, {at::kFloat, 2e-6, 0}, {at::kBFloat16, 2e-6, 0x1p-8}, {at::kHalf, 2e-6, 0x1p-11}};
  for (const auto& [dtype, absolute, relative] : types)
    for (const auto& [name, r] : rotations()) {
      const at::Tensor x = activations(dtype), expected = product(x, r);
      apply({{r}, {}}, x);
      const at::Tensor bound = absolute + relative * expected.abs();
      EXPECT_TRUE(at::all((x.to(at::kDouble) - expected).abs() <= bound).item<bool>())
          << name << " " << toString(dtype);
    }
}

TEST(Stage, RotationsActInTheirOrder) {
  const Rotation a = Rotation::hadamard(Hadamard::of_order(12), signs(12)), b = dense(96, 5);
  const at::Tensor x = activations(at::kDouble), expected = product(product(x, a), b);
  EXPECT_GT((product(product(x, b), a) - expected).abs().max().item<double>(), 0.1);
  apply({{a, b}, {}}, x);
  EXPECT_LE((x - expected).abs().max().item<double>(), 1e-13);
}

TEST(Stage, IsQuantizedAfterItIsRotated) {
  const Rotation r = Rotation::hadamard(Hadamard::of_order(96), signs(96));
  const ActivationQuantizer quantizer(ActivationQuantizer::token_args(4, false));
  const at::Tensor x = activations(at::kFloat), rotated = x.clone();
  apply({{r}, {}}, rotated);
  ActivationQuantizer::Scratch scratch;
  quantizer.apply({rotated.data_ptr<float>(), rotated.numel() / 96, 96}, scratch);
  apply({{r}, quantizer}, x);
  EXPECT_TRUE(x.equal(rotated));
}

// As nvfp4 has it while nothing has found its static scale: the largest magnitude of all rows, after they are rotated.
TEST(Stage, TakesTheGlobalScaleOfAllRows) {
  QuantizationArgs nvfp4{.num_bits = 4, .type = QuantizationType::floating};
  nvfp4.strategy = QuantizationStrategy::tensor_group;
  nvfp4.group_size = 16;
  const Rotation r = dense(96, 5);
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    const at::Tensor x = activations(dtype) * 1e4, expected = x.clone();
    apply({{r}, {}}, expected);
    const float largest = expected.abs().max().item<float>();
    apply({{}, ActivationQuantizer(nvfp4, 1, {.affine = {}, .global = 448.0F * 6 / largest})}, expected);
    apply({{r}, ActivationQuantizer::without_global(nvfp4)}, x);
    EXPECT_TRUE(x.equal(expected)) << toString(dtype);
  }
}

// It is whoever looks at the logits who says so.
TEST(Stage, LeavesWhatIsNotFiniteAloneWithoutAGlobalScale) {
  QuantizationArgs nvfp4{.num_bits = 4, .type = QuantizationType::floating};
  nvfp4.strategy = QuantizationStrategy::tensor_group;
  nvfp4.group_size = 16;
  for (const float value : {INFINITY, NAN}) {
    const at::Tensor x = activations(at::kFloat);
    x.view({-1})[3] = value;
    const at::Tensor before = x.clone();
    apply({{}, ActivationQuantizer::without_global(nvfp4)}, x);
    EXPECT_TRUE(x.nan_to_num(7).equal(before.nan_to_num(7)));
  }
}

// float64 is rounded to float32 before codes are found; what comes out are numbers of float32.
TEST(Stage, QuantizesEveryTypeAsFloat32) {
  const ActivationQuantizer quantizer(ActivationQuantizer::token_args(8, true));
  for (const at::ScalarType dtype : {at::kDouble, at::kBFloat16, at::kHalf}) {
    const at::Tensor x = activations(dtype), expected = x.to(at::kFloat);
    apply({{}, quantizer}, expected);
    apply({{}, quantizer}, x);
    EXPECT_TRUE(x.equal(expected.to(dtype))) << toString(dtype);
  }
}

TEST(Stage, DoesNothingToNothing) {
  at::Tensor none = at::empty({0, 96}), x = activations(at::kFloat);
  const at::Tensor before = x.clone();
  EXPECT_TRUE(Stage().empty());
  apply({}, x);
  EXPECT_TRUE(x.equal(before));
  apply({{dense(96, 1)}, {}}, none);
  EXPECT_EQ(none.numel(), 0);
}

TEST(Stage, IsTheSameAsItsCopyOnly) {
  const Rotation a = dense(12, 1), b = dense(12, 2);
  const ActivationQuantizer four(ActivationQuantizer::token_args(4, false));
  const ActivationQuantizer eight(ActivationQuantizer::token_args(8, false));
  const Stage stage{{a, b}, four}, copy = stage;
  EXPECT_TRUE(stage.same_as(copy));
  EXPECT_TRUE(Stage().same_as({}));
  EXPECT_FALSE(stage.same_as({}));
  EXPECT_FALSE(stage.same_as({{b, a}, four}));
  EXPECT_FALSE(stage.same_as({{a}, four}));
  EXPECT_FALSE(stage.same_as({{a, b.transposed()}, four}));
  EXPECT_FALSE(stage.same_as({{a, b}, eight}));
  EXPECT_FALSE(stage.same_as({{a, b}, {}}));
}

TEST(Stage, AGradientGoesThroughARotationByItsTranspose) {
  const at::Tensor x = activations(at::kDouble), weights = at::randn({3, 97, 96}, at::kDouble);
  for (const auto& [name, r] : rotations()) {
    const at::Tensor leaf = x.clone().requires_grad_(true);
    const at::Tensor y = through({{r, rotations()[1].second}, {}}, leaf);
    (y * weights).sum().backward();
    const at::Tensor expected = product(product(weights, rotations()[1].second.transposed()), r.transposed());
    EXPECT_LE((leaf.grad() - expected).abs().max().item<double>(), 1e-13) << name;  // as of the product itself
    EXPECT_TRUE(leaf.detach().equal(x)) << name;
  }
  Stage quantized{{}, ActivationQuantizer(ActivationQuantizer::token_args(4, false))};
  EXPECT_THROW(through(quantized, x.clone().requires_grad_(true)), Error);
  quantized.surrogate = std::make_shared<Surrogate>([](const at::Tensor& all) { return all * 2; });
  EXPECT_TRUE(through(quantized, x).equal(x * 2));
}

}  // namespace
}  // namespace spinor::runtime::stage_test
