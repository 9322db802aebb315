#include "spinor/job/job.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <iterator>
#include <optional>
#include <utility>

#include "spinor/base/error.h"
#include "spinor/base/yaml.h"
#include "spinor/io/file.h"
#include "spinor/model/quantized_source.h"
#include "spinor/modifier/applied_transforms.h"
#include "spinor/modifier/model_for.h"
#include "spinor/plan/model_card.h"
#include "spinor/transform/inverse.h"
#include "spinor/transform/stored_online.h"

namespace spinor {

// Stays where it is: the run refers to the rest.
struct Job::Data {
  Model model;
  Recipe recipe;
  RewritePlan plan;
  std::vector<std::string> warnings;
  std::string name;                   // of what is done, in spinor.json; empty: what the plan does
  std::optional<RecipeRun> run = {};  // nothing: no modifiers, or they are finished

  Data(Model m, Recipe r, RewritePlan p, std::string n)
      : model(std::move(m)), recipe(std::move(r)), plan(std::move(p)), warnings(model.warnings()), name(std::move(n)) {}

  bool quantizes() const {
    return std::ranges::any_of(plan.tensors(),
                               [](const TensorPlan& tensor) { return quantization_of(tensor.edits) != nullptr; });
  }
  // With the small files and the record of the job. `calibration`: of its data; null: there is none.
  SaveOptions files(SaveOptions asked, const Json& calibration) const;
};

namespace {

// A card of its own only where the model needs one: fused rotations load as the source does.
std::string card_of(const RewritePlan& plan, const Recipe& recipe) {
  const std::filesystem::path source = plan.model().checkpoint().directory() / "README.md";
  return model_card(plan, recipe.yaml(), std::filesystem::exists(source) ? read_text(source) : std::string());
}

// The recipe that is written to `out` names files: those that go when `out` is replaced are none to name.
void require_files_stay(const Recipe& recipe, const std::filesystem::path& out) {
  if (!std::filesystem::exists(out)) return;
  const std::string inside = std::filesystem::canonical(out).string() + "/";
  for (const RecipeStep& step : recipe.steps()) {
    const Json arguments = step.modifier->arguments();
    const auto file = arguments.find("rotation_file");
    if (file == arguments.end() || !file->is_string()) continue;
    const std::filesystem::path path = file->get<std::string>();
    if (!path.is_absolute() || !std::filesystem::weakly_canonical(path).string().starts_with(inside)) continue;
    throw Error(path.string(), "is the recipe's rotation_file, and is deleted where its directory is replaced",
                "copy it to another place and name that, or choose another output directory");
  }
}

}  // namespace

SaveOptions Job::Data::files(SaveOptions asked, const Json& calibration) const {
  Json record = {{"command", name.empty() ? (quantizes() ? "quantize" : "rotate") : name}};
  if (!recipe.steps().empty()) {
    record["recipe"] = parse_yaml(recipe.yaml(), "recipe").value;
    asked.texts["recipe.yaml"] = recipe.yaml();
  }
  record.update(asked.record);
  if (!calibration.is_null()) record["calibration"] = calibration;
  asked.record = std::move(record);
  if (plan.quantization() || !plan.online().empty()) asked.texts["README.md"] = card_of(plan, recipe);
  return asked;
}

Job::Job(std::unique_ptr<Data> data) : data_(std::move(data)) {}
Job::~Job() = default;
Job::Job(Job&&) noexcept = default;
Job& Job::operator=(Job&&) noexcept = default;

Job::Job(const Model& model, Recipe recipe) {
  Model chosen = model_for(recipe, model);
  RewritePlan plan = start_plan(chosen);
  data_ = std::make_unique<Data>(std::move(chosen), std::move(recipe), std::move(plan), "");
  if (!data_->recipe.steps().empty()) data_->run.emplace(data_->recipe, data_->model, data_->plan);
}

Job Job::as_stored(const Model& model) {
  return Job(std::make_unique<Data>(model, Recipe(), spinor::as_stored(model), ""));
}

Job Job::dequantize(const Model& model) {
  if (!model.quantized_source())
    throw Error(model.checkpoint().directory().string(), "is not quantized", "there is nothing to do");
  return Job(std::make_unique<Data>(model, Recipe(), start_plan(model), "dequantize"));
}

// Which matrices were used, the recipe says of a model that spinor made, and config.json of one that others made.
Job Job::undo(const Model& model, const std::string& rotation_file) {
  Job job(std::make_unique<Data>(model, Recipe(), start_plan(model), "rotate --inverse"));
  const std::vector<AppliedTransforms> steps = applied_transforms(model, rotation_file);
  if (steps.empty())
    throw Error(model.checkpoint().directory().string(), "neither recipe.yaml nor config.json says how it was rotated");
  spinor::undo(steps, model, job.data_->plan);
  return job;
}

const Model& Job::model() const {
  return data_->model;
}
const Recipe& Job::recipe() const {
  return data_->recipe;
}
Json Job::recipe_json() const {
  return parse_yaml(data_->recipe.yaml(), "recipe").value;
}
const RewritePlan& Job::plan() const {
  return data_->plan;
}
const std::vector<std::string>& Job::warnings() const {
  return data_->warnings;
}
void Job::warn(std::string text) {
  data_->warnings.push_back(std::move(text));
}

bool Job::quantizes() const {
  return data_->quantizes();
}

const RewritePlan& Job::finished_plan() {
  if (data_->run) {
    std::ranges::move(data_->run->finish_without_data(), std::back_inserter(data_->warnings));
    data_->run.reset();
  }
  return data_->plan;
}

SaveReport Job::save(const std::filesystem::path& out, const JobSaveOptions& options) {
  Data& data = *data_;
  with_system_errors([&] { require_files_stay(data.recipe, out); });
  const bool calibrates = options.calibrator && data.run && !data.plan.needs_data().empty();
  if (!calibrates) finished_plan();
  require_compatible(data.plan, options.clients);
  if (!calibrates) require_no_data(data.plan);
  for (const Incompatibility& found : incompatibilities(data.plan, kUsualClients))
    warn(fmt::format("{} {} ({}); {}", name_in_table(found.client), found.problem, found.where, found.instead));
  size_t told = 0;
  const auto tell = [&] {
    for (; told < data.warnings.size(); ++told)
      if (options.warn) options.warn(data.warnings[told]);
  };
  tell();
  const SaveOptions files = data.files(options.files, calibrates ? options.calibrator->record() : Json());
  Saving saving(data.plan, out, files);
  if (calibrates) try {
      std::vector<std::string> found = options.calibrator->calibrate(data.plan, saving.prepared(), *data.run, out);
      std::ranges::move(data.run->finish(), std::back_inserter(data.warnings));
      data.run.reset();
      std::ranges::move(found, std::back_inserter(data.warnings));
    } catch (const std::exception& error) {
      saving.fail(error.what());
      throw;
    }
  const SaveReport report = saving.finish();
  tell();
  return report;
}

}  // namespace spinor
