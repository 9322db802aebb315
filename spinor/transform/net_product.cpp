#include "spinor/transform/net_product.h"

#include <algorithm>
#include <cmath>

#include "spinor/linalg/random.h"

namespace spinor {
namespace {

constexpr double kTolerance = 1e-6;

}  // namespace

Row operator*(Row x, const Product& product) {
  std::vector<double> scratch;
  for (const Rotation& r : product) r.multiply_right(MatrixView<double>(x.data(), 1, std::ssize(x)), scratch);
  return x;
}

Product then(Product first, const Product& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

Product transposed(const Product& product) {
  Product result;
  for (auto r = product.rbegin(); r != product.rend(); ++r) result.push_back(r->transposed());
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
  return then(std::move(inputs), transposed(factors<MultiplyRight>(weight_name(module), {})));
}

Product NetProducts::outgoing(const Module& module) const {
  return then(rows_of_weight(module), online(module, TransformLocation::output));
}

Product NetProducts::rows_of_weight(const Module& linear) const {
  Product left = factors<MultiplyLeft>(weight_name(linear), linear.part);
  for (Rotation& r : left) r = r.transposed();
  return left;
}

Product NetProducts::bias(const Module& linear) const {
  return factors<MultiplyRight>(linear.bias->info.name, linear.part);
}

Product NetProducts::columns_of_weight(const Module& embedding) const {
  return factors<MultiplyRight>(weight_name(embedding), {});
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

template <typename Multiply>
Product NetProducts::factors(const std::string& tensor, const std::optional<Slice>& part) const {
  Product product;
  for (const Edit& edit : edits(tensor))
    if (const auto* multiply = std::get_if<Multiply>(&edit); multiply && multiply->part == part)
      product.push_back(multiply->r);
  return product;
}

}  // namespace spinor
