// What exact scales are found from: root mean squares of what linears read and give, channel by channel.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "spinor/runtime/linear.h"
#include "spinor/transform/scales.h"

namespace spinor::learning {

class ScaleStatistics {
 public:
  // Of these scales; those of stacked experts are left out, as their linears are not told apart.
  explicit ScaleStatistics(std::vector<LegalScale> scales);

  // Of a sample whose first token is the first row of x, where all of its tokens are there: context of them.
  void add(const runtime::Linear& linear, const at::Tensor& x, const at::Tensor& y, int64_t context);
  // By LegalScale::name, as scale_formulas.h has them; none of an expert that no token reached.
  std::map<std::string, std::vector<double>> factors() const;

 private:
  // Squares of one linear's inputs (m: tokens weigh what makes them alike, the first one more) or outputs.
  struct Sum {
    at::Tensor squares;
    double weight = 0;

    void add(const at::Tensor& rows, const at::Tensor& weights);
    std::vector<double> rms() const;
  };

  std::vector<LegalScale> scales_;
  std::map<std::string, ScaleKind> readers_;  // of m and v
  std::set<std::string> turned_;              // linears of queries and keys
  std::map<std::string, Sum> inputs_, outputs_;
  std::map<std::string, std::vector<double>> columns_;  // of the readers' weights
};

}  // namespace spinor::learning
