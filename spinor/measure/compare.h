// Whether to rotate a model: a recipe without rotations, and with those that are legal, over several seeds, each
// measured on a text.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "spinor/job/calibrator.h"
#include "spinor/learning/learn_recipe.h"
#include "spinor/runtime/evaluate.h"

namespace spinor::measure {

// Rows for what takes a text to learn from or choose by: another one than that which judges.
struct CompareLearning {
  learning::LearningText text;
  bool learned = false;  // learned rotations, also if the recipe has learnable: true
  int64_t best_of = 1;   // the best of so many seeds, if there are several; the recipe's `seeds` if it has more
  std::optional<int64_t> context = {};  // tokens of a window, where the recipe does not say
  learning::LearnerOptions learner = {};
};

struct CompareOptions {
  int64_t seeds = 4;        // random matrices of each kind of rotation
  uint64_t first_seed = 1;  // they count up from here
  runtime::EvaluateOptions windows = {};
  runtime::RuntimeOptions runtime = {};
  std::shared_ptr<Calibrator> calibrator = {};  // of a recipe that needs data
  std::optional<CompareLearning> learning = {};
  std::function<void(int64_t done, int64_t all)> progress = {};
};

// The recipe with one set of rotations.
struct Variant {
  std::string name;                    // "unrotated", "R1+R2", "R1-R4", "R1-R4 best of 8", "R1-R4 learned"
  std::vector<std::string> rotations;  // none: unrotated
  std::vector<uint64_t> seeds;         // of the best of several and of what is learned: one, that it has or starts from
  int64_t best_of = 1;
  bool learned = false;
  Json learning = {};                          // of these two: the record of learn_recipe()
  std::string transform_type = {};             // that its runs have
  bool calibrated = false;                     // they took the calibrator's data
  std::vector<runtime::Evaluation> runs = {};  // one a seed

  double perplexity() const;     // medians over the runs
  double kl_divergence() const;  // to the original model, nats a token
  double least() const;          // perplexities
  double most() const;
  uint64_t best_seed() const;
};

struct Comparison {
  std::vector<Variant> variants;      // unrotated first
  std::vector<std::string> left_out;  // rotations that would change the model, with the reason: "R1: ..."

  double original_perplexity() const;
  int64_t tokens() const;
  // The best rotated variant, if its median beats the unrotated model by more than the seeds of these rotations are
  // apart; null: none.
  const Variant* verdict() const;
  std::string advice() const;  // the same in a sentence
};

// `recipe`: what is done beside rotating; what rotates in it gives the type of matrices, at most. Cost: one evaluation
// for each seed and variant, and for a recipe with data a calibration, too: then each variant is written to a temporary
// directory and read back; and what learn_recipe() costs. Errors: nothing is quantized, by the recipe or
// options.runtime; a recipe that needs data without a calibrator; a model of which no rotation is legal; those of
// evaluate() and learn_recipe().
Comparison compare(const Model& model, const Recipe& recipe, std::span<const int32_t> text,
                   const CompareOptions& options = {});

}  // namespace spinor::measure
