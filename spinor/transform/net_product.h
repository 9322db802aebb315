// What a plan does to the rows that enter and leave one module: all its edits and online transforms, as products.
#pragma once

#include <map>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

#include "spinor/plan/plan.h"

namespace spinor {

using Row = std::vector<double>;
// x -> x r[0] r[1] ..., x a row, each factor block-diagonal, or diagonal: then it is its diagonal, as long as x.
using Product = std::vector<std::variant<Rotation, Row>>;

Row operator*(Row x, const Product& product);
Product then(Product first, const Product& second);
Product transposed(const Product& product);

// n numbers of [-0.5, 0.5), the same for every n: two products that agree on them are equal (but for a coincidence).
Row probe(int64_t n);
// Do two rows agree? Products that cancel do so to about 1e-15 times the condition of a matrix, which is 1e4 to 1e6 for
// random ones; rows that do not agree differ by their own size. Hence 1e-6. False for NaN.
bool agree(const Row& x, const Row& y);
bool is_identity(const Product& product, int64_t side);

// Of the plan as it is now; keeps a reference to it.
class NetProducts {
 public:
  explicit NetProducts(const RewritePlan& plan);

  // Of a part only what is done to its rows; of a linear only what is done to all of it. Of a stack's linear x is as
  // long as the sides of all of them.
  // An input x meets the weights of the checkpoint as x * incoming: online at input, then W P, which means x P^T. The
  // hook of a later group runs first on an input, as in compressed-tensors.
  Product incoming(const Module& module) const;
  // An output y of the checkpoint leaves as y * outgoing: L W, which means y L^T, then online at output, in order.
  Product outgoing(const Module& module) const;
  Product rows_of_weight(const Module& linear) const;  // outgoing without what is online
  Product bias(const Module& linear) const;
  // Embedding rows e leave as e * columns_of_weight, and nothing may act on the side of the vocabulary.
  Product columns_of_weight(const Module& embedding) const;

  Product online(const Module& module, TransformLocation location) const;
  bool norm_is_folded(const Module& linear) const;

 private:
  const RewritePlan& plan_;
  std::map<std::string_view, std::vector<const OnlineTransform*>> online_;  // by module

  std::span<const Edit> edits(const std::string& tensor) const;  // that change the function
  // Of the edits that act on the columns of a tensor, or on its rows.
  Product factors(const std::string& tensor, bool columns, const std::optional<Slice>& part) const;
};

}  // namespace spinor
