// What calibration notes while samples go through a layer: inputs of linears and ranges of activations, of a chunk of
// samples at a time, which then goes into the sums.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "spinor/calibration/chunk_sums.h"
#include "spinor/plan/plan.h"
#include "spinor/runtime/linear.h"

namespace spinor::calibration {

class Collector : public runtime::LayerWatcher {
 public:
  Collector(ChunkSums& sums, int threads, bool all_experts)
      : sums_(sums), threads_(threads), all_experts_(all_experts) {}

  // Notes the inputs of this linear for the rank that owns its Hessian, the ranges of these activations, from now on.
  void want(const std::string& linear, HessianPart part, int owner);
  void want(const CalibratedActivation& activation);
  // Whether any of this is of use: "input" and "output" of a linear, "k" and "v" of an attention.
  bool wants(const std::string& module, const char* place) const;
  // A sample is through.
  void end_sample();
  // All samples of this rank are.
  void end_samples();
  // Error for inputs that were not finite, naming the module. The layer may be run on without being observed.
  void finish();

  // Null: nothing came. Of a linear that this rank owns.
  std::shared_ptr<Hessian>& hessian(const std::string& linear) { return sums_.hessian(linear); }
  const ActivationRange& range(const CalibratedActivation& activation) const;
  // The weight (out, in) that the layer multiplies with; undefined: it was not made.
  at::Tensor weight(const std::string& linear) const;
  // Watches for nothing.
  void clear();
  void forget_layer() { weights_.clear(); }  // which was made last
  // From now on until clear(): the outputs of these linears are of no use, unless their ranges are wanted.
  void skip(const std::string& linear);

  void made(const runtime::Linear& linear) override { weights_[linear.name] = linear.weight; }
  void linear(const runtime::Linear& linear, const at::Tensor& x, const at::Tensor& y) override;
  bool needs_output(const runtime::Linear& linear) const override;
  void cache(const std::string& attention, const at::Tensor& keys, const at::Tensor& values) override;
  bool wants_all_tokens() const override { return watching_ && all_experts_; }

 private:
  void add(const std::string& module, const char* place, const at::Tensor& x);
  void add_input(const std::string& linear, HessianPart part, const at::Tensor& x);
  void end_chunk();

  ChunkSums& sums_;
  int threads_;
  bool all_experts_, watching_ = true;
  std::map<std::string, HessianPart> parts_;  // of linears
  std::map<std::string, at::Tensor> weights_;
  Chunk chunk_;
  int64_t samples_ = 0;                              // in it
  std::vector<std::pair<at::Tensor, size_t>> read_;  // in this sample: which of chunk_.inputs
  std::set<std::string> skipped_;
};

}  // namespace spinor::calibration
