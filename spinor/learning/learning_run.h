// One run of learning, as its steps see it: starts, seeds, rotation_parts, selection, which learner.cpp calls in turn.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "spinor/learning/channel_mass.h"
#include "spinor/learning/learn.h"
#include "spinor/learning/learner.h"
#include "spinor/learning/objective.h"

namespace spinor::learning {

inline constexpr std::string_view kDrawn = "drawn";  // the start that is not learned

struct LearningRun {
  const Model& model;
  const LearnerOptions& options;
  Learnable::Request request;                  // its start gets the seed that is chosen
  LearnedRotations learned = {};               // so far
  std::vector<BlockedChannels> channels = {};  // to be put in order
  std::vector<std::string> kept = {};          // R1, R2, v, scales, permutation

  const LearningArguments& arguments() const { return request.learning; }
  bool rotates(Spin spin) const;             // the request does
  bool learns(std::string_view name) const;  // "R1"
  bool of_network() const { return find_objective(arguments().objective).of_network(); }
  bool learns_r1_from_rows() const { return learns("R1") && arguments().starts_from != kDrawn; }
  // The first samples are to learn on; one at least is left to judge by.
  int64_t samples_to_learn(const calibration::Samples& samples) const {
    return std::min(arguments().samples, samples.count - 1);
  }
  Json& held_out() { return learned.record["held_out"]; }
  void warn(std::string text) { learned.warnings.push_back(std::move(text)); }
  // Progress; and the place where a request to stop ends the work with Stopped.
  void tell(const std::string& what, int64_t done, int64_t all) const;
};

// With what their objective says where they say nothing. Error for a start that is none.
LearningArguments with_defaults(LearningArguments arguments);

// The one that seeds are chosen and R1 is learned by on rows: of an objective of the network, its start's.
const Objective& objective_of_rows(const LearningArguments& arguments);
// What learn_rotation() is told about R1, or R2 of a layer: "R2.3".
LearnOptions how_to_learn(const LearningRun& run, const std::string& subject);

}  // namespace spinor::learning
