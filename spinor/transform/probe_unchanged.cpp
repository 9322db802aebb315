#include "spinor/transform/probe_unchanged.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace spinor {
namespace {

bool scales_stream(const Model& model, const Module& norm) {
  const std::vector<NormReads>& all = model.stream().norm_reads;
  return std::ranges::find(all, &norm, &NormReads::norm) != all.end();
}

// A reader that no bias of a norm goes into, and that makes no values.
bool keeps_bias(const ProbeContext& probe, const Module& module) {
  if (probe.values.contains(&module) || value_rows(probe, module)) return false;
  for (const Stream* stream : probe.source.model().streams())
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

void probe_bias(ProbeContext& probe, const Module& module) {
  const Module& twin = probe.twin(module);
  const std::vector<double> a = probe.source.bias(module), b = probe.output.bias(twin);
  const bool mixed = probe.source.mixes_outputs(module) || probe.output.mixes_outputs(twin);
  probe.add("unchanged", {module.bias->info.name}, module.role,
            mixed ? largest_change_of_all(a, b) : largest_change(a, b), (mixed ? kBoundFactor : 2) * probe.u(),
            kLeftAlone);
}

void probe_module(ProbeContext& probe, const Module& module) {
  if (module.bias && keeps_bias(probe, module)) probe_bias(probe, module);
  const bool stays =
      module.role == Role::qk_norm || module.role == Role::inner_norm ||
      (module.role == Role::mtp && module.kind == ModuleKind::norm && !scales_stream(probe.source.model(), module));
  if (module.weight && stays)
    probe.add("unchanged", {weight_name(module)}, module.role,
              largest_change(values(probe.source.checkpoint(), *module.weight),
                             values(probe.output.checkpoint(), *probe.twin(module).weight)),
              2 * probe.u(), kLeftAlone);
}

}  // namespace

void probe_unchanged(ProbeContext& probe) {
  for (const Module& module : probe.source.model().modules())
    if (!probe.mtp.left_out(module)) probe_module(probe, module);
  const std::vector<double> errors = probe.mtp.output_norm_errors();
  for (size_t i = 0; i < errors.size(); ++i)
    probe.add("norm", {weight_name(*probe.source.model().mtp_heads()[i].output_norm)}, Role::mtp, errors[i],
              4 * probe.u(),
              "the head that the final norm is folded into reads what it scales: it must scale as much as the final "
              "norm");
}

}  // namespace spinor
