#include "spinor/model/mtp.h"

#include <fmt/format.h>

#include <algorithm>

#include "spinor/base/list.h"
#include "spinor/model/modules.h"

namespace spinor {
namespace {

MtpPlace place_of(const Architecture& row, int64_t layer, int64_t index, const std::string& model_root) {
  const MtpRow& mtp = *row.mtp;
  MtpPlace place{mtp.root, mtp.layer, layer};
  if (mtp.layer.empty())
    place.layer = fmt::format("{}{}.{}.", model_root, row.layers, layer);
  else if (const size_t at = mtp.layer.find("{L}"); at != std::string::npos)
    place.layer.replace(at, 3, std::to_string(index));
  if (place.root.empty()) place.root = place.layer;
  return place;
}

class HeadsOf {
 public:
  explicit HeadsOf(const ModuleNames& names) : names_(names), row_(*names.row().mtp) {}

  MtpHead begin(const MtpPlace& place) const {
    const Module& concat = one(place.root + row_.concat);
    MtpHead head{.embedding_norm = &one(place.root + row_.embedding_norm),
                 .hidden_norm = &one(place.root + row_.hidden_norm),
                 .output_norm = &one(place.root + row_.output_norm),
                 .embedding = maybe(place.root, row_.embedding),
                 .head = maybe(place.root, row_.head),
                 .writers = {&concat},
                 .norm_reads = {},
                 .value_outputs = {}};
    const int64_t half = concat.shape.in / 2, first = row_.hidden_first ? half : 0;
    head.norm_reads = {{head.embedding_norm, {&concat}, Slice{first, half, 2 * half}},
                       {head.hidden_norm, {&concat}, Slice{half - first, half, 2 * half}}};
    return head;
  }

  void add_layer(MtpHead& head, const std::string& prefix) const {
    const Architecture& row = names_.row();
    append(head.writers, all_below(prefix, row.writes));
    for (const NormRow& norm : row.norms)
      for (const Module* module : norm.reads.empty() ? none_ : names_.below(prefix, norm.name))
        if (std::vector<const Module*> linears = all_below(prefix, norm.reads); !linears.empty())
          head.norm_reads.push_back({module, std::move(linears), {}});
    for (const AttentionRow* one : row.attentions()) {
      const auto values = all_below(prefix, one->all_values()), outputs = names_.below(prefix, one->output);
      if (values.size() != one->all_values().size() || outputs.size() != 1) continue;
      for (const Module* value : values)
        head.value_outputs.push_back({value, outputs[0], size_of(one->head_dim, names_.config())});
    }
  }

  static void end(MtpHead& head) {
    NormReads output{head.output_norm, {}, {}};
    if (head.head) output.linears.push_back(head.head);
    head.norm_reads.push_back(std::move(output));
  }

 private:
  const Module& one(const std::string& name) const { return *names_.below("", name).front(); }
  const Module* maybe(const std::string& prefix, const std::string& name) const {
    return !name.empty() && names_.has(prefix + name) ? &one(prefix + name) : nullptr;
  }
  std::vector<const Module*> all_below(const std::string& prefix, const std::vector<std::string>& names) const {
    std::vector<const Module*> found;
    for (const std::string& name : names) append(found, names_.below(prefix, name));
    return found;
  }

  const ModuleNames& names_;
  const MtpRow& row_;
  const std::vector<const Module*> none_;
};

}  // namespace

std::vector<MtpPlace> mtp_places(const Architecture& row, const ModelConfig& config, const std::string& model_root,
                                 const std::function<bool(const std::string&)>& has) {
  if (!row.mtp || !is_so("(" + row.mtp->count + ") > 0", config, false)) return {};
  const MtpRow& mtp = *row.mtp;
  std::vector<MtpPlace> places;
  for (int64_t i = 0; i < size_of(mtp.count, config); ++i) {
    MtpPlace place = place_of(row, *config.num_layers + i, i, model_root);
    const auto attends = [&](const MtpPlace& one) {
      return std::ranges::any_of(row.attentions(), [&](const AttentionRow* a) { return has(one.layer + a->output); });
    };
    const auto in_root = [&](const std::string& name) { return has(place.root + name); };
    const bool whole = in_root(mtp.concat) && in_root(mtp.embedding_norm) && in_root(mtp.hidden_norm) &&
                       in_root(mtp.output_norm) && attends(place);
    if (!whole) break;
    places.push_back(std::move(place));
    if (mtp.layer.find("{L}") == std::string::npos && !mtp.layer.empty()) break;
  }
  return places;
}

std::vector<MtpHead> mtp_heads_of(const ModuleNames& names, const std::string& model_root) {
  std::vector<MtpHead> heads;
  std::string root;
  const auto places =
      mtp_places(names.row(), names.config(), model_root, [&](const std::string& module) { return names.has(module); });
  if (places.empty()) return heads;
  const HeadsOf of(names);
  for (const MtpPlace& place : places) {
    if (heads.empty() || place.root != root) heads.push_back(of.begin(place));
    root = place.root;
    of.add_layer(heads.back(), place.layer);
  }
  std::ranges::for_each(heads, HeadsOf::end);
  return heads;
}

}  // namespace spinor
