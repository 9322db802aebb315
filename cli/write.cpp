// The commands that write a checkpoint: rotate, quantize and dequantize. They differ in what they plan.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <optional>

#include "cli/calibration.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/recipe.h"
#include "spinor/base/error.h"
#include "spinor/io/file.h"
#include "spinor/plan/compatibility.h"
#include "spinor/plan/model_card.h"

namespace spinor::cli {
namespace {

bool quantizes(const RewritePlan& plan) {
  return std::ranges::any_of(plan.tensors(), [](const TensorPlan& t) { return quantization_of(t.edits) != nullptr; });
}

struct WriteCommand {
  std::string name;  // "rotate"
  std::string model, out;
  RecipeOptions recipe;
  OutputOptions output;
  CalibrationFlags calibration;
  CommonOptions common;
  std::vector<std::string> clients;  // --for
  bool force = false, discard_partial = false, inverse = false;

  void add_to(CLI::App& app) {
    app.add_option("MODEL", model, "A checkpoint directory, or org/name in the local Hugging Face cache")->required();
    app.add_option("OUT", out, "The directory to write")->required();
    if (name != "dequantize") recipe.add_rotation_to(app);
    if (name == "rotate")
      app.add_flag("--inverse", inverse, "Undo the rotations that MODEL's recipe.yaml or config.json names");
    if (name == "quantize") recipe.add_quantization_to(app);
    if (name == "quantize") calibration.add_to(app);
    output.add_to(app);
    common.add_to(app);
    if (name != "dequantize")
      app.add_option("--for", clients,
                     "transformers, vllm, sglang, llama.cpp: refuse what one of these would load wrongly")
          ->delimiter(',');
    app.add_flag("--force", force, "Replace an existing OUT, once the new one is complete");
    app.add_flag("--discard-partial", discard_partial, "Start again where an OUT.partial is another job's");
  }

  // As far as it can be known before the recipe runs.
  Planned plan() const {
    if (name == "quantize" && recipe.recipe.empty() && recipe.scheme.empty())
      throw Error("quantize", "needs to know how", "give --scheme W4A16 (or another preset), or --recipe FILE");
    RecipeOptions others = recipe;
    others.rotation.clear();
    if (inverse && others.given())
      throw Error("--inverse", "takes the rotation from MODEL",
                  "leave the other options of a rotation out, but for --rotation");
    if (name == "dequantize") return plan_dequantized(model);
    if (inverse) return plan_inverse(model, recipe.rotation);
    return start_recipe(model, recipe);
  }

  // What a named client would load wrongly is an Error; what transformers or vLLM would, a warning also without.
  void check_clients(Planned& planned) const {
    std::vector<Client> named;
    for (const std::string& client : clients) named.push_back(client_from(client));
    require_compatible(planned.plan, named);
    for (const Incompatibility& found : incompatibilities(planned.plan, kUsualClients))
      planned.warnings.push_back(
          fmt::format("{} {} ({}); {}", name_in_table(found.client), found.problem, found.where, found.instead));
  }

  // A card of its own only where the model needs one: fused rotations load as the source does.
  static std::string card(const Planned& planned) {
    const std::filesystem::path source = planned.model.checkpoint().directory() / "README.md";
    return model_card(planned.plan, planned.recipe.yaml(),
                      std::filesystem::exists(source) ? read_text(source) : std::string());
  }

  int run() const {
    Planned planned = plan();
    std::optional<RecipeRun> steps;
    if (!planned.recipe.steps().empty()) steps.emplace(planned.recipe, planned.model, planned.plan);
    if (name == "rotate" && quantizes(planned.plan))
      throw Error(recipe.recipe, "quantizes, and rotate does not", "use spinor quantize");
    const bool calibrated = calibration.given() && !planned.plan.needs_data().empty();
    if (calibration.given() && !calibrated) planned.warnings.push_back("--calibration: nothing needs data");
    if (steps && !calibrated) std::ranges::move(steps->finish_without_data(), std::back_inserter(planned.warnings));
    check_clients(planned);
    SaveOptions options = output.save_options();
    options.threads = common.threads;
    options.force = force;
    options.discard_partial = discard_partial;
    options.record = {{"command", inverse ? "rotate --inverse" : name}};
    if (!planned.recipe.steps().empty()) {
      options.record["recipe"] = planned.recipe_json();
      options.texts["recipe.yaml"] = planned.recipe.yaml();
    }
    if (planned.plan.quantization() || !planned.plan.online().empty()) options.texts["README.md"] = card(planned);
    if (calibrated) calibrate_in(options, calibration, common, planned, *steps, out);
    if (!common.quiet) print_warnings(planned);
    const size_t printed = planned.warnings.size();
    SaveReport report;
    double seconds = 0;
    {
      Progress progress(name, !common.quiet && !common.json);
      options.progress = [&](const SaveProgress& p) { progress.show(p.bytes_done, p.bytes_total); };
      report = save(planned.plan, out, options);
      seconds = progress.seconds();
    }
    if (!common.quiet) print_warnings(planned, printed);
    print(planned, report, seconds);
    return 0;
  }

  void print(const Planned& planned, const SaveReport& report, double seconds) const {
    if (common.json) {
      const Json json = {{"out", out},
                         {"tensors", report.tensors},
                         {"bytes_written", report.bytes_written},
                         {"bytes_resumed", report.bytes_resumed},
                         {"seconds", seconds},
                         {"untied", planned.plan.untied()},
                         {"rotations", planned.plan.rotation_types()},
                         {"warnings", planned.warnings}};
      print_json(json);
    } else if (!common.quiet) {
      const std::string resumed =
          report.bytes_resumed ? fmt::format(", {} kept from an earlier run", describe_bytes(report.bytes_resumed))
                               : "";
      fmt::print("{}: {} tensors, {} in {:.2f} s ({}/s){}{}\n", out, report.tensors,
                 describe_bytes(report.bytes_written), seconds,
                 describe_bytes(static_cast<int64_t>(static_cast<double>(report.bytes_written) / seconds)), resumed,
                 planned.plan.untied() ? "; the head is no longer tied to the embedding" : "");
      if (const std::string types = planned.plan.rotation_types(); !types.empty()) fmt::print("rotations: {}\n", types);
    }
  }
};

Runner write_command(CLI::App& app, std::string name) {
  const auto command = std::make_shared<WriteCommand>();
  command->name = std::move(name);
  command->add_to(app);
  return [command] { return command->run(); };
}

}  // namespace

Runner rotate_command(CLI::App& app) {
  return write_command(app, "rotate");
}
Runner quantize_command(CLI::App& app) {
  return write_command(app, "quantize");
}
Runner dequantize_command(CLI::App& app) {
  return write_command(app, "dequantize");
}

}  // namespace spinor::cli
