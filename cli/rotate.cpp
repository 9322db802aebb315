#include <fmt/format.h>

#include <filesystem>

#include "cli/command.h"
#include "cli/progress.h"
#include "cli/rotation.h"
#include "spinor/io/file.h"

namespace spinor::cli {
namespace {

struct RotateCommand {
  std::string model, out;
  RotationOptions rotation;
  OutputOptions output;
  CommonOptions common;
  bool force = false, discard_partial = false;

  int run() const {
    const PlannedRotation planned = plan_rotation(model, rotation);
    if (!common.quiet) print_warnings(planned);
    SaveOptions options = output.save_options();
    options.threads = common.threads;
    options.force = force;
    options.discard_partial = discard_partial;
    options.record = {{"command", "rotate"}, {"recipe", planned.recipe_json()}};
    options.texts["recipe.yaml"] = planned.recipe.yaml();
    SaveReport report;
    double seconds = 0;
    {
      Progress progress("rotate", !common.quiet && !common.json);
      options.progress = [&](const SaveProgress& p) { progress.show(p.bytes_done, p.bytes_total); };
      report = save(planned.plan, out, options);
      seconds = progress.seconds();
    }
    print(planned, report, seconds);
    return 0;
  }

  void print(const PlannedRotation& planned, const SaveReport& report, double seconds) const {
    if (common.json) {
      const Json json = {{"out", out},
                         {"tensors", report.tensors},
                         {"bytes_written", report.bytes_written},
                         {"bytes_resumed", report.bytes_resumed},
                         {"seconds", seconds},
                         {"untied", planned.plan.untied()},
                         {"warnings", planned.warnings}};
      fmt::print("{}\n", json.dump(2));
    } else if (!common.quiet) {
      const std::string resumed =
          report.bytes_resumed ? fmt::format(", {} kept from an earlier run", describe_bytes(report.bytes_resumed))
                               : "";
      fmt::print("{}: {} tensors, {} in {:.2f} s ({}/s){}{}\n", out, report.tensors,
                 describe_bytes(report.bytes_written), seconds,
                 describe_bytes(static_cast<int64_t>(static_cast<double>(report.bytes_written) / seconds)), resumed,
                 planned.plan.untied() ? "; the head is no longer tied to the embedding" : "");
    }
  }
};

}  // namespace

Runner rotate_command(CLI::App& app) {
  const auto command = std::make_shared<RotateCommand>();
  app.add_option("MODEL", command->model, "A checkpoint directory, or org/name in the local Hugging Face cache")
      ->required();
  app.add_option("OUT", command->out, "The directory to write")->required();
  command->rotation.add_to(app);
  command->output.add_to(app);
  command->common.add_to(app);
  app.add_flag("--force", command->force, "Replace an existing OUT, once the new one is complete");
  app.add_flag("--discard-partial", command->discard_partial, "Start again where an OUT.partial is another job's");
  return [command] { return command->run(); };
}

}  // namespace spinor::cli
