#include "spinor/calibration/hessian.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <span>
#include <vector>

#include "spinor/calibration/on_each.h"

namespace spinor::calibration::hessian_test {
namespace {

// Larger than a panel, and not a multiple of it.
constexpr int64_t kSize = 600;

at::Tensor inputs(int64_t rows, int64_t seed) {
  at::manual_seed(static_cast<uint64_t>(seed));
  return at::randn({rows, kSize}) * at::rand({kSize}).add_(0.1);
}

void add_each(Hessian& hessian, const std::vector<at::Tensor>& batches) {
  for (const at::Tensor& x : batches) {
    for (const HessianPiece& piece : hessian_pieces(kSize, hessian.part()))
      hessian.add(piece, sum_products(piece, std::span(&x, 1)));
    hessian.count(1, x.numel() / kSize);
  }
}

Hessian hessian_of(const std::vector<at::Tensor>& batches) {
  Hessian hessian(kSize, at::kCPU);
  add_each(hessian, batches);
  return hessian;
}

double distance(const at::Tensor& a, const at::Tensor& b) {
  return ((a.to(at::kDouble) - b.to(at::kDouble)).norm() / b.to(at::kDouble).norm()).item<double>();
}

TEST(Hessian, IsTwiceTheMeanOverBatchesOfTheInputsProducts) {
  const at::Tensor a = inputs(700, 1), b = inputs(300, 2);
  const Hessian hessian = hessian_of({a.reshape({7, 100, kSize}), b});
  const at::Tensor all = at::cat({a, b}).to(at::kDouble);
  EXPECT_LE(distance(hessian.matrix(), all.t().mm(all)), 1e-6);  // sums of 1000 products in float
  EXPECT_EQ(hessian.tokens(), 1000);
  EXPECT_TRUE(hessian.finite());
}

TEST(Hessian, HasTheSameDiagonalWithoutTheRest) {
  Hessian diagonal(kSize, at::kCPU, HessianPart::diagonal);
  const at::Tensor a = inputs(700, 1), b = inputs(300, 2);
  add_each(diagonal, {a, b});
  EXPECT_LE(distance(diagonal.diagonal(), hessian_of({a, b}).diagonal()), 1e-6);
  EXPECT_EQ(diagonal.tokens(), 1000);
}

TEST(Hessian, SeesWhatIsNotFinite) {
  at::Tensor x = inputs(10, 1);
  x[3][5] = INFINITY;
  EXPECT_FALSE(hessian_of({x}).finite());
  Hessian diagonal(kSize, at::kCPU, HessianPart::diagonal);
  add_each(diagonal, {x});
  EXPECT_FALSE(diagonal.finite());
}

TEST(HessianFactor, MakesTheHessianAgainWithItsDamping) {
  const Hessian hessian = hessian_of({inputs(1000, 3)});
  for (const bool by_activity : {false, true}) {
    const auto found = factor(hessian, 0.01, by_activity, 2);
    ASSERT_TRUE(found);
    const at::Tensor order = at::tensor(found->order, at::kLong), lower = found->lower.tril();
    at::Tensor expected = hessian.matrix().index_select(0, order).index_select(1, order);
    expected.diagonal().add_(found->damping);
    EXPECT_LE(distance(lower.mm(lower.t()), expected), 1e-5);
    EXPECT_NEAR(found->damping, 0.01 * hessian.matrix().diagonal().mean().item<double>(), 1e-3 * found->damping);
    const at::Tensor diagonal = hessian.matrix().diagonal().index_select(0, order);
    EXPECT_EQ(by_activity, std::is_sorted(diagonal.const_data_ptr<float>(), diagonal.const_data_ptr<float>() + kSize));
    if (!by_activity) {
      EXPECT_EQ(found->order.front(), kSize - 1);
    }
  }
}

TEST(HessianFactor, NamesInputsThatAreAlwaysZero) {
  at::Tensor x = inputs(1000, 4);
  x.select(1, 7).zero_();
  const auto found = factor(hessian_of({x}), 0.01, true, 2);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->dead, std::vector<int64_t>{7});
}

TEST(HessianFactor, TakesMoreDampeningWhereThatIsNeeded) {
  // One token: of rank one, so that nothing has no factor, and rounding makes it indefinite.
  const auto found = factor(hessian_of({inputs(1, 5) * 1e3}), 0, false, 2);
  ASSERT_TRUE(found);
  EXPECT_GT(found->dampening_frac, 0);
}

TEST(HessianFactor, IsNothingWhereNothingHelps) {
  at::Tensor x = inputs(10, 6);
  x[0][0] = NAN;
  EXPECT_FALSE(factor(hessian_of({x}), 0.01, false, 2));
}

// Several columns of blocks, and several tiles.
TEST(HessianFactor, HasTheSameBitsWithAnyThreads) {
  const OneThreadEach one;
  at::manual_seed(7);
  const at::Tensor x = at::randn({1500, 1100}), y = at::randn({300, 1100});
  std::vector<at::Tensor> found, sums;
  for (const int threads : {1, 2, 3}) {
    Hessian hessian(1100, at::kCPU);
    const std::vector<HessianPiece> pieces = hessian_pieces(1100, HessianPart::whole);
    on_each(std::ssize(pieces), threads, [&](int64_t i) {
      const HessianPiece& piece = pieces[static_cast<size_t>(i)];
      hessian.add(piece, sum_products(piece, std::vector{x, y}));
    });
    hessian.count(2, 1800);
    sums.push_back(hessian.matrix());
    EXPECT_TRUE(sums.back().equal(sums.front()));
    found.push_back(factor(hessian, 0.01, true, threads)->lower);
  }
  for (const at::Tensor& other : found) EXPECT_EQ(0, (other != found[0]).sum().item<int64_t>());
  EXPECT_TRUE(found[0].equal(found[0].tril()));
}

}  // namespace
}  // namespace spinor::calibration::hessian_test
