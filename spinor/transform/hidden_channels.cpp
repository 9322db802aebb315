#include "spinor/transform/hidden_channels.h"

#include <fmt/format.h>

#include <algorithm>

#include "spinor/base/error.h"
#include "spinor/base/list.h"
#include "spinor/model/module_name.h"

namespace spinor {
namespace {

// Of a linear that has the gate in it.
std::optional<Slice> gate_rows(Gate gate, int64_t width) {
  if (gate == Gate::first_half) return Slice{0, width, 2 * width};
  if (gate == Gate::alternating) return Slice{0, 1, 2};
  return {};
}

// The rows that the activation, or its product with the gate, reads linearly.
std::optional<Slice> up_rows(Gate gate, int64_t width) {
  if (gate == Gate::first_half) return Slice{width, width, 2 * width};
  if (gate == Gate::alternating) return Slice{1, 1, 2};
  return {};
}

// Of an MLP without a block of its own that is none of the MLP's.
const Module* norm_inside(const Model& model, const std::string& block) {
  const auto is_inside = [&](const Module& module) {
    return !block.empty() && module.kind == ModuleKind::norm && module.role == Role::inner_norm &&
           parent_of(module.name) == block;
  };
  const auto found = std::ranges::find_if(model.modules(), is_inside);
  return found == model.modules().end() ? nullptr : &*found;
}

HiddenChannels channels_of(const Model& model, const MlpNames& names, const std::vector<const Module*>& in,
                           const Module& out) {
  const std::string block(parent_of(names.out).empty() ? "" : parent_of(out.name));
  const Gate gate = gate_of(names, in.back()->shape, out.shape);
  const Module& up = *in.back();
  HiddenChannels channels{.name = out.name, .kind = gate, .up = rows_in(up, up_rows(gate, out.shape.in))};
  if (gate != Gate::none) channels.gate = rows_in(*in.front(), gate_rows(gate, out.shape.in));
  channels.reader = columns_in(out);
  channels.stack = out.shape.count;
  channels.experts = out.classes.front() == "Experts";
  channels.norm = norm_inside(model, block);
  for (const LinearPart& rows : channels.writers())
    if (rows.size != channels.reader.size)
      throw Error(rows.linear->name,
                  fmt::format("has {} rows for the {} columns of {}", rows.size, channels.reader.size, out.name));
  return channels;
}

}  // namespace

std::vector<LinearPart> HiddenChannels::writers() const {
  return gate ? std::vector{*gate, up} : std::vector{up};
}

std::string HiddenChannels::scale_name() const {
  return up.part ? up.linear->name + ".up_proj" : up.linear->name;
}

std::vector<HiddenChannels> hidden_channels(const Model& model) {
  (void)read_forward_config(model);  // an Error where nobody knows how its MLPs compute
  std::vector<HiddenChannels> all;
  for (int64_t layer = 0; layer < model.num_layers(); ++layer)
    for (const MlpNames& names : mlps_of(*model.architecture())) {
      const std::string prefix = model.layer_prefix(layer);
      const bool counts = numbered(names.out, 0) != names.out;
      for (int64_t i = 0; i == 0 || counts; ++i) {
        const Module* out = model.find(prefix + numbered(names.out, i));
        if (!out) break;
        std::vector<const Module*> in;
        for (const std::string& name : names.in) in.push_back(model.find(prefix + numbered(name, i)));
        if (!contains(in, nullptr)) all.push_back(channels_of(model, names, in, *out));
      }
    }
  if (all.empty()) throw Error("MLP", "there is no MLP");
  return all;
}

std::string why_ordered(const HiddenChannels& channels) {
  if (channels.experts || channels.stack > 1) return "its experts are stacked in one tensor";
  if (channels.kind == Gate::alternating) return "rows of the gate alternate with others";
  return channels.norm ? fmt::format("{} stands before the MLP's output", channels.norm->name) : "";
}

}  // namespace spinor
