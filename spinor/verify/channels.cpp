#include "spinor/verify/channels.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "spinor/base/error.h"
#include "spinor/base/list.h"
#include "spinor/transform/hidden_channels.h"
#include "spinor/transform/scales.h"
#include "spinor/verify/channel_order.h"
#include "spinor/verify/part_outputs.h"
#include "spinor/verify/readers.h"
#include "spinor/verify/values.h"

namespace spinor::verify {
namespace {

using Order = std::vector<int64_t>;

Order identity(int64_t n) {
  Order order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  return order;
}

// The largest difference of a row from the one that it was.
double moved_error(Context& context, const LinearPart& rows, const Order& order) {
  BothOutputs both = outputs_of(context, rows);
  both.source.reorder(order);
  double worst = 0;
  for (size_t i = 0; i < order.size(); ++i) worst = std::max(worst, largest_difference(both, i, context.u()));
  return worst;
}

// What the channels write, those that weigh 0 left out: weights in the order of the source.
double written_error(Context& context, const HiddenChannels& channels, const BothOutputs& up,
                     const std::vector<double>& weights, const Order& order) {
  std::vector<double> moved(weights.size());
  for (size_t i = 0; i < moved.size(); ++i) moved[i] = weights[static_cast<size_t>(order[i])];
  const Module& out = *channels.reader.linear;
  return stream_error(context, out, context.source.written(out, up.source.weighed(weights)),
                      context.output.written(context.twin(out), up.output.weighed(moved)));
}

// In units of the bound. All channels are compared, and once more those alone that changed, so that the others do not
// hide a few; infinite if none did.
double channels_error(Context& context, const HiddenChannels& channels, const Order& order, bool gates) {
  const double u = context.u();
  const BothOutputs up = outputs_of(context, channels.up);
  BothOutputs moved = up;
  moved.source.reorder(order);
  double worst = multiple_error(moved, u) / kBoundFactor;
  if (gates && channels.gate) worst = std::max(worst, moved_error(context, *channels.gate, order) / kBoundFactor);
  std::vector<double> weights(order.size());
  for (double& weight : weights) weight = 2 * context.random.uniform_double() - 1;
  worst = std::max(worst, written_error(context, channels, up, weights, order) / (4 * kBoundFactor));
  bool any = false;
  for (size_t i = 0; i < order.size(); ++i) {
    const bool stays = order[i] == static_cast<int64_t>(i) && largest_difference(moved, i, u) <= kBoundFactor;
    if (stays) weights[i] = 0;
    any |= !stays;
  }
  if (!any) return INFINITY;
  return std::max(worst, written_error(context, channels, up, weights, order) / (4 * kBoundFactor));
}

// Tensors that change, rows first.
std::vector<std::string> tensors_of(const HiddenChannels& channels, bool gates) {
  std::vector<std::string> tensors;
  for (const LinearPart& rows : channels.writers()) {
    if (!gates && rows.linear != channels.up.linear) continue;
    tensors.push_back(weight_name(*rows.linear));
    if (rows.linear->bias) tensors.push_back(rows.linear->bias->info.name);
  }
  tensors.push_back(weight_name(*channels.reader.linear));
  return tensors;
}

bool has_scale(const std::vector<LegalScale>& scales, const HiddenChannels& channels) {
  return std::ranges::any_of(scales, [&](const LegalScale& scale) {
    return scale.kind == ScaleKind::m && scale.readers.front().linear == channels.reader.linear;
  });
}

void check(Context& context, const HiddenChannels& channels, bool scalable) {
  if (!context.failed(tensors_of(channels, true))) return;
  const Role role = channels.up.linear->role;
  const bool fused = channels.gate && channels.gate->linear == channels.up.linear;
  if (scalable && context.excuse("scale m", tensors_of(channels, false), role,
                                 channels_error(context, channels, identity(channels.up.size), fused)))
    return;
  if (!why_ordered(channels).empty()) return;
  const Order order = find_order(context, channels);
  if (!order.empty())
    context.excuse("permutation", tensors_of(channels, true), role, channels_error(context, channels, order, true));
}

}  // namespace

void check_channels(Context& context) {
  if (context.report.passed()) return;
  const Model& model = context.source.model();
  std::vector<HiddenChannels> all;
  try {
    all = hidden_channels(model);
  } catch (const Error&) {
    return;  // nothing is known of its MLPs: what was found says more
  }
  const std::vector<LegalScale> scales = legal_scales(model);
  for (const HiddenChannels& channels : all) check(context, channels, has_scale(scales, channels));
}

}  // namespace spinor::verify
