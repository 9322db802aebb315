// QuIP's rotations in a recipe: each linear's weight is transformed on its input side (v), its output side (u) or
// both, and its activations the other way round while the model runs.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "spinor/modifier/argument_fields.h"
#include "spinor/modifier/learnable.h"
#include "spinor/modifier/modifier.h"
#include "spinor/transform/quip.h"

namespace spinor {

// [V, u] in any case.
struct QuipList {
  std::vector<Quip>& list;
};
void read_value(const Json& json, QuipList out, const Place& place);
void to_json(Json& json, const QuipList& rotations);

// llm-compressor's arguments, and learning, rotation_file, seed.
struct QuipArguments {
  QuipOptions options;
  // v is learned for each linear on what it reads (learning::learn_recipe) before the modifier acts, unless
  // rotation_file has it already; u is not. In a transform_config: requires_grad of a group called v.
  bool learnable = false;
  LearningArguments learning = {.rotations = {"v"}, .scales = {}, .permutation = false};
  std::optional<TransformConfig> transform_config = {};  // replaces all other arguments
  // A file as read_rotations() takes, whose matrices of inputs replace those of v; and its digest, which the modifier
  // fills in, so that a second run takes the same matrices.
  std::optional<std::string> rotation_file = {}, rotation_digest = {};

  template <class Visitor>
  void fields(Visitor& v) {
    v("rotations", QuipList{options.rotations});
    v("transform_type", options.transform_type);
    v("targets", one_or_many(options.targets));
    v("ignore", one_or_many(options.ignore));
    v("randomize", options.randomize);
    v("learnable", learnable);
    v("learning", learning);
    v("precision", PrecisionName{options.precision});
    v("transform_block_size", options.transform_block_size);
    v("transform_config", transform_config);
    v("rotation_file", rotation_file);
    v("rotation_digest", rotation_digest);
    v("seed", options.seed);
  }
};

// Any architecture will do, but for learning: what is done to a linear is undone on that linear. The head is untied
// when it, or the embedding, is a target. A transform that nothing undoes is an Error and leaves the plan as it was.
class QuIPModifier : public Modifier, public Learnable {
 public:
  using Arguments = QuipArguments;

  explicit QuIPModifier(QuipArguments arguments, const Place& place = {"QuIPModifier", "QuIPModifier"});

  std::string name() const override { return "QuIPModifier"; }
  // After prepare() with the transform_config that it made.
  Json arguments() const override;
  void read_in(const std::filesystem::path& directory) override;

  std::optional<Request> to_learn(const Model& model) const override;
  void take_learned(const Found& found) override;

  void prepare(const Model& model, RewritePlan&, Warnings& warnings) override;
  void rewrite(const Model& model, RewritePlan& plan, Warnings& warnings) override;

 private:
  TransformConfig config_for(const Model& model) const;

  QuipArguments arguments_;
  std::string recorded_as_;  // what arguments() calls the rotation_file; empty: by its name
  GivenRotations given_;
};

}  // namespace spinor
