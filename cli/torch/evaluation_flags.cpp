#include "cli/torch/evaluation_flags.h"

#include <fmt/format.h>

#include "spinor/io/digest.h"

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
  ranks.add_to(app, "share the windows", RankWork::together);
}

bool EvaluationFlags::meet(const std::string& command, std::span<const int32_t> tokens, const std::string& common_too) {
  const Rank rank = ranks.make();
  if (rank.alone()) return true;
  Digest digest;
  digest.update(std::as_bytes(tokens));
  const std::string same = fmt::format("text {}, windows of {} every {}, at most {} {}", digest.hex().substr(0, 8),
                                       options.context, options.stride, options.samples, common_too);
  group_ = std::make_shared<RankGroup>(rank, meeting_of(rank, {}, command), same);
  options.ranks = group_.get();
  return rank.rank == 0;
}

}  // namespace spinor::cli
