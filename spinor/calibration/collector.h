// What calibration notes while samples go through a layer: Hessians of the inputs of linears, ranges of activations.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "spinor/calibration/hessian.h"
#include "spinor/plan/plan.h"
#include "spinor/quant/activation_range.h"
#include "spinor/runtime/linear.h"

namespace spinor::calibration {

class Collector : public runtime::LayerWatcher {
 public:
  Collector(int threads, bool all_experts) : threads_(threads), all_experts_(all_experts) {}

  struct Inputs {
    HessianPart part;
    at::Tensor weight;                 // (out, in), the one that the layer multiplies with
    std::shared_ptr<Hessian> hessian;  // shared by linears that read the same; null: nothing came
  };

  // Notes the inputs of this linear, the ranges of these activations, from now on.
  void want(const std::string& linear, HessianPart part) { inputs_[linear].part = part; }
  void want(const CalibratedActivation& activation);
  // Whether any of this is of use: "input" and "output" of a linear, "k" and "v" of an attention.
  bool wants(const std::string& module, const char* place) const;
  // A sample is through. Hessians are summed up some samples at a time: which are summed first does not depend on
  // threads.
  void end_batch();
  // Error for what was not finite, naming the module. The layer may be run on without being observed.
  void finish();

  Inputs& inputs(const std::string& linear) { return inputs_.at(linear); }
  const ActivationRange& range(const CalibratedActivation& activation) const;
  void clear();
  // From now on until clear(): the outputs of these linears are of no use, unless their ranges are wanted.
  void skip(const std::string& linear);

  void linear(const runtime::Linear& linear, const at::Tensor& x, const at::Tensor& y) override;
  bool needs_output(const runtime::Linear& linear) const override;
  void cache(const std::string& attention, const at::Tensor& keys, const at::Tensor& values) override;
  bool wants_all_tokens() const override { return watching_ && all_experts_; }

 private:
  using Place = std::pair<std::string, std::string>;  // module, place
  void add(const std::string& module, const char* place, const at::Tensor& x);
  void sum_up();

  int threads_;
  bool all_experts_, watching_ = true;
  std::map<std::string, Inputs> inputs_;
  std::map<Place, ActivationRange> ranges_;
  std::vector<std::pair<at::Tensor, std::shared_ptr<Hessian>>> read_;  // by linears in this batch
  struct Pending {
    std::shared_ptr<Hessian> hessian;
    std::vector<at::Tensor> inputs;
  };
  std::vector<Pending> pending_;    // not summed up yet
  int64_t batches_ = 0;             // that they are of
  std::vector<std::string> order_;  // of inputs_, as they first came
  std::set<std::string> skipped_;
};

}  // namespace spinor::calibration
