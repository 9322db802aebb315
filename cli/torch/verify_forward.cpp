#include "cli/verify_forward.h"

#include <fmt/format.h>

#include <algorithm>

#include "spinor/runtime/forward_check.h"
#include "spinor/transform/stored_online.h"

namespace spinor::cli {
namespace {

std::string text_of(const runtime::ForwardCheck& check, size_t tokens) {
  const double worst = *std::ranges::max_element(check.layers);
  const std::string experts =
      check.tokens_rerouted
          ? fmt::format("{:.2f} % of the tokens chose other experts in some layer, {:.3f} % of all choices changed\n",
                        100 * *check.tokens_rerouted, 100 * *check.choices_changed)
          : "";
  return fmt::format(
      "run on {} tokens: logits differ by {:.1e} at most, {:.1e} rms (in their standard deviations); KL divergence "
      "{:.1e}\nnats a token; {:.1f} % of the most likely tokens agree; perplexity {:.4f} -> {:.4f}; products of the "
      "residual stream\ndiffer by {:.1e} at most over the layers\n{}",
      tokens, check.logits_max, check.logits_rms, check.divergence, 100 * check.top1_agreement, check.source_perplexity,
      check.perplexity, worst, experts);
}

std::string problem_of(const runtime::ForwardCheck& check, double bound) {
  if (const auto layer = check.first_departure(bound))
    return fmt::format(
        "layer {} is the first whose residual stream is not a rotation of the source's (error {:.1e}, "
        "bound {:.1e})",
        *layer, check.layers[static_cast<size_t>(*layer)], bound);
  if (check.logits_rms <= bound) return "";
  return fmt::format(
      "the layers agree, the logits do not: rms {:.1e}, bound {:.1e}; the final norm or the head is wrong",
      check.logits_rms, bound);
}

}  // namespace

void need_torch() {}

ForwardVerdict verify_forward(const Model& source, const Model& output, std::span<const int32_t> tokens,
                              std::optional<double> bound, const runtime::RuntimeOptions& runtime) {
  const runtime::ForwardCheck check = runtime::check_forward(as_stored(source), as_stored(output), tokens, runtime);
  ForwardVerdict verdict{.text = text_of(check, std::min<size_t>(tokens.size(), 256))};
  if (bound) verdict.problem = problem_of(check, *bound);
  verdict.json = {{"passed", verdict.problem.empty()},      {"logits_max", check.logits_max},
                  {"logits_rms", check.logits_rms},         {"kl_divergence", check.divergence},
                  {"top1_agreement", check.top1_agreement}, {"source_perplexity", check.source_perplexity},
                  {"perplexity", check.perplexity},         {"layers", check.layers}};
  if (check.tokens_rerouted) {
    verdict.json["tokens_rerouted"] = *check.tokens_rerouted;
    verdict.json["choices_changed"] = *check.choices_changed;
  }
  if (bound) verdict.json["bound"] = *bound;
  return verdict;
}

}  // namespace spinor::cli
