#include "cli/torch/evaluation_flags.h"

namespace spinor::cli {

void EvaluationFlags::add_to(CLI::App& app) {
  add_model_to(app);
  text.add_to(app, true);
  const auto option = [](CLI::Option* o) { return o->group("Windows")->capture_default_str(); };
  option(app.add_option("--context", options.context, "Tokens in a window"));
  option(app.add_option("--stride", options.stride,
                        "From one window to the next, so that tokens have a context; 0: windows do not overlap"));
  option(app.add_option("--samples", options.samples, "Only the first so many windows; 0: all"));
  add_recipe_to(app);
}

}  // namespace spinor::cli
