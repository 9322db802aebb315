#include "spinor/learning/network.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "spinor/base/error.h"
#include "spinor/learning/frames.h"
#include "spinor/learning/judge.h"
#include "spinor/learning/starts.h"
#include "spinor/learning/testing.h"
#include "spinor/runtime/evaluate.h"
#include "spinor/runtime/matrices.h"
#include "spinor/runtime/stage.h"
#include "spinor/runtime/testing.h"

namespace spinor::learning::network_test {
namespace {

constexpr int64_t kContext = 12, kSamples = 3, kHidden = 32, kHead = 8, kLayers = 2;

using Matrices = std::map<std::string, at::Tensor>;

Matrices matrices(uint64_t seed) {
  Matrices made = {{"R1", runtime::tensor_of(testing::rotation_of(kHidden, seed))}};
  for (int64_t i = 0; i < kLayers; ++i)
    made[fmt::format("R2.{}", i)] = runtime::tensor_of(testing::rotation_of(kHead, seed + 1 + uint64_t(i)));
  return made;
}

class NetworkTest : public ::testing::Test {
 protected:
  NetworkTest() {
    runtime_.activations = runtime_.kv = runtime::LowBits{.bits = 4};
    for (const int32_t id : spinor::testing::tokens(kSamples * kContext, model_.vocabulary_size()))
      samples_.tokens.push_back(id);
  }

  // The runtime's own figure, of a plan that has the matrices.
  double evaluated(const Matrices& frames, bool divergence) {
    std::map<int, Matrix<double>> drawn = starts_of_r2(model_, rotate_);
    drawn.emplace(kEveryLayer, start_of_r1(model_, rotate_));
    RotateOptions rotate = rotate_;
    for (const auto& [name, p] : frames) {
      const int layer = name == "R1" ? kEveryLayer : name.back() - '0';
      Matrix<double> r = drawn.at(layer);
      const at::Tensor product = runtime::tensor_of(r).mm(p).contiguous();
      std::copy_n(product.const_data_ptr<double>(), r.data.size(), r.data.begin());
      rotate.spin.given.groups[name.substr(0, 2)].insert_or_assign(layer, Rotation::dense(r, true));
    }
    runtime::RuntimeOptions options = runtime_;
    options.saved = DType::F64;
    runtime::Reference reference(RewritePlan(model_), options);
    const runtime::Evaluation found =
        evaluate(rotated_plan(model_, rotate), reference, samples_.tokens, {.context = kContext}, options);
    return divergence ? *found.divergence : std::log(found.perplexity);
  }

  spinor::testing::TemporaryDirectory directory_;
  Model model_ = spinor::testing::make_model(directory_);
  RotateOptions rotate_{
      .spin = {.rotations = spinor::testing::kAllSpins, .transform_type = "random-hadamard", .seed = 1}};
  RewritePlan plan_ = rotated_plan(model_, rotate_);
  runtime::RuntimeOptions runtime_{.dtype = DType::F64, .threads = 1, .memory = 1};
  calibration::Samples samples_{.count = kSamples, .context = kContext, .tokens = {}};
  std::vector<int64_t> all_ = {0, 1, 2};
};

TEST_F(NetworkTest, ItsLossIsThatOfTheModelThatHasTheRotations) {
  for (const uint64_t seed : {5, 6}) {
    Frames frames(plan_, matrices(seed), runtime_);
    for (const char* objective : {"kl", "cross_entropy"}) {
      Network network(plan_, samples_, find_objective(objective), frames, runtime_);
      const double expected = evaluated(matrices(seed), std::string_view(objective) == "kl");
      // Float64 throughout; codes are found in float32, of values that agree to the last bits of float64.
      EXPECT_NEAR(network.loss(all_), expected, 1e-9 * expected) << objective;
      EXPECT_NEAR(network.add_gradient(all_), expected, 1e-9 * expected) << objective;
    }
  }
}

TEST_F(NetworkTest, HeldLayersAndLayersMadeAgainGiveTheSameBits) {
  std::vector<at::Tensor> gradients;
  for (const int64_t memory : {1, 1 << 30}) {
    runtime_.memory = memory;
    Frames frames(plan_, matrices(5), runtime_);
    Network network(plan_, samples_, find_objective("kl"), frames, runtime_);
    network.add_gradient(all_);
    gradients.push_back(frames.gradient("R1"));
  }
  EXPECT_TRUE(gradients[0].equal(gradients[1]));
}

// Quantizers that are smooth: they remember the errors of their codes, in units of the range of a row, from when they
// ran first, and go on with those.
class Frozen : public runtime::Surrogates {
 public:
  explicit Frozen(Matrices at) : matrices_(std::move(at)) {}

