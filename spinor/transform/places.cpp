#include "spinor/transform/places.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "spinor/base/error.h"
#include "spinor/base/list.h"
#include "spinor/model/match.h"
#include "spinor/model/module_name.h"
#include "spinor/transform/legality.h"
#include "spinor/transform/mtp.h"

namespace spinor {
namespace {

std::vector<std::string> joined(std::vector<std::string> first, const std::vector<std::string>& second) {
  append(first, second);
  return first;
}

const Module* find_embedding(const Model& model, const std::string& target) {
  const auto found = match_modules(model, {&target, 1});
  if (found.size() == 1 && found[0]->kind == ModuleKind::embedding) return found[0];
  throw Error(target, "must match one embedding", "correct `embedding` of the mapping");
}

// In the order of the modules, each once.
std::vector<const Module*> find_linears(const Model& model, const std::vector<std::string>& targets) {
  std::set<const Module*> linears;
  for (const std::string& target : targets) {
    const auto found = match_modules(model, {&target, 1});
    if (found.empty()) throw Error(target, "no module of the model matches this target of the mapping");
    for (const Module* module : found)
      if (module->kind != ModuleKind::linear)
        throw Error(module->name, fmt::format("matches {}, but is not a linear", target));
    linears.insert(found.begin(), found.end());
  }
  return {linears.begin(), linears.end()};
}

// Rows and columns that face the residual stream are as many as the embedding's columns.
void check_stream_size(const Stream& stream) {
  const int64_t hidden = stream.size();
  for (const Module* reader : stream.readers())
    if (reader->shape.in != hidden)
      throw Error(weight_name(*reader),
                  fmt::format("cannot read a stream of {}: it has {} columns", hidden, reader->shape.in));
  for (const Module* writer : stream.writers)
    if (writer != stream.writers.front() && writer->shape.out != hidden)
      throw Error(weight_name(*writer),
                  fmt::format("cannot write a stream of {}: it has {} rows", hidden, writer->shape.out));
}

}  // namespace

Places places_of(const Model& model, const SpinQuantMapping& m) {
  Places places;
  places.normed_values = norms_values(model);
  Stream& stream = places.streams.emplace_back();
  stream.writers = {find_embedding(model, m.embedding)};
  append(stream.writers, find_linears(model, joined({m.attn_o}, m.mlp_out)));
  stream.norm_reads = {{nullptr, find_linears(model, joined({m.attn_q, m.attn_k, m.attn_v, m.lm_head}, m.mlp_in))}};
  check_stream_size(stream);
  // Of a known architecture we know the heads, whatever the mapping wants its blocks to be.
  const int64_t head_dim = !model.architecture() && m.attn_head_dim ? *m.attn_head_dim : model.head_dim();
  const std::vector<std::string> pair = {m.attn_v, m.attn_o};
  for (const auto& set : match_module_sets(model, pair)) {
    if (set[0].size() != 1 || set[1].size() != 1)
      throw Error(set[1][0]->name, "attn_v and attn_o must match one module each in a layer");
    places.values.push_back({set[0][0], set[1][0], head_dim});
  }
  return places;
}

Places places_of(const Model& model) {
  Places places;
  for (const Stream* stream : model.streams()) places.streams.push_back(*stream);
  for (Stream& stream : places.streams)
    for (const NormReads& reads : stream.norm_reads)
      if (!reads.norm->weight) append(stream.raw_readers, reads.linears);
  if (mtp_folding(model).fit == MtpFit::kept) {  // constant scales stay, and commute with a rotation
    std::vector<const Module*>& raw = places.streams.front().raw_readers;
    append(raw, model.stream().norm_reads.back().linears);
    for (const MtpHead& head : model.mtp_heads())
      if (head.head) raw.push_back(head.head);
  }
  places.values = model.value_outputs();
  const std::vector<Legality> verdicts = legality(model);
  places.streams.front().no_rotation = verdicts[0].reason;
  places.no_r2 = verdicts[1].reason;
  places.normed_values = norms_values(model);
  return places;
}

bool norms_values(const Model& model) {
  const auto norms = [](const AttentionRow* row) { return !row->value_norm.empty(); };
  return model.architecture() && std::ranges::any_of(model.architecture()->attentions(), norms);
}

bool is_attention(const Module& module) {
  return std::ranges::any_of(module.classes, [](const std::string& name) { return name.ends_with("Attention"); });
}

namespace {

bool is_rotatable(const Module& module) {
  using enum ModuleKind;
  return module.kind == linear || module.kind == embedding || module.kind == part || is_attention(module);
}

// The last `count` components of a name as a regex, numbers as any number; all of them: the whole name.
std::string target(std::string_view name, size_t count) {
  std::string pattern;
  for (size_t i = 0; i < count; ++i) {
    const size_t dot = name.rfind('.');
    const std::string_view component = name.substr(dot + 1);
    pattern = (is_number(component) ? "\\d+" : std::string(component)) + (pattern.empty() ? "" : "\\." + pattern);
    if (dot == std::string_view::npos) return "re:" + pattern + "$";
    name = name.substr(0, dot);
  }
  return fmt::format("re:.*{}{}$", count > 1 ? "\\." : "", pattern);
}

}  // namespace

std::vector<std::string> targets_of(const Model& model, const std::vector<const Module*>& modules) {
  const std::set<const Module*> wanted(modules.begin(), modules.end());
  const bool no_mtp = std::ranges::none_of(modules, [](const Module* m) { return m->role == Role::mtp; });
  std::set<const Module*> covered;
  std::vector<std::string> targets;
  for (const Module* module : modules) {
    const auto harmless = [&](const Module* m) {
      return wanted.contains(m) || (!is_rotatable(*m) && !is_rotatable(*module)) || (no_mtp && m->role == Role::mtp);
    };
    for (size_t count = 1; !covered.contains(module); ++count) {
      const std::string pattern = target(module->name_in_memory(), count);
      const std::vector<const Module*> found = match_modules(model, {&pattern, 1});
      const bool inside = std::ranges::all_of(found, harmless);
      const bool whole = !pattern.starts_with("re:.*");
      if (!inside && !whole) continue;
      targets.push_back(inside ? pattern : module->name_in_memory());
      covered.insert(module);
      if (inside) covered.insert(found.begin(), found.end());
    }
  }
  return targets;
}

std::vector<std::string> mtp_targets(const Model& model) {
  std::vector<std::string> targets;
  for (const MtpHead& head : model.mtp_heads()) {
    std::string pattern = "re:";
    for (const char c : parent_of(head.writers.front()->name)) pattern += c == '.' ? "\\." : std::string(1, c);
    targets.push_back(pattern + "\\..*");
  }
  return targets;
}

}  // namespace spinor
