#include "spinor/learning/scale_statistics.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "spinor/transform/scale_formulas.h"
#include "tests/golden/golden.h"

namespace spinor::learning::scale_statistics_test {
namespace {

constexpr int64_t kTokens = 20;

std::vector<double> numbers(const at::Tensor& x) {
  const at::Tensor values = x.to(at::kDouble).contiguous();
  return {values.const_data_ptr<double>(), values.const_data_ptr<double>() + values.numel()};
}

void expect_near(const std::vector<double>& a, const std::vector<double>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-5 * b[i]) << i;  // squares are float32
}

const LegalScale& first_of(const std::vector<LegalScale>& scales, ScaleKind kind) {
  return *std::ranges::find(scales, kind, &LegalScale::kind);
}

// A linear as it would be in the model, of random weights.
runtime::Linear linear_of(const LinearPart& scaled) {
  const WeightShape& shape = scaled.linear->shape;
  runtime::Linear linear;
  linear.weight = at::randn({shape.out, shape.in});
  linear.name = scaled.linear->name;
  return linear;
}

TEST(ScaleStatistics, TokensOfAnMlpCountAlikeAndTheFirstMore) {
  at::manual_seed(1);
  const Model model = golden::model("transforms/llama");
  const std::vector<LegalScale> scales = legal_scales(model);
  const LegalScale& m = first_of(scales, ScaleKind::m);
  const runtime::Linear down = linear_of(m.readers.front());
  const at::Tensor x = at::randn({1, kTokens, down.weight.size(1)}) * at::randn({1, kTokens, 1}).exp();
  ScaleStatistics statistics({m});
  statistics.add(down, x, x, kTokens);
  const at::Tensor u = x[0].to(at::kDouble), v = u.square().mean(1).reciprocal();
  v[0].mul_(64);
  const at::Tensor s = ((v.unsqueeze(1) * u.square()).sum(0) / v.sum()).sqrt();
  expect_near(statistics.factors().at(m.name),
              mlp_scale(numbers(down.weight.to(at::kDouble).square().mean(0).sqrt()), numbers(s)));
}

TEST(ScaleStatistics, KeysAndQueriesAreMeasuredWhereTheyComeOut) {
  at::manual_seed(2);
  const Model model = golden::model("transforms/llama");
  const std::vector<LegalScale> scales = legal_scales(model);
  const LegalScale& k = first_of(scales, ScaleKind::k);
  ScaleStatistics statistics({k});
  std::vector<std::vector<double>> rms;
  for (const LinearPart* one : {&k.readers.front(), &k.writer}) {
    const at::Tensor y = at::randn({1, kTokens, one->linear->shape.out}) * 3;
    statistics.add(linear_of(*one), at::zeros({1, kTokens, 1}), y, kTokens);
    rms.push_back(numbers(y[0].to(at::kDouble).square().mean(0).sqrt()));
  }
  expect_near(statistics.factors().at(k.name), key_scale(k, rms[0], rms[1]));
}

TEST(ScaleStatistics, ExpertsOfAStackAreToldApart) {
  at::manual_seed(3);
  const Model model = golden::model("transforms/llama");
  const std::vector<LegalScale> scales = legal_scales(model);
  const LegalScale& m = first_of(scales, ScaleKind::m);
  LegalScale stack = m;
  stack.stack = 3;
  stack.writer.size *= 3;
  ScaleStatistics together({stack});
  stack.experts = {"experts.0.up_proj", "experts.1.up_proj", "experts.2.up_proj"};
  ScaleStatistics apart({stack});
  std::map<int64_t, std::vector<double>> expected;
  for (const int64_t expert : {0, 2}) {  // no token reaches 1
    runtime::Linear down = linear_of(m.readers.front());
    ScaleStatistics alone({m});
    const at::Tensor x = at::randn({4 + expert, down.weight.size(1)});
    alone.add(down, x, x, kTokens);
    expected[expert] = alone.factors().at(m.name);
    down.number = expert;
    for (ScaleStatistics* statistics : {&together, &apart}) statistics->add(down, x, x, kTokens);
  }
  const auto found = apart.factors();
  EXPECT_EQ(found.size(), 2U);
  EXPECT_EQ(found.at("experts.0.up_proj"), expected[0]);
  EXPECT_EQ(found.at("experts.2.up_proj"), expected[2]);
  std::vector<double> all = expected[0];
  all.resize(2 * all.size(), 1.0);
  all.insert(all.end(), expected[2].begin(), expected[2].end());
  EXPECT_EQ(together.factors().at(m.name), all);
}

TEST(ScaleStatistics, AnExpertThatNoTokenReachedHasNone) {
  const Model model = golden::model("transforms/llama");
  const std::vector<LegalScale> scales = legal_scales(model);
  EXPECT_TRUE(ScaleStatistics({first_of(scales, ScaleKind::m)}).factors().empty());
}

}  // namespace
}  // namespace spinor::learning::scale_statistics_test
