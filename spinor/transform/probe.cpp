#include "spinor/transform/probe.h"

#include <fmt/format.h>

#include "spinor/base/error.h"
#include "spinor/transform/probe_config.h"
#include "spinor/transform/probe_readers.h"
#include "spinor/transform/probe_scales.h"
#include "spinor/transform/probe_unchanged.h"
#include "spinor/transform/probe_values.h"
#include "spinor/transform/probe_writers.h"

namespace spinor {
namespace {

void check_same_shape(const Model& source, const Model& output, const MtpProbe& mtp) {
  if (!source.architecture() || source.architecture() != output.architecture())
    throw Error("verify",
                fmt::format("cannot compare {} with {}", source.architecture_name(), output.architecture_name()));
  for (const Module& module : source.modules()) {
    if (mtp.left_out(module)) continue;
    const Module* other = output.find(module.name);
    if (!other || !other->weight != !module.weight || !other->bias != !module.bias)
      throw Error(module.name, "has other tensors in the output than in the source");
    if (module.weight && other->weight->info.shape != module.weight->info.shape)
      throw Error(weight_name(module), "has another shape in the output than in the source");
  }
}

}  // namespace

ProbeReport probe(const Model& source, const Model& output, const ProbeOptions& options) {
  const MtpProbe mtp(source, output);
  check_same_shape(source, output, mtp);
  ProbeContext probe{.source = {source, options.threads},
                     .output = {output, options.threads},
                     .mtp = mtp,
                     .random = Random(options.seed)};
  probe.report.unit_roundoff = unit_roundoff(output.checkpoint());
  probe_config(source, output, probe.report);
  for (const ProbeSide* side : {&probe.source, &probe.output}) probe_attention(*side, probe.report);
  for (const ValueOutput& pair : source.value_outputs()) probe.values.insert({pair.value, pair.output});
  for (const Stream& stream : mtp.streams()) {  // the values are probed with what is left of the language model's
    probe_writers(probe, stream);
    draw_stream(probe, stream);
    probe_readers(probe, stream);
  }
  for (const ValueOutput& pair : source.value_outputs())
    if (!mtp.left_out(*pair.value)) probe_value_output(probe, pair);
  probe_unchanged(probe);
  probe_scales(probe);
  return std::move(probe.report);
}

}  // namespace spinor
