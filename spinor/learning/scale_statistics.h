// What exact scales are found from: root mean squares of what linears read and give, channel by channel.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "spinor/runtime/linear.h"
#include "spinor/transform/scales.h"

namespace spinor::learning {

class ScaleStatistics {
 public:
  // Of these scales.
  explicit ScaleStatistics(std::vector<LegalScale> scales);

  // Of a sample whose first token is the first row of x, where all of its tokens are there: context of them.
  void add(const runtime::Linear& linear, const at::Tensor& x, const at::Tensor& y, int64_t context);
  // By LegalScale::names(), as scale_formulas.h has them; none of an expert that no token reached, and factors of 1
  // where it has no name of its own.
  std::map<std::string, std::vector<double>> factors() const;

 private:
  // Squares of one linear's inputs (m: as token_weights() says) or outputs.
  struct Sum {
    at::Tensor squares;
    double weight = 0;

    void add(const at::Tensor& rows, const at::Tensor& weights);
    std::vector<double> rms() const;
  };

  // Of a reader and its number in a stack.
  struct Input {
    Sum sum;
    std::vector<double> columns;  // of its weight
  };
  using Key = std::pair<std::string, int64_t>;

  const Input* find(const LegalScale& scale, int64_t number) const;
  void add_stack(const LegalScale& scale, std::map<std::string, std::vector<double>>& all) const;

  std::vector<LegalScale> scales_;
  std::map<std::string, ScaleKind> readers_;  // of m and v
  std::set<std::string> turned_;              // linears of queries and keys
  std::map<Key, Input> inputs_;
  std::map<std::string, Sum> outputs_;
};

}  // namespace spinor::learning
