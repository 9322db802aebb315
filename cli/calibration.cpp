#include "cli/calibration.h"

namespace spinor::cli {

void CalibrationFlags::add_to(CLI::App& app) {
  const auto option = [](CLI::Option* o) { return o->group("Calibration"); };
  CLI::Option* file =
      option(app.add_option("--calibration", text,
                            "Text for what needs data (GPTQ, imatrix, static scales, learning): a file, .jsonl "
                            "rows, a directory of them, or .json tokens"));
  const auto detail = [&](CLI::Option* o) { return option(o)->needs(file)->capture_default_str(); };
  const auto of_samples = [&](CLI::Option* o) { of_samples_.push_back(detail(o)); };
  of_samples(app.add_option("--calibration-samples", samples, "How many pieces of it; learning takes others"));
  context_ = detail(app.add_option("--calibration-context", context, "Tokens in each"));
  of_samples(app.add_option("--calibration-seed", seed, "Which pieces, where there are more"));
  detail(app.add_flag("--calibration-bos", bos, "Begin each with the tokenizer's bos token"));
  of_samples(app.add_flag("--calibration-all-experts", all_experts,
                          "Every expert of a mixture sees every token, as in llm-compressor; slower"));
  detail(app.add_option("--calibration-memory", memory,
                        "For weights and activations, e.g. 8GB; what is more goes to a file; default: half of what is "
                        "free"));
  detail(app.add_option("--calibration-device", device, "Where the model runs: cpu, cuda, cuda:1"));
}

std::optional<int64_t> CalibrationFlags::asked_context() const {
  return context_ && context_->count() > 0 ? std::optional(context) : std::nullopt;
}

std::string CalibrationFlags::left_by_learning() const {
  for (const CLI::Option* option : of_samples_)
    if (option->count() > 0)
      return option->get_name() +
             ": nothing but learning takes the text, which has samples, holdout and seed of its own";
  return "";
}

}  // namespace spinor::cli
