#include "spinor/transform/scales.h"

#include <fmt/format.h>

#include <algorithm>

#include "spinor/base/error.h"
#include "spinor/base/list.h"
#include "spinor/model/forward_config.h"
#include "spinor/model/forward_modules.h"
#include "spinor/model/linear_experts.h"
#include "spinor/model/module_name.h"
#include "spinor/transform/hidden_channels.h"
#include "spinor/transform/legality.h"
#include "spinor/transform/places.h"

namespace spinor {
namespace {

constexpr EnumName<ScaleKind> kScaleKinds[] = {{ScaleKind::m, "m"}, {ScaleKind::k, "k"}, {ScaleKind::v, "v"}};

std::string why_no_m(const ForwardConfig& forward, const HiddenChannels& channels) {
  if (forward.swiglu_limit) return "its MLP clamps what the gate multiplies, and adds one to it";
  if (channels.kind == Gate::none && forward.activation != "relu")
    return fmt::format("its MLP has no gate, and {} does not commute with factors", forward.activation);
  return channels.norm ? fmt::format("{} stands before the MLP's output", channels.norm->name) : "";
}

// An Error says why it has none.
LegalScale mlp_scale_of(const Model& model, const ForwardConfig& forward, const HiddenChannels& channels) {
  const std::string reason = why_no_m(forward, channels);
  if (!reason.empty()) throw Error(channels.name, reason);
  LegalScale scale{.kind = ScaleKind::m, .name = channels.scale_name()};
  scale.writer = channels.up;
  scale.readers = {channels.reader};
  scale.stack = channels.stack;
  if (channels.experts && can_be_split(model, *channels.up.linear))
    for (int64_t e = 0; e < scale.stack; ++e)
      scale.experts.push_back(split_names(model, *channels.up.linear, e).back());
  return scale;
}

std::vector<LegalScale> mlp_scales(const Model& model) {
  const ForwardConfig forward = read_forward_config(model);
  std::vector<LegalScale> scales;
  for (const HiddenChannels& channels : hidden_channels(model))
    scales.push_back(mlp_scale_of(model, forward, channels));
  return scales;
}

void require_plain_keys(const Model& model, const ForwardConfig& forward, const std::string& prefix) {
  const AttentionRow& row = model.architecture()->attention;
  const ForwardRow& names = *model.architecture()->forward;
  if (forward.latent) throw Error(row.key, "keys are made of latent vectors, which its heads share");
  if (forward.clip) throw Error(row.key, "clip_qkv clamps queries and keys, entry by entry");
  if (!row.shared.empty()) throw Error(row.key, "layers read the keys of others");
  for (const std::string* norm : {&row.query_norm, &row.key_norm, &names.query_norms, &names.key_norms})
    if (!norm->empty() && model.find(prefix + numbered(*norm, 0)))
      throw Error(row.key, "a norm of queries or keys stands behind them, which takes a factor away");
}

// Of a layer that has keys.
LegalScale key_scale_of(const Model& model, const Module& query, const Module& key, const Module& value,
                        const RopeConfig* rope) {
  LegalScale scale{.kind = ScaleKind::k, .name = key.name};
  std::optional<Slice> query_rows, key_rows;
  if (value.part) {
    const ProjectionRows rows = projection_rows(*value.part);
    query_rows = rows.query;
    key_rows = rows.key;
    scale.name += ".k_proj";
  }
  scale.writer = rows_in(key, key_rows);
  scale.readers = {rows_in(query, query_rows)};
  scale.head_dim = model.head_dim();
  scale.turning = rope ? rope->dims : 0;
  scale.interleaved = rope && rope->interleaved;
  const int64_t heads = model.num_heads() * scale.head_dim, rows = scale.writer.size;
  if (scale.readers[0].size != heads || rows % scale.head_dim != 0 || heads % rows != 0)
    throw Error(query.name, fmt::format("its rows are not {} heads of {} for the {} rows of the keys",
                                        model.num_heads(), scale.head_dim, rows));
  return scale;
}

std::vector<LegalScale> key_scales(const Model& model) {
  const ForwardConfig forward = read_forward_config(model);
  const AttentionRow& row = model.architecture()->attention;
  std::vector<LegalScale> scales;
  for (int64_t layer = 0; layer < model.num_layers(); ++layer) {
    const std::string prefix = model.layer_prefix(layer);
    const Module *query = model.find(prefix + row.query), *key = model.find(prefix + row.key),
                 *value = model.find(prefix + row.value);
    if (!key || !value) continue;
    require_plain_keys(model, forward, prefix);
    if (!query) continue;
    scales.push_back(key_scale_of(model, *query, *key, *value, forward.rope_of(layer)));
  }
  if (scales.empty()) throw Error(row.key, "no linear makes keys");
  return scales;
}

// Exact where R2 is, and values are not normed.
std::vector<LegalScale> value_scales(const Model& model) {
  const std::string reason = legality(model)[1].reason;
  if (!reason.empty()) throw Error("R2", reason);
  if (norms_values(model)) throw Error("values", "a norm of the values stands behind them, which takes a factor away");
  for (const AttentionRow* row : model.architecture()->attentions())
    if (!row->more_values.empty()) throw Error(row->value, "is one of several linears that make values for one output");
  std::vector<LegalScale> scales;
  for (const ValueOutput& pair : model.value_outputs()) {
    if (pair.output->role == Role::mtp) continue;
    const Module& whole = pair.value->part ? *model.owner(weight_name(*pair.value)) : *pair.value;
    auto scale = std::ranges::find(scales, pair.value->name, &LegalScale::name);
    if (scale == scales.end()) {
      LegalScale made{.kind = ScaleKind::v, .name = pair.value->name};
      made.writer = rows_in(whole, pair.value->part);
      made.head_dim = pair.head_dim;
      scale = scales.insert(scales.end(), std::move(made));
    }
    scale->readers.push_back(columns_in(*pair.output));
  }
  return scales;
}

ScaleLegality legality_of(ScaleKind kind, std::vector<LegalScale> (*find)(const Model&), const Model& model) {
  ScaleLegality result{.kind = kind, .scales = {}, .reason = {}};
  try {
    if (!model.architecture()) throw Error(std::string(model.architecture_name()), "its architecture is unknown");
    result.scales = find(model);
  } catch (const Error& error) {
    result.reason = error.problem() + (error.hint().empty() ? "" : ": " + error.hint());
  }
  return result;
}

}  // namespace

std::span<const EnumName<ScaleKind>> enum_names(ScaleKind) {
  return kScaleKinds;
}

std::vector<std::string> LegalScale::names() const {
  return experts.empty() ? std::vector{name} : experts;
}

int64_t LegalScale::partner(int64_t entry) const {
  if (head_dim == 0) return entry;
  const int64_t head = entry / head_dim * head_dim, at = entry - head, half = turning / 2;
  if (at >= turning) return entry;
  if (interleaved) return head + (at ^ 1);
  return head + (at < half ? at + half : at - half);
}

int64_t LegalScale::entry_read(const LinearPart& reader, int64_t index) const {
  if (head_dim == 0) return index;
  const int64_t repeats = reader.size / writer.size, head = index / head_dim / repeats;
  return head * head_dim + index % head_dim;
}

std::vector<ScaleLegality> scale_legality(const Model& model) {
  return {legality_of(ScaleKind::m, mlp_scales, model), legality_of(ScaleKind::k, key_scales, model),
          legality_of(ScaleKind::v, value_scales, model)};
}

std::vector<LegalScale> legal_scales(const Model& model) {
  std::vector<LegalScale> all;
  for (ScaleLegality& one : scale_legality(model)) std::ranges::move(one.scales, std::back_inserter(all));
  return all;
}

}  // namespace spinor
