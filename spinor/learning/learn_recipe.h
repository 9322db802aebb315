// A recipe whose rotations are learnable, made into one that has them. Needs no header of libtorch.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "spinor/learning/learner.h"
#include "spinor/modifier/recipe.h"

namespace spinor::learning {

// What is learned from.
struct LearningText {
  std::vector<int32_t> tokens;
  std::optional<int32_t> bos = {};  // begins each window
};

struct RecipeLearning {
  LearnerOptions learner = {};
  // Where what was learned is written. A file that an earlier run of the same job left there is taken as it is; any
  // other is replaced. An earlier run that was killed, or stopped, left FILE.partial: this one goes on from there.
  std::filesystem::path file;
  std::string recorded_as = {};  // how the recipe names it afterwards; empty: by its absolute path
};

struct LearningReport {
  // That of LearnedRotations, and a digest of the samples; null: nothing in the recipe was to be learned, nor a seed to
  // be chosen.
  Json record;
  bool kept = false;  // the file has something in it
  std::vector<std::string> warnings;
  // FILE.partial: as long as it lives, other runs of the job are refused. Null: there was nothing to learn.
  std::shared_ptr<const WorkDirectory> held;
};

// Learns what the modifiers of the recipe ask for and tells them, so that a Job of the recipe then rotates with it.
// learning.samples + learning.holdout windows are drawn from the text; where it has fewer, each part gets its share.
// Judged with as many bits as the recipe gives to activations and KV cache, 4 where it says nothing. Errors: those of
// find_to_learn() and learn_rotations(); a text that is too short; another run that has the file. They leave nothing
// behind, but for a request to stop.
LearningReport learn_recipe(Recipe& recipe, const Model& model, const LearningText& text,
                            const RecipeLearning& options);

}  // namespace spinor::learning
