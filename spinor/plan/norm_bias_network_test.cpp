// Networks with LayerNorms are unchanged by the edits that fold and rotate them.
#include <algorithm>
#include <cmath>

#include "spinor/linalg/fixing_ones.h"
#include "spinor/plan/norm_bias_testing.h"

namespace spinor::norm_bias_network_test {
namespace {

using testing::kBeta, testing::kDown, testing::kFinalBeta, testing::kNorm, testing::kUp, testing::linear;

Matrix<double> layer_norm(const Matrix<double>& x, const Matrix<double>& g, const Matrix<double>& beta) {
  Matrix<double> y(x.rows, x.cols);
  const auto n = static_cast<double>(x.cols);
  for (int64_t i = 0; i < x.rows; ++i) {
    double mean = 0, square = 0;
    for (int64_t j = 0; j < x.cols; ++j) mean += x(i, j) / n;
    for (int64_t j = 0; j < x.cols; ++j) square += (x(i, j) - mean) * (x(i, j) - mean) / n;
    for (int64_t j = 0; j < x.cols; ++j) y(i, j) = (x(i, j) - mean) / std::sqrt(square + 1e-5) * g(0, j) + beta(0, j);
  }
  return y;
}

// E -> x; y = x + W2 relu(W1 LN(x) + b1) + b2; logits = head LN(y): W1 has a bias, the head has none.
struct Network {
  Matrix<double> embedding, g, beta, up, up_bias, down, down_bias, final_g, final_beta, head;

  Matrix<double> logits() const {
    Matrix<double> inner = linear(layer_norm(embedding, g, beta), up, up_bias);
    for (double& v : inner.data) v = std::max(v, 0.0);
    Matrix<double> y = linear(inner, down, down_bias);
    for (size_t i = 0; i < y.data.size(); ++i) y.data[i] += embedding.data[i];
    return linear(layer_norm(y, final_g, final_beta), head);
  }
};

class LayerNormNetwork : public testing::NormBiasTest {
 protected:
  void fold() {
    plan_.untie();
    plan_.edit_weight(module(kUp), FoldNorm{kNorm + ".weight"});
    plan_.edit_bias(module(kUp), FoldNormBias{kBeta + ".weight", kUp + ".weight"});
    plan_.edit_weight(module(kNorm), Fill{1});
    plan_.edit_weight(module(kBeta), Fill{0});
    plan_.edit_weight(module("lm_head"), FoldNormWithBias{"model.norm.weight", kFinalBeta + ".weight"});
    plan_.edit_weight(module("model.norm"), Fill{1});
    plan_.edit_weight(module(kFinalBeta), FillLevel{});
  }

  void rotate(const Rotation& r) {
    for (const std::string& reader : {std::string("model.embed_tokens"), kUp, std::string("lm_head")})
      plan_.edit_weight(module(reader), MultiplyRight{r, "R1"});
    plan_.edit_weight(module(kDown), MultiplyLeft{r.transposed(), "R1'"});
    plan_.edit_bias(module(kDown), MultiplyRight{r, "R1"});
  }

  template <typename Read>
  static Network network(const Read& read) {
    return {read("model.embed_tokens.weight"),
            read(kNorm + ".weight"),
            read(kBeta + ".weight"),
            read(kUp + ".weight"),
            read(kUp + ".bias"),
            read(kDown + ".weight"),
            read(kDown + ".bias"),
            read("model.norm.weight"),
            read(kFinalBeta + ".weight"),
            read("lm_head.weight")};
  }

  // How far the logits of the plan are from the source's.
  double change() const {
    const Matrix<double> before = network([this](const std::string& name) { return values(name); }).logits();
    const Matrix<double> after = network([this](const std::string& name) { return computed(name); }).logits();
    double worst = 0;
    for (size_t i = 0; i < before.data.size(); ++i) worst = std::max(worst, std::abs(before.data[i] - after.data[i]));
    return worst;
  }
};

TEST_F(LayerNormNetwork, IsTheSameWithItsNormsFolded) {
  fold();
  EXPECT_LT(change(), 1e-12);
  const Matrix<double> level_now = computed(kFinalBeta + ".weight");
  for (const double v : level_now.data) EXPECT_EQ(v, 1);  // rms 1.04
}

TEST_F(LayerNormNetwork, IsTheSameWithAStreamThatKeepsItsMean) {
  const auto rotation = [](int64_t n) {
    Random random(1);
    const std::vector<int8_t> left = random.signs(n), right = random.signs(n);
    return hadamard_fixing_ones(n, left, right, random.permutation(n));
  };
  Random random(2);
  for (const Rotation& r : {rotation(32), rotation(16), hadamard_fixing_ones(32, bent_signs(32), bent_signs(32)),
                            Rotation::dense(random_orthogonal_fixing_ones(32, random), true)}) {
    plan_ = RewritePlan(model_);
    fold();
    rotate(r);
    EXPECT_LT(change(), 1e-12);
  }
}

TEST_F(LayerNormNetwork, IsAnotherWithAnyOtherRotation) {
  fold();
  rotate(Rotation::hadamard(Hadamard::sylvester(32)));
  EXPECT_GT(change(), 0.01);
}

}  // namespace
}  // namespace spinor::norm_bias_network_test
