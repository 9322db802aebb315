// Which rank finds the codes of which weights, where that takes data.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "spinor/plan/plan.h"

namespace spinor {

// So many samples in a row are a chunk: what they show is summed up together, by one rank.
constexpr int64_t kSamplesInChunk = 4;

// Weights with the same key read the same, or share a scale, and so have one owner, and one Hessian.
std::string calibration_key(const WeightQuantization& quantization, const std::string& tensor, const Model& model);
// About how many multiplications it takes to find the codes of a weight (rows, cols): GPTQ and its share of a Hessian's
// factor; or the search for scales by imatrix.
double calibration_cost(const WeightQuantization& quantization, int64_t rows, int64_t cols);

// The owner of each key: the dearest first, each to the rank that has least to do. Depends on the arguments alone.
std::map<std::string, int> calibration_owners(const std::map<std::string, double>& costs, int ranks);

}  // namespace spinor
