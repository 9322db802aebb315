#include "cli/torch/model_flags.h"

#include <algorithm>

namespace spinor::cli {

void ModelFlags::add_model_to(CLI::App& app) {
  app.add_option("MODEL", model, "A checkpoint directory, or org/name in the local Hugging Face cache")->required();
}

void ModelFlags::add_recipe_to(CLI::App& app) {
  recipe.add_rotation_to(app);
  recipe.add_quantization_to(app);
  common.add_to(app);
  runtime.add_to(app);
  runtime.add_low_bits_to(app);
}

Job ModelFlags::planned(const Context& context) const {
  const Model source = Model::open(model);
  Job job = recipe.given() ? Job(source, recipe.make()) : Job::as_stored(source);
  job.finished_plan();
  if (!common.quiet) std::ranges::for_each(job.warnings(), context.warn);
  return job;
}

}  // namespace spinor::cli
