#include <fmt/format.h>

#include <algorithm>

#include "cli/command.h"
#include "cli/output.h"
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

  int run() const {
    Job job(Model::open(model), recipe.make());
    const RewritePlan& plan = job.finished_plan();
    SaveOptions options = output.save_options();
    options.threads = common.threads;
    const SaveSize size = save_size(plan, options);
    if (common.json) {
      Json tensors = Json::object();
      for (const TensorPlan& tensor : plan.tensors()) {
        Json edits = Json::array();
        const TensorInfo& info = tensor.source->info;
        for (const Edit& edit : tensor.edits) edits.push_back(text_of(edit, info.rows(), info.cols()));
        tensors[tensor.name] = {{"source", info.name}, {"shape", info.shape}, {"edits", edits}};
      }
      const Json json = {{"tensors", tensors},
                         {"bytes", size.bytes},
                         {"peak_memory", size.memory},
                         {"recipe", job.recipe_json()},
                         {"warnings", job.warnings()}};
      print_json(json);
      return 0;
    }
    std::ranges::for_each(job.warnings(), print_warning);
    fmt::print("{}\n{} to write, about {} of memory\n", plan.text(full), describe_bytes(size.bytes),
               describe_bytes(size.memory));
    return 0;
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
  return [command] { return command->run(); };
}

}  // namespace spinor::cli
