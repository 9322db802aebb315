#include <fmt/format.h>

#include "cli/torch/evaluation_flags.h"
#include "spinor/transform/stored_online.h"

namespace spinor::cli {
namespace {

struct EvalCommand : EvaluationFlags {
  std::string reference;

  Result run(const Context& context) {
    Job job = planned(context);
    const RewritePlan& plan = job.finished_plan();
    const std::vector<int32_t> tokens = text.tokens(job.model());
    options.bos = text.bos_token(job.model());
    const bool tells = meet("eval", tokens);
    const runtime::RuntimeOptions how = runtime.options(common);
    const auto show = [&](int64_t done, int64_t all, double) { context.progress("eval", done, all); };
    const runtime::Evaluation result = reference.empty() ? runtime::evaluate(plan, tokens, options, how, show)
                                                         : against_reference(plan, tokens, how, show);
    const Json json = this->json(result);
    return {json, !tells ? "" : common.json ? json_text(json) : text_of(result), ""};
  }

  runtime::Evaluation against_reference(const RewritePlan& plan, const std::vector<int32_t>& tokens,
                                        const runtime::RuntimeOptions& how,
                                        const runtime::EvaluateProgress& show) const {
    runtime::Reference other(as_stored(Model::open(reference)), how);
    return runtime::evaluate(plan, other, tokens, options, how, show);
  }

  static Json json(const runtime::Evaluation& result) {
    Json json = {{"perplexity", result.perplexity},
                 {"tokens", result.tokens},
                 {"windows", result.windows},
                 {"seconds", result.seconds}};
    if (result.divergence) {
      json["reference_perplexity"] = *result.reference_perplexity;
      json["kl_divergence"] = *result.divergence;
      json["top1_agreement"] = *result.top1_agreement;
      json["logits_rms"] = *result.logits_rms;
      json["logits_max"] = *result.logits_max;
    }
    return json;
  }

  static std::string text_of(const runtime::Evaluation& result) {
    std::string text = fmt::format("perplexity       {:.4f}   {} tokens in {} windows, {:.1f} s\n", result.perplexity,
                                   result.tokens, result.windows, result.seconds);
    if (!result.divergence) return text;
    text += fmt::format("reference        {:.4f}\nKL divergence    {:.3e} nats a token\ntop-1 agreement  {:.2f} %\n",
                        *result.reference_perplexity, *result.divergence, 100 * *result.top1_agreement);
    text += fmt::format("logits           differ by {:.1e} at most, {:.1e} rms, in their standard deviations\n",
                        *result.logits_max, *result.logits_rms);
    return text;
  }
};

}  // namespace

Runner eval_command(CLI::App& app) {
  const auto command = std::make_shared<EvalCommand>();
  command->add_to(app);
  app.add_option("--reference", command->reference, "Another checkpoint: also KL divergence and agreement with it");
  return [command](const Context& context) { return command->run(context); };
}

}  // namespace spinor::cli
