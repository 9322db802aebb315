// Rotations learned from a text: as a command, and before a recipe runs.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "cli/calibration.h"
#include "cli/recipe.h"
#include "cli/text.h"
#include "cli/torch/learning.h"
#include "cli/typed_command.h"
#include "spinor/base/error.h"
#include "spinor/io/shard_layout.h"
#include "spinor/learning/learn_recipe.h"
#include "spinor/modifier/quantization_modifier.h"
#include "spinor/transform/automatic_type.h"

namespace spinor::cli {
namespace {

struct LearnCommand {
  std::string model, out;
  RecipeOptions recipe;
  CalibrationFlags calibration;
  CommonOptions common;
  bool force = false, quantizes = false;

  Result run(const Context& context) {
    if (!calibration.given()) throw Error("learn", "needs a text to learn from", "give --calibration FILE");
    if (std::filesystem::exists(out) && !force)
      throw Error(out, "exists", "give --force to replace it, or another name");
    if (const auto parent = std::filesystem::absolute(out).parent_path(); !std::filesystem::is_directory(parent))
      throw Error(parent.string(), "no such directory", "create it first");
    recipe.learn = recipe.recipe.empty();
    recipe.learning_context = calibration.asked_context();
    const Model source = Model::open(model);
    Recipe steps = recipe.make();
    quantizes = std::ranges::any_of(steps.steps(), [](const RecipeStep& step) {
      return dynamic_cast<const QuantizationModifier*>(step.modifier.get()) != nullptr;
    });
    Learning learned = learn(steps, source, calibration, common, context, out);
    if (learned.record.is_null())
      throw Error(recipe.recipe_name(), "has nothing that is learnable",
                  "set learnable: true in its SpinQuantModifier");
    if (const std::string left = calibration.left_by_learning(); !left.empty()) learned.warnings.push_back(left);
    const Json json = {{"out", out}, {"learning", learned.record}, {"warnings", learned.warnings}};
    if (common.json) return {json, json_text(json), ""};
    if (common.quiet) return {json, "", ""};
    std::ranges::for_each(learned.warnings, context.warn);
    return {json, text(learned.record), ""};
  }

  std::string text(const Json& record) const {
    const std::string verdict =
        record.contains("learned")
            ? fmt::format("divergence of held-out text {:.4f} nats a token, {:.4f} with the start",
                          record["learned"]["kl_divergence"].get<double>(),
                          record["start"]["kl_divergence"].get<double>())
            : fmt::format("R1 of seed {}, the best of {}", record["seeds"]["chosen"].get<uint64_t>(),
                          record["seeds"]["losses"].size());
    return fmt::format("{}: {}\n{}\n", out, verdict, command(record));
  }

  // What takes the file. Rotations that are not in it are drawn as they were for what was judged.
  std::string command(const Json& record) const {
    if (record["rotations"] == Json{"v"}) return fmt::format("QuIPModifier: {{rotation_file: {}}}", out);
    RecipeOptions how = recipe;
    how.learn = false;
    how.objective.clear();
    if (!recipe.recipe.empty())
      return fmt::format(
          "spinor {} {} OUT{}, whose SpinQuantModifier has rotation_file: {}{}", quantizes ? "quantize" : "rotate",
          quoted(model), typed_options(how), std::filesystem::absolute(out).lexically_normal().string(),
          record.contains("seeds") ? fmt::format(", seed: {}", record["seeds"]["chosen"].get<uint64_t>()) : "");
    how.rotation = out;
    if (how.transform_type.empty()) how.transform_type = kAutomaticRandom;
    return fmt::format("spinor rotate {} OUT{}", quoted(model), typed_options(how));
  }
};

}  // namespace

learning::LearningText read_learning_text(const CalibrationFlags& flags, const Model& model) {
  return {read_tokens(flags.text, model), bos_token(flags, model)};
}

learning::LearnerOptions learner_options(const CalibrationFlags& flags, const CommonOptions& common) {
  learning::LearnerOptions options;
  options.judge.runtime.device = flags.device;
  options.judge.runtime.threads = common.threads;
  if (flags.memory.empty()) return options;
  options.judge.runtime.memory = parse_size(flags.memory);
  options.rows_memory = options.judge.runtime.memory / 2;
  return options;
}

Learning learn(Recipe& recipe, const Model& model, const CalibrationFlags& flags, const CommonOptions& common,
               const Context& context, const std::filesystem::path& file, const std::string& recorded_as) {
  learning::RecipeLearning how{.learner = learner_options(flags, common), .file = file, .recorded_as = recorded_as};
  how.learner.scratch = std::filesystem::absolute(file).lexically_normal().parent_path();
  how.learner.complete = recorded_as.empty();
  how.learner.progress = context.progress;
  const learning::LearningReport report = learning::learn_recipe(recipe, model, read_learning_text(flags, model), how);
  return {report.record, report.warnings, report.kept ? file : "", report.held};
}

Runner learn_command(CLI::App& app) {
  const auto command = std::make_shared<LearnCommand>();
  app.add_option("MODEL", command->model, "A checkpoint directory, or org/name in the local Hugging Face cache")
      ->required();
  app.add_option("ROTATIONS", command->out, "The safetensors file to write")->required();
  command->recipe.add_rotation_to(app);
  command->recipe.add_objective_to(app);
  command->calibration.add_to(app);
  command->common.add_to(app);
  app.add_flag("--force", command->force, "Replace an existing file");
  return [command](const Context& context) { return command->run(context); };
}

}  // namespace spinor::cli
