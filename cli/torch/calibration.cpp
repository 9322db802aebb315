#include "cli/calibration.h"

#include <fmt/format.h>

#include <chrono>
#include <memory>
#include <utility>

#include "cli/text.h"
#include "cli/torch/learning.h"
#include "spinor/calibration/text_calibrator.h"
#include "spinor/io/shard_layout.h"
#include "spinor/tokenizer/tokenizer.h"

namespace spinor::cli {
namespace {

// A line for each layer, and one for each module of it.
class LayerLog {
 public:
  explicit LayerLog(std::function<void(const std::string&)> log) : log_(std::move(log)) {}

  void layer(int64_t index, int64_t layers, const std::vector<calibration::ModuleReport>& modules) const {
    if (index < layers)
      log_(fmt::format("layer {} of {}, {} left\n", index + 1, layers, time_left(index + 1, layers)));
    else
      log_("outside of the layers\n");
    for (const calibration::ModuleReport& module : modules) {
      const std::string errors =
          module.error ? fmt::format("error {:.2e}, nearest codes {:.2e}", *module.error, *module.nearest_error)
                       : fmt::format("nearest codes{}", module.quantized == "imatrix" ? ", scales by imatrix" : "");
      log_(fmt::format("  {:<44} {}\n", module.module, errors));
    }
  }

 private:
  std::string time_left(int64_t done, int64_t all) const {
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    const auto left = static_cast<int64_t>(seconds / static_cast<double>(done) * static_cast<double>(all - done));
    return fmt::format("{}:{:02}", left / 60, left % 60);
  }

  std::function<void(const std::string&)> log_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

calibration::Samples read_samples(const CalibrationFlags& flags, const Model& model,
                                  const std::function<void(const std::string&)>& warn) {
  calibration::SampleOptions options{.samples = flags.samples, .context = flags.context, .seed = flags.seed};
  options.bos = bos_token(flags, model);
  calibration::Samples samples = calibration::draw_samples(read_tokens(flags.text, model), options);
  if (samples.count < flags.samples)
    warn(fmt::format("{} gives {} samples of {} tokens, not {}", flags.text, samples.count, samples.context,
                     flags.samples));
  return samples;
}

}  // namespace

std::optional<int32_t> bos_token(const CalibrationFlags& flags, const Model& model) {
  if (!flags.bos) return {};
  const std::optional<int32_t> bos = tokenizer::Tokenizer::load(model.checkpoint().directory()).bos();
  if (!bos) throw Error("--calibration-bos", "the model's tokenizer has no bos token");
  return bos;
}

std::shared_ptr<Calibrator> make_calibrator(const CalibrationFlags& flags, const CommonOptions& common,
                                            const Model& model, const Context& context, const Rank& rank,
                                            const RankMeeting& meeting) {
  calibration::CalibrateOptions how;
  how.runtime.device = flags.device;
  how.runtime.threads = common.threads;
  how.all_experts = flags.all_experts;
  if (!flags.memory.empty()) how.runtime.memory = parse_size(flags.memory);
  const auto log = std::make_shared<LayerLog>(context.log);
  const int64_t layers = model.num_layers();
  how.layer_end = [log, layers](int64_t layer, const std::vector<calibration::ModuleReport>& modules) {
    log->layer(layer, layers, modules);
  };
  return std::make_shared<calibration::TextCalibrator>(read_samples(flags, model, context.warn), how, rank, meeting);
}

}  // namespace spinor::cli
