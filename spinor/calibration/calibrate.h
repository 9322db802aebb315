// Calibration: what a plan cannot know without data, computed layer by layer on a text and put into the output. Needs
// no header of libtorch.
#pragma once

#include <filesystem>
#include <functional>
#include <stop_token>

#include "spinor/calibration/report.h"
#include "spinor/calibration/samples.h"
#include "spinor/plan/prepared.h"
#include "spinor/runtime/options.h"

namespace spinor {
class RankGroup;
}  // namespace spinor

namespace spinor::calibration {

// What happens, for those who want to know: a layer sees every sample before it is quantized, and after that where GPTQ
// has changed it.
struct CalibrationProgress {
  int64_t layer = 0, layers = 0;  // layer == layers: what follows the layers
  int64_t sample = 0, samples = 0;
  bool quantized = false;  // the second time
};

struct CalibrateOptions {
  // Its dtype and low bits are not used: all is float32. A quarter of its memory is for Hessians; where a layer has
  // more, as with many experts, samples go through it several times.
  runtime::RuntimeOptions runtime;
  // Every expert sees every token, as in llm-compressor, not only those that chose it; a layer's outputs are the same.
  bool all_experts = false;
  RankGroup* ranks = nullptr;           // that share the work; null: alone
  std::filesystem::path scratch = ".";  // the directory for activations that do not fit runtime.memory / 2
  std::function<void(const CalibrationProgress&)> progress = {};
  // A sample goes into a layer to be observed, and came out; a layer is done, with what it found.
  std::function<void(int64_t sample, int64_t samples)> batch_start = {}, batch_end = {};
  std::function<void(int64_t layer, const std::vector<ModuleReport>& modules)> layer_end = {};
  // A request to stop ends the work before the next sample with Stopped; what is finished is kept for a resumed run.
  std::stop_token stop = {};
};

// The weights that need data (GPTQ, imatrix observers) and the scales of activations that the plan has for calibration.
// A layer's inputs are those that the layers before it give, with GPTQ's weights; activations are not quantized; the
// weights are those of the plan, rotated, not rounded. What an earlier run has finished is taken from it. Memory: a
// layer in float32, the Hessians of its linears (inputs^2 floats each) or as many as fit, what those read of some
// samples (SamplePass, Collector), the activations or a file of them. Errors: as of Decoder; a module whose inputs are
// not finite; activations that no sample reached. An expert that no sample reached takes the nearest codes, and the
// scales of its siblings, with a warning. The result depends neither on the number of
// threads nor on that of ranks, each of which runs its chunks of the samples, and quantizes its share of the weights.
CalibrationReport calibrate(const RewritePlan& plan, const Samples& samples, PreparedTensors& output,
                            const CalibrateOptions& options);

}  // namespace spinor::calibration
