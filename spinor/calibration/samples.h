// The pieces of a text that calibration runs a model on.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace spinor::calibration {

struct SampleOptions {
  int64_t samples = 128;            // at most
  int64_t context = 2048;           // tokens of each, `bos` included
  uint64_t seed = 0;                // which ones, where there are more
  std::optional<int32_t> bos = {};  // begins each
};

struct Samples {
  int64_t count = 0, context = 0;
  std::vector<int32_t> tokens;  // (count, context)
};

int64_t chunks_of(const Samples& samples);
// Those whose chunks are this rank's: the first is rank 0's, the next rank 1's, and so on.
Samples share_of(const Samples& samples, int rank, int ranks);

// Windows that do not overlap, drawn without replacement, in the order of the draw. Error for a text that does not fill
// one, and for sizes that make no sense.
Samples draw_samples(std::span<const int32_t> text, const SampleOptions& options);

}  // namespace spinor::calibration
