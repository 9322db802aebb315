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

void compare(ProbeContext& probe, const Module& module, const std::string& tensor, const std::vector<double>& a,
             const std::vector<double>& b) {
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i)
    worst = std::max(worst, std::abs(a[i] - b[i]) / std::max({std::abs(a[i]), std::abs(b[i]), 1e-30}));
  probe.add("unchanged", {tensor}, module.role, worst, 2 * probe.u(), "a rotation must leave it alone");
}

void probe_module(ProbeContext& probe, const Module& module) {
  if (module.bias && keeps_bias(probe, module))
    compare(probe, module, module.bias->info.name, probe.source.bias(module), probe.output.bias(probe.twin(module)));
  const bool stays =
      module.role == Role::qk_norm || module.role == Role::inner_norm ||
      (module.role == Role::mtp && module.kind == ModuleKind::norm && !scales_stream(probe.source.model(), module));
  if (module.weight && stays)
    compare(probe, module, weight_name(module), values(probe.source.checkpoint(), *module.weight),
            values(probe.output.checkpoint(), *probe.twin(module).weight));
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