  Matrices& matrices() { return matrices_; }
  void rewind() { next_ = 0; }
  std::shared_ptr<const runtime::Surrogate> input(const Module& linear) override {
    const bool output = linear.name.ends_with("o_proj"), down = linear.name.ends_with("down_proj");
    return at_place(output ? fmt::format("R2.{}", linear.layer) : down ? "" : "R1");
  }
  std::shared_ptr<const runtime::Surrogate> keys(const std::string&) override { return at_place(""); }
  std::shared_ptr<const runtime::Surrogate> values(const std::string& attention) override {
    return at_place(fmt::format("R2.{}", attention.find(".0.") != std::string::npos ? 0 : 1));
  }

 private:
  std::shared_ptr<const runtime::Surrogate> at_place(const std::string& name) {
    return std::make_shared<runtime::Surrogate>([this, name](const at::Tensor& x) {
      const int64_t size = name.empty() ? x.size(-1) : matrices_.at(name).size(0);
      const at::Tensor p = name.empty() ? at::eye(size, at::kDouble) : matrices_.at(name);
      const at::Tensor y = x.reshape({-1, size}).mm(p).reshape(x.sizes());
      const at::Tensor range = y.amax(-1, true).clamp_min(0) - y.amin(-1, true).clamp_max(0);
      if (next_ == errors_.size()) {
        at::Tensor quantized = y.clone();
        runtime::apply({{}, ActivationQuantizer(ActivationQuantizer::token_args(4, false))}, quantized);
        errors_.push_back((quantized - y) / range);
      }
      return (y + errors_[next_++] * range).reshape({-1, size}).mm(p.t()).reshape(x.sizes());
    });
  }

  Matrices matrices_;
  std::vector<at::Tensor> errors_;
  size_t next_ = 0;
};

// (1 - tB/2)^-1 (1 + tB/2), orthogonal.
at::Tensor turned(const at::Tensor& skew, double t) {
  const at::Tensor one = at::eye(skew.size(0), at::kDouble);
  return at::linalg_solve(one - skew * (t / 2), one + skew * (t / 2));
}

// Along a direction of the orthogonal group, for each rotation: a central difference with codes frozen.
TEST_F(NetworkTest, ItsGradientIsThatOfItsLoss) {
  constexpr double kStep = 1e-6;  // extremes of rows stay where they are
  for (const char* objective : {"kl", "cross_entropy"}) {
    Frames frames(plan_, matrices(5), runtime_);
    Network network(plan_, samples_, find_objective(objective), frames, runtime_);
    network.add_gradient(all_);
    Frozen frozen(matrices(5));
    Network smooth(plan_, samples_, find_objective(objective), frozen, runtime_);
    frozen.rewind();
    const double loss = smooth.loss(all_);
    EXPECT_NEAR(loss, network.loss(all_), 1e-12 * loss);
    for (const auto& [name, p] : matrices(5)) {
      at::manual_seed(11);
      const at::Tensor normal = at::randn(p.sizes(), at::kDouble), skew = normal - normal.t();
      const auto moved = [&](double t) {
        frozen.rewind();
        frozen.matrices()[name] = p.mm(turned(skew, t));
        return smooth.loss(all_);
      };
      const double expected = (moved(kStep) - moved(-kStep)) / (2 * kStep);
      frozen.matrices()[name] = p;
      const double found = (p.t().mm(frames.gradient(name)) * skew).sum().item<double>();
      // Rounding: some 1e-16 of the loss / step.
      EXPECT_NEAR(found, expected, 1e-6 * std::abs(expected)) << objective << " " << name;
    }
  }
}

TEST_F(NetworkTest, RefusesRotationsThatStandBeforeNothingQuantized) {
  runtime_.activations.reset();
  EXPECT_THROW(Frames(plan_, matrices(5), runtime_), Error);
  Matrices values = matrices(5);
  values.erase("R1");
  EXPECT_NO_THROW(Frames(plan_, values, runtime_));  // the cache has few bits
  runtime_.kv.reset();
  EXPECT_THROW(Frames(plan_, values, runtime_), Error);
}

}  // namespace
}  // namespace spinor::learning::network_test
