#include "spinor/learning/learn_recipe.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "spinor/base/error.h"
#include "spinor/base/parallel.h"
#include "spinor/base/version.h"
#include "spinor/io/digest.h"
#include "spinor/learning/learned_file.h"
#include "spinor/learning/work_directory.h"
#include "spinor/modifier/model_for.h"
#include "spinor/modifier/quantization_modifier.h"

namespace spinor::learning {
namespace {

constexpr int64_t kMemory = 128'000'000;  // for what runs models, unless more is given; at least

// Of tensor_group the scale for all is that of the held-out text.
bool can_judge_by(const QuantizationArgs& args) {
  using enum QuantizationStrategy;
  const bool rows = args.strategy == token || args.strategy == group;
  return (rows && args.dynamic == QuantizationDynamic::yes) || args.strategy == tensor_group;
}

// So many bits, or the recipe's own scheme; nothing for 16 bits.
std::optional<runtime::LowBits> low_bits(int64_t bits, const std::optional<QuantizationArgs>& scheme) {
  if (bits >= 16) return {};
  runtime::LowBits low{.bits = static_cast<int>(bits)};
  if (scheme && scheme->num_bits == bits && can_judge_by(*scheme)) low.scheme = scheme;
  return low;
}

// What the recipe says of activations, its first group that does, and of the cache.
void take_activations(const Recipe& recipe, LearningArguments& learning, LearnerOptions& learner,
                      std::vector<std::string>& warnings) {
  std::optional<QuantizationArgs> found;
  for (const RecipeStep& step : recipe.steps()) {
    const auto* quantizes = dynamic_cast<const QuantizationModifier*>(step.modifier.get());
    if (!quantizes) continue;
    const QuantizationConfig& config = quantizes->config();
    for (const auto& [name, scheme] : config.config_groups)
      if (scheme.input_activations && !found) found = scheme.input_activations;
    if (config.kv_cache_scheme && !learning.kv_bits) learning.kv_bits = config.kv_cache_scheme->num_bits;
  }
  if (found && !learning.activation_bits) learning.activation_bits = found->num_bits;
  const int64_t bits = learning.activation_bits.value_or(4), kv = learning.kv_bits.value_or(4);
  learner.judge.activations = low_bits(bits, found);
  learner.judge.kv = low_bits(kv, {});
  if (found || bits < 16)
    learner.activations = found.value_or(ActivationQuantizer::token_args(static_cast<int>(bits), false));
  if (found && bits < 16 && !learner.judge.activations->scheme)
    warnings.push_back(
        fmt::format("held-out text is judged with integers of {} bits per token, as the scales of the "
                    "recipe's activations take all of the model's data",
                    bits));
}

// As many as there are, the same share of them to learn on and to judge on as was asked for.
calibration::Samples draw(const LearningText& text, LearningArguments& learning, std::vector<std::string>& warnings) {
  const int64_t asked = learning.samples + learning.holdout, fresh = learning.context - (text.bos ? 1 : 0);
  if (std::ssize(text.tokens) < 2 * fresh)
    throw Error("calibration text",
                fmt::format("has {} tokens, and learning takes two windows of {} at least: one to learn on, one to "
                            "judge by",
                            text.tokens.size(), fresh),
                "use a longer text, or a smaller learning.context (by command --calibration-context)");
  calibration::Samples samples = calibration::draw_samples(
      text.tokens, {.samples = asked, .context = learning.context, .seed = learning.seed, .bos = text.bos});
  if (samples.count == asked) return samples;
  warnings.push_back(fmt::format("the text gives {} windows of {} tokens to learn on and judge by, not {}",
                                 samples.count, learning.context, asked));
  learning.samples = std::clamp<int64_t>(samples.count * learning.samples / asked, 1, samples.count);
  learning.holdout = samples.count - learning.samples;
  return samples;
}

// Of the row, which may come from a file, and of the modules in the form that the recipe wants.
std::string modules_digest(const Model& model) {
  Json modules = {model.architecture() ? write_fields(*model.architecture()) : Json()};
  for (const Module& module : model.modules())
    modules.push_back({module.name, module.shape.out, module.shape.in, name_of(module.role)});
  const std::string text = modules.dump();
  return digest(std::as_bytes(std::span(text)));
}

// All that the result depends on. Files are told apart by size and time, as reading all of them takes long.
Json job_of(const Model& model, const Modifier& modifier, const Learnable::Request& request,
            const calibration::Samples& samples, const LearnerOptions& options) {
  Digest tokens;
  tokens.update(std::as_bytes(std::span(samples.tokens)));
  const std::filesystem::path directory = std::filesystem::absolute(model.checkpoint().directory()).lexically_normal();
  Json files = Json::object();
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    if (entry.is_regular_file())
      files[entry.path().filename().string()] = {entry.file_size(), entry.last_write_time().time_since_epoch().count()};
  std::vector<std::pair<std::string, Json>> sorted;
  for (const auto& [name, about] : files.items()) sorted.emplace_back(name, about);
  std::ranges::sort(sorted, {}, &std::pair<std::string, Json>::first);
  const int threads = options.judge.runtime.threads;
  return {{"spinor", kVersion},
          {"model", directory.string()},
          {"files", sorted},
          {"modules", modules_digest(model)},
          {"tokens", tokens.hex()},
          {"modifier", modifier.arguments()},
          {"learning", write_fields(request.learning)},
          {"activations", write_fields(options.activations)},
          {"complete", options.complete},
          {"memory", options.judge.runtime.memory},
          {"device", options.judge.runtime.device},
          {"threads", threads > 0 ? threads : default_threads()}};
}

JudgeOptions judge_options(JudgeOptions judge, const LearningArguments& learning, const Model& model) {
  judge.context = learning.context;
  // So much that all windows go through a layer at once, and is four times the residual stream.
  const int64_t windows = learning.holdout * learning.context * model.hidden_size() * 16;
  if (judge.runtime.memory <= 0) judge.runtime.memory = std::max(kMemory, windows);
  return judge;
}

void learn_to(const std::filesystem::path& file, const Json& job, WorkDirectory& work, const Model& model,
              const Learnable::Request& request, const calibration::Samples& samples, LearnerOptions learner) {
  learner.work = &work;
  try {
    LearnedRotations learned = learn_rotations(model, request, samples, learner);
    learned.record["tokens"] = job["tokens"];
    write_learned(file, learned, job);
  } catch (const Stopped&) {
    throw;
  } catch (...) {
    work.clear();  // it would fail again
    throw;
  }
}

LearnedFile learned_file(const Model& model, const LearningTask& task, const calibration::Samples& samples,
                         const std::filesystem::path& file, LearnerOptions learner,
                         std::shared_ptr<const WorkDirectory>& held) {
  learner.judge = judge_options(learner.judge, task.request.learning, model);
  const Json job = job_of(model, *task.modifier, task.request, samples, learner);
  const auto work = std::make_shared<WorkDirectory>(file, job);
  held = work;
  if (!find_learned(file, job)) learn_to(file, job, *work, model, task.request, samples, learner);
  work->clear();
  return find_learned(file, job).value();
}

}  // namespace

LearningReport learn_recipe(Recipe& recipe, const Model& source, const LearningText& text,
                            const RecipeLearning& options) {
  const Model model = model_for(recipe, source);
  std::optional<LearningTask> task = find_to_learn(recipe, model);
  if (!task) return {};
  LearningReport report;
  LearnerOptions learner = options.learner;
  take_activations(recipe, task->request.learning, learner, report.warnings);
  const calibration::Samples samples = draw(text, task->request.learning, report.warnings);
  const LearnedFile learned = learned_file(model, *task, samples, options.file, learner, report.held);
  const std::string file = std::filesystem::absolute(options.file).lexically_normal().string();
  report.kept = !learned.empty;
  report.record = learned.record;
  report.warnings.insert(report.warnings.end(), learned.warnings.begin(), learned.warnings.end());
  task->learnable->take_learned({.seed = learned.seed,
                                 .file = report.kept ? file : "",
                                 .digest = report.kept ? learned.digest : "",
                                 .recorded_as = options.recorded_as});
  return report;
}

}  // namespace spinor::learning
