// What of a plan needs data, layer by layer: what is left to do, what an earlier run has done, and the doing.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "spinor/calibration/collector.h"
#include "spinor/calibration/data_needs.h"
#include "spinor/calibration/report.h"
#include "spinor/calibration/weight_task.h"
#include "spinor/ranks/rank_group.h"

namespace spinor::calibration {

class LayerTasks {
 public:
  // The weight of a module, as the plan makes it.
  using ReadWeight = std::function<at::Tensor(const std::string& tensor)>;
  struct Options {
    int threads;
    int64_t hessian_memory;  // bytes of Hessians that are held at the same time, unless one alone is larger
    bool all_experts;        // see every token
    int64_t chunks;          // of all ranks' samples
    at::Device device;       // of Hessians
  };
  // Ranks share the tasks: one quantizes and writes a weight, and all others give it what their samples show.
  LayerTasks(const RewritePlan& plan, const DataNeeds& needs, PreparedTensors& output, RankGroup& group,
             ReadWeight read_weight, const Options& options);

  Collector& collector() { return collector_; }

  // The tasks of a layer, or of what is outside of them (-1), from now on. All of them, unless an earlier run has
  // finished all: what the layer's inputs are must not depend on where a run was cut off.
  void begin(int64_t layer);
  bool any_left() const { return !weights_.empty() || !activations_.empty(); }
  // Whether the layer will be another one then.
  bool any_changes_left() const {
    return std::ranges::any_of(weights_, [](const auto& task) { return task->by_gptq(); });
  }
  // The first time samples go through this layer, or the head (-1), nobody will use what comes out.
  void skip_last(int64_t layer);
  // By tensor: what GPTQ's codes of this layer stand for, if an earlier run has finished it.
  const std::map<std::string, at::Tensor>& finished_weights() const { return finished_; }
  bool is_last_pass() const { return next_ == weights_.size(); }
  // The collector watches for as many of the tasks as there is memory for Hessians: samples are to go through the
  // layer. False: none are left.
  bool next_pass();
  // Every sample was seen: quantizes the weights of this pass that are this rank's, not in the layer yet, and writes
  // them.
  void finish_pass();
  // After the last pass: the layer's weights are from now on what their codes stand for, whoever has written them.
  // What this rank found.
  std::vector<ModuleReport> finish();

  // Of all ranks and runs, in the order of the plan.
  CalibrationReport report();

 private:
  void find_finished_layers();
  void share_out();
  int64_t hessian_bytes(size_t first) const;
  void take_finished(const TensorPlan& tensor, const WeightQuantization& quantization);
  void sort_by_inputs();
  at::Tensor read(const TensorPlan& tensor, const WeightQuantization& quantization) const;
  void quantize(const std::vector<WeightTask*>& tasks);
  at::Tensor weight_of(const WeightTask& task);
  void write(WeightTask& task);
  void write(const CalibratedActivation& activation);
  ActivationRange range_of_siblings(const CalibratedActivation& activation) const;

  const RewritePlan& plan_;
  const DataNeeds& needs_;
  PreparedTensors& output_;
  RankGroup& group_;
  ReadWeight read_weight_;
  int threads_;
  int64_t hessian_memory_;
  ChunkSums sums_;
  Collector collector_;
  std::set<int64_t> finished_layers_;  // by an earlier run
  std::vector<std::unique_ptr<WeightTask>> weights_;
  std::vector<const CalibratedActivation*> activations_;
  std::vector<std::string> unused_outputs_;  // of linears
  size_t next_ = 0;                          // of weights_, that no pass has had yet
  std::vector<WeightTask*> in_pass_;
  std::map<const WeightTask*, int> owners_;  // of those
  std::map<std::string, at::Tensor> finished_;
  std::vector<ModuleReport> found_;  // in this layer
};

}  // namespace spinor::calibration
