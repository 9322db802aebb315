// What of a plan needs data, layer by layer: what is left to do, what an earlier run has done, and the doing.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "spinor/calibration/collector.h"
#include "spinor/calibration/report.h"
#include "spinor/calibration/weight_task.h"

namespace spinor {

class LayerTasks {
 public:
  LayerTasks(const RewritePlan& plan, PreparedTensors& output, int threads);

  Collector& collector() { return collector_; }

  // The tasks of a layer, or of what is outside of them (-1), from now on. All of them, for which the collector
  // watches, unless an earlier run has finished all: what the layer's inputs are must not depend on where a run was cut
  // off.
  void begin(int64_t layer);
  bool any_left() const { return !weights_.empty() || !activations_.empty(); }
  bool any_weights_left() const { return !weights_.empty(); }
  // The first time samples go through this layer nobody will use what comes out.
  void skip_last(int64_t layer);
  bool any_after_layers() const;
  // By tensor: what the codes of this layer stand for, if an earlier run has finished it.
  const std::map<std::string, at::Tensor>& finished_weights() const { return finished_; }
  // Every sample was seen: quantizes the weights, in place, and writes all.
  std::vector<ModuleReport> finish();

  CalibrationReport report() const { return report_; }

 private:
  bool is_finished(int64_t layer) const;
  void take_finished(const TensorPlan& tensor, const WeightQuantization& quantization);
  void quantize(std::vector<WeightTask*> tasks);
  void write(WeightTask& task);
  void write(const CalibratedActivation& activation);
  void warn_about(const ModuleReport& module);

  const RewritePlan& plan_;
  PreparedTensors& output_;
  int threads_;
  Collector collector_;
  std::vector<std::unique_ptr<WeightTask>> weights_;
  std::vector<const CalibratedActivation*> activations_;
  std::map<std::string, at::Tensor> finished_;
  CalibrationReport report_;
};

}  // namespace spinor
