#include "spinor/calibration/text_calibrator.h"

#include <ATen/Version.h>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "spinor/base/parallel.h"
#include "spinor/calibration/events.h"
#include "spinor/io/digest.h"
#include "spinor/ranks/rank_group.h"

namespace spinor::calibration {
namespace {

std::string report_json(const CalibrationReport& report) {
  Json modules = Json::array();
  for (const ModuleReport& module : report.modules) modules.push_back(write_fields(module));
  Json all = {{"modules", modules}};
  for (const ActivationReport& activation : report.activations) all["activations"].push_back(write_fields(activation));
  return all.dump(2) + "\n";
}

// One line where many modules have the same to say, as those of a vision tower have: the first of them, and how many.
std::vector<std::string> warnings_of(const CalibrationReport& report) {
  std::vector<std::pair<std::string, std::vector<std::string>>> modules;  // by warning
  const auto add = [&](const std::string& module, const std::string& warning) {
    auto found = std::ranges::find(modules, warning, [](const auto& pair) { return pair.first; });
    if (found == modules.end()) found = modules.insert(found, {warning, {}});
    found->second.push_back(module);
  };
  for (const ModuleReport& module : report.modules)
    for (const std::string& warning : module.warnings) add(module.module, warning);
  for (const ActivationReport& activation : report.activations) add(activation.module, activation.warning);
  std::vector<std::string> warnings;
  for (const auto& [warning, names] : modules)
    warnings.push_back(names.size() == 1 ? fmt::format("{}: {}", names[0], warning)
                                         : fmt::format("{} and {} more (see {}): {}", names[0], names.size() - 1,
                                                       kCalibrationFile, warning));
  return warnings;
}

}  // namespace

TextCalibrator::TextCalibrator(Samples samples, CalibrateOptions options, Rank rank, RankMeeting meeting)
    : samples_(std::move(samples)), options_(std::move(options)), rank_(std::move(rank)), meeting_(std::move(meeting)) {
  if (options_.runtime.threads <= 0) options_.runtime.threads = default_threads();
}

Json TextCalibrator::record() const {
  Digest digest;
  digest.update(std::as_bytes(std::span(samples_.tokens)));
  // libtorch's products have other bits on other processors.
  Json record = {{"tokens", digest.hex()},
                 {"samples", samples_.count},
                 {"context", samples_.context},
                 {"cpu", at::get_cpu_capability()}};
  if (options_.all_experts) record["all_experts"] = true;
  return record;
}

std::vector<std::string> TextCalibrator::calibrate(const RewritePlan& plan, PreparedTensors& output, RecipeRun& run,
                                                   const std::filesystem::path& out) {
  CalibrateOptions options = options_;
  options.scratch = std::filesystem::absolute(out).lexically_normal().parent_path();
  send_events(options, run);
  RankGroup ranks(rank_, meeting_, at::get_cpu_capability(), [&output] { output.check(); });
  options.ranks = &ranks;
  const CalibrationReport report = calibration::calibrate(plan, samples_, output, options);
  if (ranks.rank() > 0) return {};  // rank 0 completes the output
  output.add_text(kCalibrationFile, report_json(report));
  return warnings_of(report);
}

}  // namespace spinor::calibration
