// What would run models, in the core, which cannot: the program and the Python module turn to spinor-torch.
#include "cli/calibration.h"
#include "cli/command.h"
#include "cli/verify_forward.h"

namespace spinor::cli {
namespace {

// Takes whatever it is given: the other program reads it.
Runner pass_on(CLI::App& app) {
  app.set_help_flag();
  app.allow_extras();
  app.prefix_command();
  return [](const Context&) -> Result { throw NeedsTorch(); };
}

}  // namespace

Runner answer_command(CLI::App& app) {
  return pass_on(app);
}
Runner compare_command(CLI::App& app) {
  return pass_on(app);
}
Runner eval_command(CLI::App& app) {
  return pass_on(app);
}
Runner generate_command(CLI::App& app) {
  return pass_on(app);
}
Runner learn_command(CLI::App& app) {
  return pass_on(app);
}

std::shared_ptr<Calibrator> make_calibrator(const CalibrationFlags&, const CommonOptions&, const Model&, const Context&,
                                            const Rank&, const RankMeeting&) {
  throw NeedsTorch();
}

Learning learn(Recipe&, const Model&, const CalibrationFlags&, const CommonOptions&, const Context&,
               const std::filesystem::path&, const std::string&) {
  throw NeedsTorch();
}

void need_torch() {
  throw NeedsTorch();
}

ForwardVerdict verify_forward(const Model&, const Model&, std::span<const int32_t>, std::optional<double>,
                              const runtime::RuntimeOptions&) {
  throw NeedsTorch();
}

}  // namespace spinor::cli
