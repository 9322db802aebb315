#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "cli/calibration_plan.h"
#include "cli/command.h"
#include "cli/recipe.h"
#include "cli/scale_plan.h"
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
  int ranks = 1;
  std::string bandwidth, throughput, flops;
  int64_t samples = 128, sample_tokens = 2048;  // of calibration

  Result run(const Context& context) const {
    Job job(Model::open(model), recipe.make());
    const RewritePlan& plan = job.finished_plan();
    SaveOptions options = output.save_options();
    options.threads = common.threads;
    const SaveSize size = save_size(plan, options);
    options.rank.ranks = ranks;
    const std::optional<double> rate = parse_rate(bandwidth, "--bandwidth");
    const ScalePlan scale(plan, options, size, rate, parse_rate(throughput, "--throughput"));
    const CalibrationPlan data(plan, {samples, sample_tokens, ranks}, rate, parse_flops(flops, "--flops"));
    Json json = {{"tensors", tensors_json(plan)},
                 {"bytes", size.bytes},
                 {"peak_memory", size.memory},
                 {"recipe", job.recipe_json()},
                 {"warnings", job.warnings()}};
    if (scale.asked()) json["ranks"] = scale.json();
    if (data.asked()) json["calibration"] = data.json();
    if (common.json) return {json, json_text(json), ""};
    std::ranges::for_each(job.warnings(), context.warn);
    return {json,
            fmt::format("{}\n{} to write, about {} of memory\n{}", plan.text(full), describe_bytes(size.bytes),
                        describe_bytes(size.memory), scale.asked() ? scale.text(full) : "") +
                (data.asked() ? data.text() : ""),
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
  app.add_flag("--full", command->full, "Print every layer and rank, not one line for those that are alike");
  const auto option = [](CLI::Option* one) { return one->group("Several processes"); };
  option(app.add_option("--ranks", command->ranks, "Say what each of so many processes would do"))
      ->check(CLI::Range(1, 65536));
  option(app.add_option("--bandwidth", command->bandwidth,
                        "What one process reads and writes, e.g. 2GB/s: then the time is said, too"));
  option(app.add_option("--throughput", command->throughput,
                        "What one process computes, in bytes that it reads and writes, e.g. 1.2GB/s, if that is less"));
  option(app.add_option("--flops", command->flops,
                        "Floating point operations of one process, e.g. 100G/s: then the time of calibration, too"));
  const auto data = [](CLI::Option* one) { return one->group("Calibration")->capture_default_str(); };
  data(app.add_option("--calibration-samples", command->samples, "Of a recipe that needs data"))
      ->check(CLI::PositiveNumber);
  data(app.add_option("--calibration-context", command->sample_tokens, "Tokens of each"))->check(CLI::PositiveNumber);
  return [command](const Context& context) { return command->run(context); };
}

}  // namespace spinor::cli
