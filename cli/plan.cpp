#include <fmt/format.h>

#include <algorithm>

#include "cli/command.h"
#include "cli/recipe.h"
#include "spinor/io/file.h"
#include "spinor/job/job.h"

namespace spinor::cli {
namespace {

struct PlanCommand {
  std::string model;
  RecipeOptions recipe;
  OutputOptions output;
  CommonOptions common;
  bool full = false;

  Result run(const Context& context) const {
    Job job(Model::open(model), recipe.make());
    const RewritePlan& plan = job.finished_plan();
    SaveOptions options = output.save_options();
    options.threads = common.threads;
    const SaveSize size = save_size(plan, options);
    const Json json = {{"tensors", tensors_json(plan)},
                       {"bytes", size.bytes},
                       {"peak_memory", size.memory},
                       {"recipe", job.recipe_json()},
                       {"warnings", job.warnings()}};
    if (common.json) return {json, json_text(json), ""};
    std::ranges::for_each(job.warnings(), context.warn);
    return {json,
            fmt::format("{}\n{} to write, about {} of memory\n", plan.text(full), describe_bytes(size.bytes),
                        describe_bytes(size.memory)),
            ""};
  }

  static Json tensors_json(const RewritePlan& plan) {
    Json tensors = Json::object();
    for (const TensorPlan& tensor : plan.tensors()) {
      Json edits = Json::array();
      const TensorInfo& info = tensor.source->info;
      for (const Edit& edit : tensor.edits) edits.push_back(text_of(edit, info.rows(), info.cols()));
      tensors[tensor.name] = {{"source", info.name}, {"shape", info.shape}, {"edits", edits}};
    }
    return tensors;
  }
};

}  // namespace

Runner plan_command(CLI::App& app) {
  const auto command = std::make_shared<PlanCommand>();
  app.add_option("MODEL", command->model, "A checkpoint directory, or org/name in the local Hugging Face cache")
      ->required();
  command->recipe.add_rotation_to(app);
  command->recipe.add_quantization_to(app);
  command->output.add_to(app);
  command->common.add_to(app);
  app.add_flag("--full", command->full, "Print every layer, not one line for layers that are alike");
  return [command](const Context& context) { return command->run(context); };
}

}  // namespace spinor::cli
