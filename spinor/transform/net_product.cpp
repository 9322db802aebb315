#include "spinor/transform/net_product.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "spinor/linalg/random.h"

namespace spinor {
namespace {

constexpr double kTolerance = 1e-6;

Row diagonal(const Scale& scale) {
  Row by = *scale.by;
  if (scale.inverse)
    for (double& factor : by) factor = 1 / factor;
  return by;
}

}  // namespace

Row operator*(Row x, const Product& product) {
  std::vector<double> scratch;
  for (const auto& factor : product) {
    if (const auto* r = std::get_if<Rotation>(&factor))
      r->multiply_right(MatrixView<double>(x.data(), 1, std::ssize(x)), scratch);
    else
      std::ranges::transform(x, std::get<Row>(factor), x.begin(), std::multiplies());
  }
  return x;
}

Product then(Product first, const Product& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

Product transposed(const Product& product) {
  Product result(product.rbegin(), product.rend());
  for (auto& factor : result)
    if (auto* r = std::get_if<Rotation>(&factor)) *r = r->transposed();
  return result;
}

Row probe(int64_t n) {
  Random random(1);
  Row x(static_cast<size_t>(n));
  for (double& entry : x) entry = random.uniform_double() - 0.5;
  return x;
}

bool agree(const Row& x, const Row& y) {
  double size = 0;
  for (const double entry : x) size = std::max(size, std::abs(entry));
  return std::ranges::equal(x, y, [&](double a, double b) { return std::abs(a - b) <= kTolerance * size; });
}

bool is_identity(const Product& product, int64_t side) {
  return product.empty() || agree(probe(side), probe(side) * product);
}

NetProducts::NetProducts(const RewritePlan& plan) : plan_(plan) {
  for (const OnlineTransform& online : plan.online()) online_[online.module].push_back(&online);
}

Product NetProducts::incoming(const Module& module) const {
  Product inputs = online(module, TransformLocation::input);
  std::ranges::reverse(inputs);
  return then(std::move(inputs), transposed(factors(weight_name(module), true, {})));
}

Product NetProducts::outgoing(const Module& module) const {
  return then(rows_of_weight(module), online(module, TransformLocation::output));
}

Product NetProducts::rows_of_weight(const Module& linear) const {
  Product left = factors(weight_name(linear), false, linear.part);
  for (auto& factor : left)
    if (auto* r = std::get_if<Rotation>(&factor)) *r = r->transposed();
  return left;
}

Product NetProducts::bias(const Module& linear) const {
  return factors(linear.bias->info.name, true, linear.part);
}

Product NetProducts::columns_of_weight(const Module& embedding) const {
  return factors(weight_name(embedding), true, {});
}

Product NetProducts::online(const Module& module, TransformLocation location) const {
  Product product;
  if (const auto found = online_.find(module.name); found != online_.end())
    for (const OnlineTransform* transform : found->second)
      if (transform->location == location) product.push_back(transform->r);
  return product;
}

bool NetProducts::norm_is_folded(const Module& linear) const {
  return std::ranges::any_of(edits(weight_name(linear)), [](const Edit& edit) {
    return std::holds_alternative<FoldNorm>(edit) || std::holds_alternative<FoldNormWithBias>(edit);
  });
}

std::span<const Edit> NetProducts::edits(const std::string& tensor) const {
  const TensorPlan* found = plan_.find(tensor);
  if (!found) return {};  // a tied head before untie()
  return std::span(found->edits).subspan(found->restoring);
}

Product NetProducts::factors(const std::string& tensor, bool columns, const std::optional<Slice>& part) const {
  Product product;
  for (const Edit& edit : edits(tensor)) {
    const auto* right = std::get_if<MultiplyRight>(&edit);
    const auto* left = std::get_if<MultiplyLeft>(&edit);
    const auto* scale = std::get_if<Scale>(&edit);
    if (columns && right && right->part == part) product.emplace_back(right->r);
    if (!columns && left && left->part == part) product.emplace_back(left->r);
    if (scale && scale->columns == columns && scale->part == part) product.emplace_back(diagonal(*scale));
  }
  return product;
}

}  // namespace spinor
