// What is kept of what was learned: one part after the other, each only if the model with it diverges less on text that
// nothing was learned from.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "spinor/learning/learning_run.h"
#include "spinor/learning/rotation_parts.h"

namespace spinor::learning {

class Selection {
 public:
  // Measures the start, by a judge who is called if anything is not known from an earlier run. Error for a model whose
  // logits on the judge's text are not finite.
  Selection(LearningRun& run, std::function<Judge()> make_judge);

  // Beside what has been kept so far. What helps goes into what the run has learned; else a warning says so.
  void add_rotations(const std::string& name, RotationPart part);
  void add_scales(const std::map<std::string, std::vector<double>>& scales);         // by LegalScale::names()
  void add_permutations(const std::map<std::string, std::vector<int64_t>>& orders);  // by HiddenChannels::name
  // Completes the record.
  void finish();

 private:
  bool helps(const std::string& name, RotateOptions candidate);
  double divergence(const std::string& name, const RotateOptions& rotation);

  LearningRun& run_;
  std::function<Judge()> make_judge_;
  std::optional<Judge> judge_;  // none: all that was asked for is known
  RotateOptions best_;
  double least_ = 0;
};

}  // namespace spinor::learning
