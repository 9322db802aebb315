// What some samples in a row have shown of a layer: all of a chunk goes into the sums at once, chunk by chunk.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "spinor/calibration/hessian.h"
#include "spinor/quant/scale.h"

namespace spinor::calibration {

using WatchedPlace = std::pair<std::string, std::string>;  // module, place of an activation

struct Chunk {
  struct Inputs {
    HessianPart part;
    std::vector<at::Tensor> x;  // (..., size), one of each sample that came by, in their order
  };
  std::vector<Inputs> inputs = {};                                      // each once, however many linears read it
  std::map<std::string, size_t> read = {};                              // which of them, by linear
  std::vector<std::string> linears = {};                                // as they came
  std::map<WatchedPlace, std::vector<std::vector<Range>>> ranges = {};  // of each sample that came by
};

}  // namespace spinor::calibration
