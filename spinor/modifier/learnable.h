// What a modifier says whose rotations are to be learned from data before it acts: learning::learn_recipe() does it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "spinor/modifier/learning_arguments.h"
#include "spinor/transform/rotate_model.h"

namespace spinor {

class Modifier;
class Recipe;

class Learnable {
 public:
  virtual ~Learnable() = default;

  struct Request {
    RotateOptions start;     // how the modifier would rotate
    int64_t seeds = 1;       // of its random types, tried one after the other; the best goes on
    bool learnable = false;  // what `learning` names is learned from there
    LearningArguments learning = {};
  };
  // Nothing: the modifier has what it needs. Errors as of its rewrite.
  virtual std::optional<Request> to_learn(const Model& model) const = 0;
  // What was found.
  struct Found {
    std::optional<uint64_t> seed;  // that the matrices are to be drawn with
    // What was learned, as read_rotations() reads it; empty: nothing is better than the start.
    std::string file, digest;
    std::string recorded_as;  // what a recipe is to call the file; empty: by its name
  };
  virtual void take_learned(const Found& found) = 0;
};

struct LearningTask {
  Modifier* modifier = nullptr;
  Learnable* learnable = nullptr;  // the same
  Learnable::Request request;
};
// What the recipe has to learn; nothing: nothing. Error for a modifier that is not the first: what is learned from is
// the model that nothing else has changed.
std::optional<LearningTask> find_to_learn(const Recipe& recipe, const Model& model);

}  // namespace spinor
