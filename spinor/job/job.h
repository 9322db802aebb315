// One piece of work: a model, a recipe, what they make of each other, and what becomes of that. The command line,
// programs and tests all drive this.
//
//   spinor::Recipe recipe;
//   recipe.add<spinor::SpinQuantModifier>({.transform_type = "auto"});
//   recipe.add<spinor::QuantizationModifier>({.ignore = {"lm_head"}, .scheme = "W4A16"});
//   spinor::Job job(spinor::Model::open("Llama-3.2-1B"), std::move(recipe));
//   job.save("Llama-3.2-1B-w4a16");
//
// To measure instead of saving: runtime::evaluate(job.finished_plan(), ...); to compare recipes: measure::compare().
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "spinor/job/calibrator.h"
#include "spinor/modifier/recipe.h"
#include "spinor/plan/compatibility.h"
#include "spinor/plan/save.h"

namespace spinor {

struct JobSaveOptions {
  SaveOptions files = {};  // its record and texts are added to the job's own
  // Of what the recipe leaves to data; null: a recipe that needs data is an Error.
  std::shared_ptr<Calibrator> calibrator = {};
  std::vector<Client> clients = {};  // programs that must load the result: what one would load wrongly is an Error
  // Called with each of warnings() as soon as it is known, the first before anything is written.
  std::function<void(const std::string&)> warn = {};
};

// Movable. From one thread.
class Job {
 public:
  // Runs the recipe's modifiers on the model, so plan() is complete but for what needs data. Online transforms that the
  // source has are moved into the weights first (start_plan). Errors: those of the modifiers, and of reading the
  // source.
  Job(const Model& model, Recipe recipe);
  // The source as it is, its online transforms online: to run it, not to edit it.
  static Job as_stored(const Model& model);
  // A quantized source as numbers, nothing else done to it. Error if it is not quantized.
  static Job dequantize(const Model& model);
  // The source with the rotations undone that its recipe.yaml or config.json names. `rotation_file`: where the file of
  // its own matrices is now; empty: where the recipe says. Error if neither names any.
  static Job undo(const Model& model, const std::string& rotation_file = {});

  ~Job();
  Job(Job&&) noexcept;
  Job& operator=(Job&&) noexcept;

  const Model& model() const;
  const Recipe& recipe() const;     // as it ran: each modifier with all that it filled in
  Json recipe_json() const;         // the same as JSON
  const RewritePlan& plan() const;  // edits, before calibration
  bool quantizes() const;           // weights become codes, or what codes stand for
  const std::vector<std::string>& warnings() const;
  void warn(std::string text);

  // Tells the modifiers that all is done, once; no data follows. Error for a modifier that requires calibration data.
  const RewritePlan& finished_plan();

  // Writes the checkpoint: opens OUT.partial, calibrates, finishes the recipe, computes the rest, renames. A job is
  // saved once. spinor.json has the recipe, recipe.yaml too, README.md says how to load a model that needs more than
  // its source did. Error for a rotation_file in an `out` that is replaced. Errors leave OUT.partial for a resume and
  // nothing at `out`.
  SaveReport save(const std::filesystem::path& out, const JobSaveOptions& options = {});

 private:
  struct Data;
  explicit Job(std::unique_ptr<Data> data);
  std::unique_ptr<Data> data_;
};

}  // namespace spinor
