#include "spinor/verify/unchanged.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace spinor::verify {
namespace {

bool scales_stream(const Model& model, const Module& norm) {
  const std::vector<NormReads>& all = model.stream().norm_reads;
  return std::ranges::find(all, &norm, &NormReads::norm) != all.end();
}

// A reader that no bias of a norm goes into, and that makes no values.
bool keeps_bias(const Context& context, const Module& module) {
  if (context.values.contains(&module) || value_rows(context, module)) return false;
  for (const Stream* stream : context.source.model().streams())
    for (const NormReads& reads : stream->norm_reads)
      if (std::ranges::find(reads.linears, &module) != reads.linears.end()) return !reads.norm->bias;
  return false;
}

// Of each element relative to itself.
double largest_change(const std::vector<double>& a, const std::vector<double>& b) {
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i)
    worst = std::max(worst, std::abs(a[i] - b[i]) / std::max({std::abs(a[i]), std::abs(b[i]), 1e-30}));
  return worst;
}

// Of each element relative to all: where a transform has mixed them, so it has their rounding.
double largest_change_of_all(const std::vector<double>& a, const std::vector<double>& b) {
  double worst = 0;
  const double rms = length(a) / std::sqrt(static_cast<double>(a.size()));
  for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(a[i] - b[i]) / std::max(rms, 1e-30));
  return worst;
}

const char* const kLeftAlone = "a rotation must leave it alone";

void check_bias(Context& context, const Module& module) {
  const Module& twin = context.twin(module);
  const std::vector<double> a = context.source.bias(module), b = context.output.bias(twin);
  const bool mixed = context.source.mixes_outputs(module) || context.output.mixes_outputs(twin);
  context.add("unchanged", {module.bias->info.name}, module.role,
              mixed ? largest_change_of_all(a, b) : largest_change(a, b), (mixed ? kBoundFactor : 2) * context.u(),
              kLeftAlone);
}

void check_module(Context& context, const Module& module) {
  if (module.bias && keeps_bias(context, module)) check_bias(context, module);
  const bool stays =
      module.role == Role::qk_norm || module.role == Role::inner_norm ||
      (module.role == Role::mtp && module.kind == ModuleKind::norm && !scales_stream(context.source.model(), module));
  if (module.weight && stays)
    context.add("unchanged", {weight_name(module)}, module.role,
                largest_change(values(context.source.checkpoint(), *module.weight),
                               values(context.output.checkpoint(), *context.twin(module).weight)),
                2 * context.u(), kLeftAlone);
}

}  // namespace

void check_unchanged(Context& context) {
  for (const Module& module : context.source.model().modules())
    if (!context.mtp.left_out(module) && context.share.has(module)) check_module(context, module);
  const std::vector<double> errors = context.mtp.output_norm_errors();
  for (size_t i = 0; i < errors.size(); ++i)
    context.add("norm", {weight_name(*context.source.model().mtp_heads()[i].output_norm)}, Role::mtp, errors[i],
                4 * context.u(),
                "the head that the final norm is folded into reads what it scales: it must scale as much as the final "
                "norm");
}

}  // namespace spinor::verify
