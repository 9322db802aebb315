// One of the two models that verify_weights() compares: its weights, and what acts on their inputs and outputs online.
#pragma once

#include <stop_token>
#include <vector>

#include "spinor/base/view.h"
#include "spinor/model/model.h"
#include "spinor/plan/plan.h"
#include "spinor/transform/products.h"

namespace spinor::verify {

// Whether r is orthogonal, but for the rounding of its stored entries: measured with random vectors, in n^2.
bool keeps_products(const Rotation& r);

class Side {
 public:
  // Reads the matrices of online transforms. Errors as of as_stored(), and for a transform of what no product sees, or
  // that is not orthogonal.
  // A request to stop ends the next product with Stopped.
  Side(const Model& model, int threads, std::stop_token stop = {});

  const Model& model() const { return model_; }
  const Checkpoint& checkpoint() const { return model_.checkpoint(); }
  const std::vector<OnlineTransform>& online() const { return online_; }

  // As read_products() and written() (products.h), through the online transforms of the module: x <- x T before, y <- y
  // T behind. Of a part they are those of its linear.
  RowProducts products(const Module& module, const Matrix<double>& x) const;
  Matrix<double> written(const Module& module, Matrix<double> z) const;
  bool mixes_outputs(const Module& module) const;  // a transform acts on them
  // What a linear adds; of a stack the sum with one weight each, z (1, count). Of a part it is its whole linear's.
  std::vector<double> bias(const Module& module) const;
  std::vector<double> bias_sum(const Module& module, const Matrix<double>& z) const;

 private:
  std::vector<const Rotation*> at(const Module& module, TransformLocation location) const;
  void transform_inputs(const Module& module, Matrix<double>& x) const;
  void transform_outputs(const Module& module, Matrix<double>& y) const;

  Model model_;
  std::vector<OnlineTransform> online_;
  int threads_;
  std::stop_token stop_;
};

}  // namespace spinor::verify
