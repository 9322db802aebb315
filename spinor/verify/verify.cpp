#include "spinor/verify/verify.h"

#include <fmt/format.h>

#include "spinor/base/error.h"
#include "spinor/verify/channels.h"
#include "spinor/verify/config.h"
#include "spinor/verify/key_scales.h"
#include "spinor/verify/readers.h"
#include "spinor/verify/unchanged.h"
#include "spinor/verify/values.h"
#include "spinor/verify/writers.h"

namespace spinor::verify {
namespace {

void check_same_shape(const Model& source, const Model& output, const MtpView& mtp) {
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

Report verify_weights(const Model& source, const Model& output, const Options& options) {
  const MtpView mtp(source, output);
  check_same_shape(source, output, mtp);
  Context context{.source = {source, options.threads, options.stop},
                  .output = {output, options.threads, options.stop},
                  .mtp = mtp,
                  .share = {source, options.rank},
                  .random = Random(options.seed)};
  context.report.unit_roundoff = unit_roundoff(output.checkpoint());
  check_config(source, output, context.report);
  for (const Side* side : {&context.source, &context.output}) check_attention(*side, context.report);
  for (const ValueOutput& pair : source.value_outputs()) context.values.insert({pair.value, pair.output});
  for (Stream& stream : mtp.streams()) {  // the values are checked with what is left of the language model's
    context.share.cut(stream);
    check_writers(context, stream);
    draw_stream(context, stream);
    check_readers(context, stream);
  }
  for (const ValueOutput& pair : source.value_outputs())
    if (!mtp.left_out(*pair.value) && context.share.has(*pair.output)) check_value_output(context, pair);
  check_unchanged(context);
  check_channels(context);
  check_key_scales(context);
  return std::move(context.report);
}

}  // namespace spinor::verify
