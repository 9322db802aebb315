// QuIP's rotations in a recipe: each linear's weight is transformed on its input side (v), its output side (u) or both,
// and its activations the other way round while the model runs.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "spinor/modifier/argument_fields.h"
#include "spinor/modifier/modifier.h"
#include "spinor/transform/quip.h"

namespace spinor {

// [V, u] in any case.
struct QuipList {
  std::vector<Quip>& list;
};
void read_value(const Json& json, QuipList out, const Place& place);
void to_json(Json& json, const QuipList& rotations);

// llm-compressor's arguments, and seed.
struct QuipArguments {
  QuipOptions options;
  bool learnable = false;                                // true is refused until transforms can be learned
  std::optional<TransformConfig> transform_config = {};  // replaces all other arguments

  template <class Visitor>
  void fields(Visitor& v) {
    v("rotations", QuipList{options.rotations});
    v("transform_type", options.transform_type);
    v("targets", one_or_many(options.targets));
    v("ignore", one_or_many(options.ignore));
    v("randomize", options.randomize);
    v("learnable", learnable);
    v("precision", PrecisionName{options.precision});
    v("transform_block_size", options.transform_block_size);
    v("transform_config", transform_config);
    v("seed", options.seed);
  }
};

// Any architecture will do: what is done to a linear is undone on that linear. The head is untied when it, or the
// embedding, is a target. A transform that nothing undoes is an Error and leaves the plan as it was.
class QuIPModifier : public Modifier {
 public:
  using Arguments = QuipArguments;

  explicit QuIPModifier(QuipArguments arguments, const Place& place = {"QuIPModifier", "QuIPModifier"});

  std::string name() const override { return "QuIPModifier"; }
  // After initialize with the transform_config that it made.
  Json arguments() const override { return write_fields(arguments_); }

  void prepare(const Model& model, RewritePlan&, Warnings& warnings) override;
  void rewrite(const Model& model, RewritePlan& plan, Warnings& warnings) override;

 private:
  QuipArguments arguments_;
};

}  // namespace spinor
