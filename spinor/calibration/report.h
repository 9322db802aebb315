// What calibration found out about each weight, as calibration.json has it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "spinor/base/fields.h"

namespace spinor::calibration {

struct ModuleReport {
  std::string module;
  int64_t inputs = 0;
  int64_t tokens = 0;  // that its inputs were made of
  // GPTQ's: the squared change of the module's outputs on the calibration text, as a part of their squares: if every
  // weight took its nearest code, and as it was written.
  std::optional<double> nearest_error = {}, error = {};
  double dampening_frac = 0;  // that was needed
  int64_t dead_columns = 0;   // whose inputs are always 0: their weights were set to 0
  int64_t nearest_rows = 0;   // rows where the nearest codes were better, and were taken
  // "nearest" codes, where there is no factor, or GPTQ was not asked for; "imatrix": those, and its inputs had a say in
  // its scales.
  std::string quantized = "gptq";
  bool rotated = false;
  std::vector<std::string> warnings = {};

  template <class Visitor>
  void fields(Visitor& v) {
    v("module", module);
    v("inputs", inputs);
    v("tokens", tokens);
    v("nearest_error", nearest_error);
    v("error", error);
    v("dampening_frac", dampening_frac);
    v("dead_columns", dead_columns);
    v("nearest_rows", nearest_rows);
    v("quantized", quantized);
    v("rotated", rotated);
    v("warnings", warnings);
  }
};

// Of a scale that is not of the text alone.
struct ActivationReport {
  std::string module, place, warning;

  template <class Visitor>
  void fields(Visitor& v) {
    v("module", module);
    v("place", place);
    v("warning", warning);
  }
};

struct CalibrationReport {
  std::vector<ModuleReport> modules;  // in the order of the plan's tensors
  std::vector<ActivationReport> activations = {};
};

// The file in a checkpoint directory.
inline constexpr const char* kCalibrationFile = "calibration.json";

}  // namespace spinor::calibration
