#include "spinor/calibration/samples.h"

#include <fmt/format.h>

#include <algorithm>

#include "spinor/base/error.h"
#include "spinor/linalg/random.h"
#include "spinor/plan/calibration_share.h"

namespace spinor::calibration {

int64_t chunks_of(const Samples& samples) {
  return (samples.count + kSamplesInChunk - 1) / kSamplesInChunk;
}

Samples share_of(const Samples& samples, int rank, int ranks) {
  Samples share{.count = 0, .context = samples.context, .tokens = {}};
  for (int64_t chunk = rank; chunk < chunks_of(samples); chunk += ranks) {
    const int64_t first = chunk * kSamplesInChunk, count = std::min(kSamplesInChunk, samples.count - first);
    const auto tokens = samples.tokens.begin() + first * samples.context;
    share.tokens.insert(share.tokens.end(), tokens, tokens + count * samples.context);
    share.count += count;
  }
  return share;
}

Samples draw_samples(std::span<const int32_t> text, const SampleOptions& options) {
  const int64_t lead = options.bos ? 1 : 0, fresh = options.context - lead;
  if (options.samples < 1) throw Error("samples", fmt::format("are {}: calibration needs some", options.samples));
  if (fresh < 1) throw Error("context", fmt::format("is {}: a sample has at least one token", options.context));
  const int64_t windows = std::ssize(text) / fresh;
  if (windows == 0)
    throw Error("calibration text", fmt::format("has {} tokens, and a sample takes {}", text.size(), fresh),
                "use a longer text, or --calibration-context for shorter samples");
  const std::vector<int64_t> order = Random(options.seed).permutation(windows);
  Samples samples{.count = std::min(windows, options.samples), .context = options.context, .tokens = {}};
  for (int64_t i = 0; i < samples.count; ++i) {
    if (options.bos) samples.tokens.push_back(*options.bos);
    const auto window = text.subspan(static_cast<size_t>(order[static_cast<size_t>(i)] * fresh));
    samples.tokens.insert(samples.tokens.end(), window.begin(), window.begin() + fresh);
  }
  return samples;
}

}  // namespace spinor::calibration
