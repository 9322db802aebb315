#include "spinor/plan/norm_bias.h"

#include <cmath>

#include "spinor/linalg/fixing_ones.h"
#include "spinor/plan/norm_bias_testing.h"
#include "spinor/plan/stored_edits.h"

namespace spinor::norm_bias_test {
namespace {

using testing::kBeta, testing::kDown, testing::kNorm, testing::kUp, testing::linear;
using Values = std::vector<double>;
using NormBias = testing::NormBiasTest;

Matrix<double> transpose(const Matrix<double>& x) {
  Matrix<double> y(x.cols, x.rows);
  for (int64_t i = 0; i < x.rows; ++i)
    for (int64_t j = 0; j < x.cols; ++j) y(j, i) = x(i, j);
  return y;
}

// W diag(g) + a 1^T, a = (W beta / t - W g) / n, as it is written down.
Matrix<double> folded(const Matrix<double>& w, const Matrix<double>& g, const Matrix<double>& beta, double t) {
  Matrix<double> y = w;
  for (int64_t i = 0; i < w.rows; ++i) {
    double a = 0;
    for (int64_t j = 0; j < w.cols; ++j)
      a += (w(i, j) * beta(0, j) / t - w(i, j) * g(0, j)) / static_cast<double>(w.cols);
    for (int64_t j = 0; j < w.cols; ++j) y(i, j) = w(i, j) * g(0, j) + a;
  }
  return y;
}

TEST(Level, IsThePowerOfTwoNearestToTheRms) {
  EXPECT_EQ(level(Values{0, 0, 0}), 0);
  EXPECT_EQ(level(Values{}), 0);
  EXPECT_EQ(level(Values{1, -1, 1, -1}), 1);
  EXPECT_EQ(level(Values{0.3, 0.3}), 0.25);
  EXPECT_EQ(level(Values{6, 0, 0, 0}), 4);  // rms 3, and sqrt(8) < 3
  EXPECT_EQ(level(Values{1e-200, 1e-200}), std::ldexp(1, -14));
  EXPECT_EQ(level(Values{1e200, 1e200}), std::ldexp(1, 15));
}

TEST_F(NormBias, TheBiasOfANormGoesThroughTheWeightIntoTheBias) {
  plan_.edit_bias(module(kUp), FoldNormBias{kBeta + ".weight", kUp + ".weight"});
  const Matrix<double> expected = linear(values(kBeta + ".weight"), values(kUp + ".weight"), values(kUp + ".bias"));
  expect_near<double>(kUp + ".bias", expected, 1e-14);  // sums of 32 products of order 0.1
  expect_near<float>(kUp + ".bias", expected, 1e-6);
}

TEST_F(NormBias, TheWeightMayBeStoredTransposed) {
  plan_.edit_bias(module(kUp), FoldNormBias{kBeta + ".weight", kDown + ".weight", true});
  const Matrix<double> expected =
      linear(values(kBeta + ".weight"), transpose(values(kDown + ".weight")), values(kUp + ".bias"));
  expect_near<double>(kUp + ".bias", expected, 1e-14);
  expect_near<float>(kUp + ".bias", expected, 1e-6);
}

// The weight that the product is made with is the source's, and a rotation of the bias comes after.
TEST_F(NormBias, EditsOfTheWeightDoNotMatterAndThoseOfTheBiasFollow) {
  const Rotation r = hadamard_fixing_ones(16, bent_signs(16), bent_signs(16));
  plan_.edit_weight(module(kUp), FoldNorm{kNorm + ".weight"});
  plan_.edit_bias(module(kUp), FoldNormBias{kBeta + ".weight", kUp + ".weight"});
  plan_.edit_bias(module(kUp), MultiplyRight{r, "R"});
  Matrix<double> expected = linear(values(kBeta + ".weight"), values(kUp + ".weight"), values(kUp + ".bias"));
  std::vector<double> scratch;
  r.multiply_right(expected.view(), scratch);
  expect_near<double>(kUp + ".bias", expected, 1e-14);
}

TEST_F(NormBias, AWeightTakesOverNormAndBias) {
  plan_.edit_weight(module(kUp), FoldNormWithBias{kNorm + ".weight", kBeta + ".weight", 0.5});
  Matrix<double> g = values(kNorm + ".weight");
  const Matrix<double> beta = values(kBeta + ".weight");
  for (double& v : g.data) v += 0.5;
  const Matrix<double> expected = folded(values(kUp + ".weight"), g, beta, level(beta.data));
  expect_near<double>(kUp + ".weight", expected, 1e-15);
  expect_near<float>(kUp + ".weight", expected, 1e-6);
}

TEST_F(NormBias, ATransposedWeightDoesToo) {
  plan_.edit_weight(module(kDown), FoldNormWithBias{kNorm + ".weight", kBeta + ".weight", 0, true});
  const Matrix<double> g = values(kNorm + ".weight"), beta = values(kBeta + ".weight");
  const Matrix<double> expected = transpose(folded(transpose(values(kDown + ".weight")), g, beta, level(beta.data)));
  expect_near<double>(kDown + ".weight", expected, 1e-15);
  expect_near<float>(kDown + ".weight", expected, 1e-6);
}

TEST_F(NormBias, TheStoredEditOfATransposedWeightSaysSo) {
  TensorPlan tensor = planned(kDown + ".weight");
  tensor.edits = {FoldNormWithBias{kNorm + ".weight", kBeta + ".weight"}};
  EXPECT_FALSE(std::get<FoldNormWithBias>(stored_edits(tensor).front()).transposed);
  tensor.shape.transposed = true;
  EXPECT_TRUE(std::get<FoldNormWithBias>(stored_edits(tensor).front()).transposed);
}

TEST_F(NormBias, ABiasOfZerosLeavesOnlyTheScale) {
  overwrite(kBeta + ".weight", std::vector<float>(32));
  plan_.edit_weight(module(kUp), FoldNormWithBias{kNorm + ".weight", kBeta + ".weight"});
  plan_.edit_weight(module(kBeta), FillLevel{});
  Matrix<double> expected = values(kUp + ".weight");
  const Matrix<double> g = values(kNorm + ".weight");
  for (int64_t i = 0; i < expected.rows; ++i)
    for (int64_t j = 0; j < expected.cols; ++j) expected(i, j) *= g(0, j);
  expect_near<double>(kUp + ".weight", expected, 0);
  for (const double v : computed(kBeta + ".weight").data) EXPECT_EQ(v, 0);
}

TEST(NormBiasProduct, IsMadeABlockOfRowsAtATime) {
  const testing::TemporaryDirectory directory;
  const auto model = testing::write_model(directory / "model", {.vocabulary = 9001});
  const Checkpoint checkpoint = Checkpoint::open(model);
  const CheckpointTensor& head = checkpoint.at("lm_head.weight");
  Matrix<double> w(9001, 32), x(1, 32), longer(1, 9001);
  load(DType::F32, checkpoint.read(head).data(), w.data.data(), 9001 * 32);
  for (int64_t i = 0; i < 9001; ++i) longer(0, i) = 1.0 / static_cast<double>(i + 1);
  for (int64_t i = 0; i < 32; ++i) x(0, i) = static_cast<double>(i) - 7;
  const Values y = product(checkpoint, "lm_head.weight", false, x.data);
  const Values z = product(checkpoint, "lm_head.weight", true, longer.data);
  const Matrix<double> expected = linear(x, w), expected_transposed = linear(longer, transpose(w));
  for (size_t i = 0; i < y.size(); ++i) ASSERT_NEAR(y[i], expected.data[i], 1e-12);
  for (size_t i = 0; i < z.size(); ++i) ASSERT_NEAR(z[i], expected_transposed.data[i], 1e-12);
}

TEST_F(NormBias, WrongLengthsAreErrors) {
  const std::string inner = kUp + ".bias";  // 48 elements
  plan_.edit_weight(module(kUp), FoldNormWithBias{kNorm + ".weight", inner});
  EXPECT_EQ(testing::message_of([&] { computed(kUp + ".weight"); }),
            kUp + ".weight: has 32 columns, but " + inner + " has 48 elements");
  plan_.edit_bias(module(kUp), FoldNormBias{inner, kUp + ".weight"});
  EXPECT_EQ(testing::message_of([&] { computed(inner); }),
            inner + ": has 32 columns, but " + inner + " has 48 elements");
  plan_.edit_bias(module(kDown), FoldNormBias{kBeta + ".weight", kUp + ".weight"});
  EXPECT_EQ(testing::message_of([&] { computed(kDown + ".bias"); }),
            kDown + ".bias: has 32 elements, but " + kUp + ".weight has 48 outputs");
  EXPECT_EQ(testing::message_of([&] { product(checkpoint_, kUp + ".weight", false, Values(31)); }),
            kUp + ".weight: has 32 columns, but the vector has 31 elements");
}

TEST_F(NormBias, ValuesThatAreNotFiniteAreErrors) {
  plan_.edit_weight(module(kUp), FoldNormWithBias{kNorm + ".weight", kBeta + ".weight"});
  plan_.edit_bias(module(kUp), FoldNormBias{kBeta + ".weight", kUp + ".weight"});
  overwrite(kUp + ".weight", {NAN});
  EXPECT_EQ(testing::message_of([&] { computed(kUp + ".bias"); }),
            kUp + ".weight: contains NaN or infinity; the checkpoint is damaged");
  overwrite(kBeta + ".weight", {INFINITY});
  for (const std::string& tensor : {kUp + ".weight", kUp + ".bias"})
    EXPECT_EQ(testing::message_of([&] { computed(tensor); }),
              kBeta + ".weight: contains NaN or infinity; the checkpoint is damaged");
}

TEST_F(NormBias, ASourceWithOnlineTransformsIsRefused) {
  plan_.edit_weight(module(kUp), MultiplyRight{Rotation::hadamard(Hadamard::sylvester(32)), "R4"});
  plan_.mark_restoring();
  plan_.edit_bias(module(kUp), FoldNormBias{kBeta + ".weight", kUp + ".weight"});
  EXPECT_EQ(testing::message_of([&] { computed(kUp + ".bias"); }),
            kUp + ".weight: has online transforms, so " + kBeta + ".weight cannot be folded through it");
}

}  // namespace
}  // namespace spinor::norm_bias_test
