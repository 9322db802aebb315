#include "cli/calibration.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <iterator>
#include <memory>
#include <utility>

#include "cli/text.h"
#include "spinor/base/parallel.h"
#include "spinor/calibration/events.h"
#include "spinor/io/digest.h"
#include "spinor/io/shard_layout.h"
#include "spinor/tokenizer/tokenizer.h"

namespace spinor::cli {
namespace {

// One line a layer, and on a terminal what happens in between.
class LayerLog {
 public:
  explicit LayerLog(bool enabled) : enabled_(enabled) {}

  void layer(int64_t index, int64_t layers, const std::vector<calibration::ModuleReport>& modules) const {
    if (!enabled_) return;
    if (index < layers)
      fmt::print(stderr, "layer {} of {}, {} left\n", index + 1, layers, time_left(index + 1, layers));
    else
      fmt::print(stderr, "outside of the layers\n");
    for (const calibration::ModuleReport& module : modules) {
      const std::string errors =
          module.error ? fmt::format("error {:.2e}, nearest codes {:.2e}", *module.error, *module.nearest_error)
                       : fmt::format("nearest codes{}", module.quantized == "imatrix" ? ", scales by imatrix" : "");
      fmt::print(stderr, "  {:<44} {}\n", module.module, errors);
    }
  }

 private:
  std::string time_left(int64_t done, int64_t all) const {
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    const auto left = static_cast<int64_t>(seconds / static_cast<double>(done) * static_cast<double>(all - done));
    return fmt::format("{}:{:02}", left / 60, left % 60);
  }

  bool enabled_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

std::string digest_of(const calibration::Samples& samples) {
  Digest digest;
  digest.update(std::as_bytes(std::span(samples.tokens)));
  return digest.hex();
}

calibration::Samples read_samples(const CalibrationFlags& flags, Planned& planned) {
  calibration::SampleOptions options{.samples = flags.samples, .context = flags.context, .seed = flags.seed};
  if (flags.bos) {
    options.bos = tokenizer::Tokenizer::load(planned.model.checkpoint().directory()).bos();
    if (!options.bos) throw Error("--calibration-bos", "the model's tokenizer has no bos token");
  }
  calibration::Samples samples = calibration::draw_samples(read_tokens(flags.text, planned.model), options);
  if (samples.count < flags.samples)
    planned.warnings.push_back(fmt::format("{} gives {} samples of {} tokens, not {}", flags.text, samples.count,
                                           samples.context, flags.samples));
  return samples;
}

std::string report_json(const calibration::CalibrationReport& report) {
  Json modules = Json::array();
  for (const calibration::ModuleReport& module : report.modules) modules.push_back(write_fields(module));
  Json all = {{"modules", modules}};
  for (const calibration::ActivationReport& activation : report.activations)
    all["activations"].push_back(write_fields(activation));
  return all.dump(2) + "\n";
}

// One line where many modules have the same to say, as those of a vision tower have: the first of them, and how many.
std::vector<std::string> warnings_of(const calibration::CalibrationReport& report) {
  std::vector<std::pair<std::string, std::vector<std::string>>> modules;  // by warning
  const auto add = [&](const std::string& module, const std::string& warning) {
    auto found = std::ranges::find(modules, warning, [](const auto& pair) { return pair.first; });
    if (found == modules.end()) found = modules.insert(found, {warning, {}});
    found->second.push_back(module);
  };
  for (const calibration::ModuleReport& module : report.modules)
    for (const std::string& warning : module.warnings) add(module.module, warning);
  for (const calibration::ActivationReport& activation : report.activations) add(activation.module, activation.warning);
  std::vector<std::string> warnings;
  for (const auto& [warning, names] : modules)
    warnings.push_back(names.size() == 1 ? fmt::format("{}: {}", names[0], warning)
                                         : fmt::format("{} and {} more (see {}): {}", names[0], names.size() - 1,
                                                       calibration::kCalibrationFile, warning));
  return warnings;
}

}  // namespace

void calibrate_in(SaveOptions& options, const CalibrationFlags& flags, const CommonOptions& common, Planned& planned,
                  RecipeRun& run, const std::string& out) {
  const auto samples = std::make_shared<const calibration::Samples>(read_samples(flags, planned));
  calibration::CalibrateOptions how;
  how.runtime.device = flags.device;
  how.all_experts = flags.all_experts;
  how.runtime.threads = common.threads > 0 ? common.threads : default_threads();
  if (!flags.memory.empty()) how.runtime.memory = parse_size(flags.memory);
  how.scratch = std::filesystem::absolute(out).lexically_normal().parent_path();
  options.record["calibration"] = {{"tokens", digest_of(*samples)},
                                   {"samples", samples->count},
                                   {"context", samples->context},
                                   {"threads", how.runtime.threads}};
  if (flags.all_experts) options.record["calibration"]["all_experts"] = true;
  const auto log = std::make_shared<LayerLog>(!common.quiet && !common.json);
  const int64_t layers = planned.model.num_layers();
  calibration::send_events(how, run);
  how.layer_end = [sent = how.layer_end, log, layers](int64_t layer,
                                                      const std::vector<calibration::ModuleReport>& modules) {
    sent(layer, modules);
    log->layer(layer, layers, modules);
  };
  options.prepare = [samples, how, &planned, &run](PreparedTensors& output) {
    const calibration::CalibrationReport report = calibration::calibrate(planned.plan, *samples, output, how);
    const std::vector<std::string> warnings = run.finish();
    output.add_text(calibration::kCalibrationFile, report_json(report));
    std::ranges::copy(warnings, std::back_inserter(planned.warnings));
    std::ranges::copy(warnings_of(report), std::back_inserter(planned.warnings));
  };
}

}  // namespace spinor::cli
