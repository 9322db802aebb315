#include "cli/calibration_report.h"

#include <fmt/format.h>

#include <filesystem>

#include "spinor/calibration/report.h"
#include "spinor/io/file.h"

namespace spinor::cli {

Json read_calibration(const Checkpoint& checkpoint) {
  const std::filesystem::path file = checkpoint.directory() / calibration::kCalibrationFile;
  return std::filesystem::exists(file) ? parse_json(read_text(file), file.string()) : Json();
}

std::string calibration_text(const Json& calibration) {
  if (!calibration.is_object() || !calibration.contains("modules")) return "";
  std::string text = fmt::format(
      "\ncalibration: squared change of the outputs as a part of their squares\n{:<44} {:>10} {:>10} {:>8}\n", "module",
      "error", "nearest", "tokens");
  for (const Json& row : calibration["modules"]) {
    const auto module = read_fields<calibration::ModuleReport>(row, {"modules", calibration::kCalibrationFile});
    const auto number = [](std::optional<double> error) { return error ? fmt::format("{:.2e}", *error) : "-"; };
    text += fmt::format("{:<44} {:>10} {:>10} {:>8}{}{}\n", module.module, number(module.error),
                        number(module.nearest_error), module.tokens, module.rotated ? "  rotated" : "",
                        module.quantized == "gptq" ? "" : "  " + module.quantized);
  }
  return text;
}

}  // namespace spinor::cli
