// The rows that rotations are learned from: what the linears of a model read on a text.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "spinor/calibration/samples.h"
#include "spinor/learning/channel_mass.h"
#include "spinor/learning/rows.h"
#include "spinor/plan/plan.h"
#include "spinor/runtime/options.h"
#include "spinor/transform/scales.h"

namespace spinor::learning {

// Rows of activations, in bfloat16 so that they take little room, and what each weighs.
struct RowSet {
  Rows rows;           // (count, n)
  at::Tensor weights;  // (count), float32
};

// Of one part of the samples: to learn on, or to judge on.
struct CapturedRows {
  RowSet stream;                 // what linears read of the residual stream, through every norm of every layer
  std::map<int, RowSet> values;  // by layer: heads of what the output projection of its attention reads
};

struct CaptureOptions {
  // The first so many samples are to learn on, the others to judge on.
  int64_t learn = 0;
  // About so many rows of the stream in each part: of every sample and norm the first token and others, one at least,
  // drawn from its context, which then weigh more.
  int64_t rows = 65536, judge_rows = 16384;
  double first_token = 1;  // weight of a window's first token; others weigh 1
  bool stream = true;
  bool of_weights = false;  // rows of the stream are those of the weights that read it, see weight_rows()
  bool values = false;
  std::vector<LegalScale> scales = {};         // to be found
  std::vector<BlockedChannels> channels = {};  // to be measured
  bool outputs = false;                        // of the samples to judge on
  uint64_t seed = 0;
  runtime::RuntimeOptions runtime = {};
  std::filesystem::path scratch = ".";  // see SamplePass
  // Rows that are more bytes than this go to a file; its name, in a directory that is there; empty: one in `scratch`
  // that is deleted when the program ends, however that is.
  int64_t memory = INT64_MAX;
  std::filesystem::path rows_file = {};
  std::function<void(int64_t layer, int64_t layers)> progress = {};
  std::stop_token stop = {};
};

struct Capture {
  CapturedRows learn, judge;
  // From the samples to learn on.
  std::map<std::string, std::vector<double>> scales;  // by LegalScale::names()
  std::map<std::string, std::vector<double>> mass;    // of channels, by HiddenChannels::name
  at::Tensor outputs = {};  // behind the final norm: (samples, context, hidden), float32; of the samples to judge on
};

// Runs the samples through the plan's model layer by layer, in float32. Norms must have been folded: a row is what a
// weight multiplies. Memory: a layer, the stream between two layers, 2 bytes an element of rows in memory. Errors as of
// Decoder; a disk without room for the rows; values that are not finite, naming the linear that reads them; a stream
// that no norm of the layers reads.
Capture capture_rows(const RewritePlan& plan, const calibration::Samples& samples, const CaptureOptions& options);

}  // namespace spinor::learning
