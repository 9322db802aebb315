// The rotations of a network as something that it is differentiated by. They stand only where activations are
// quantized: with weights of full precision W' x R Q R' is all that is left of a rotation R that was fused into them.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "spinor/plan/plan.h"
#include "spinor/runtime/options.h"
#include "spinor/runtime/surrogates.h"

namespace spinor::learning {

// Quantizers that act between two rotations: x <- Q(x P) P', P of R1 where a linear reads the residual stream, P of
// R2 of its layer where an output projection reads heads of values and where a cache keeps them. The plan's model has
// R1 and R2 as they were drawn, so that R P is what the network has. Codes are straight_through().
class Frames : public runtime::Surrogates {
 public:
  // matrices by name, "R1" and "R2.<layer>": P (size, size), size dividing what it acts on. activations and kv are as
  // the runtime has them. Errors: a rotation that nothing which is quantized sees; a scheme whose scales do not come
  // from rows; a transform of its own at the input of a linear that is to see P.
  Frames(const RewritePlan& plan, std::map<std::string, at::Tensor> matrices, const runtime::RuntimeOptions& runtime);

  // Its gradient is none then.
  void set(const std::string& name, const at::Tensor& matrix);
  // What backward() has summed up since set(), dL/dP.
  at::Tensor gradient(const std::string& name) const;

  std::shared_ptr<const runtime::Surrogate> input(const Module& linear) override;
  std::shared_ptr<const runtime::Surrogate> keys(const std::string& attention) override;
  std::shared_ptr<const runtime::Surrogate> values(const std::string& attention) override;

 private:
  void find_readers(const RewritePlan& plan);
  void find_values(const RewritePlan& plan);
  enum class What { linear_input, cache };
  std::shared_ptr<const runtime::Surrogate> at_place(const std::string& place, What what);

  std::map<std::string, at::Tensor> matrices_;
  std::optional<runtime::LowBits> activations_, kv_;
  std::map<std::string, std::string> places_;  // names of matrices by linear or attention
  std::map<std::pair<std::string, What>, std::shared_ptr<const runtime::Surrogate>> made_;
};

}  // namespace spinor::learning
