// rotate_model() in a recipe, by default SpinQuant (arXiv 2405.16406): R1 and R2 fused into the weights, after untying
// and folding norms; R3 and R4 online.
#pragma once

#include <string>

#include "spinor/modifier/learnable.h"
#include "spinor/modifier/modifier.h"
#include "spinor/modifier/spinquant_arguments.h"

namespace spinor {

// Untying and norm folding are done when R1 is among the rotations, when there are none, when a transform_config is
// given, and whenever embeddings are centred. A plan whose products do not cancel is an Error and leaves the plan as it
// was. A model of unknown architecture is accepted with mappings and norm_mappings; each linear they leave out is a
// warning. Of a class that only a program's operations rotate nothing but the arguments is recorded.
class SpinQuantModifier : public Modifier, public Learnable {
 public:
  using Arguments = SpinQuantArguments;

  // Error as check_arguments() says.
  explicit SpinQuantModifier(SpinQuantArguments arguments,
                             const Place& place = {"SpinQuantModifier", "SpinQuantModifier"});

  std::string name() const override { return "SpinQuantModifier"; }
  // After prepare() with the transform_config that it made: a recipe with them gives the same result again.
  Json arguments() const override;
  void read_in(const std::filesystem::path& directory) override;

  std::optional<Request> to_learn(const Model& model) const override;
  void take_learned(const Found& found) override;

  void prepare(const Model& model, RewritePlan&, Warnings& warnings) override;
  void rewrite(const Model& model, RewritePlan& plan, Warnings& warnings) override;

 private:
  void require_learned() const;

  SpinQuantArguments arguments_;
  std::string recorded_as_;  // what arguments() calls the rotation_file; empty: by its name
  RotateOptions options_;    // what they come to for the model
};

}  // namespace spinor
