#include "spinor/transform/cancel.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "spinor/base/error.h"
#include "spinor/model/match.h"
#include "spinor/transform/net_product.h"

namespace spinor {
namespace {

std::string weight_of(const Module& module) {
  return module.name + ".weight";
}
int64_t rows(const Module& module) {
  return module.weight->info.rows();
}
int64_t cols(const Module& module) {
  return module.weight->info.cols();
}

double squared_length(const Row& x) {
  double sum = 0;
  for (const double entry : x) sum += entry * entry;
  return sum;
}

// The modules of a mapping by what they do. A linear in none of them stands alone.
struct Places {
  const Module* embedding = nullptr;
  std::set<const Module*> readers, writers, values;
  std::map<const Module*, const Module*> value_of;  // attn_o -> attn_v
};

std::vector<std::string> joined(std::vector<std::string> first, const std::vector<std::string>& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

const Module* find_embedding(const Model& model, const std::string& target) {
  const auto found = match_modules(model, {&target, 1});
  if (found.size() == 1 && found[0]->kind == ModuleKind::embedding) return found[0];
  throw Error(target, "must match one embedding", "correct `embedding` of the mapping");
}

std::set<const Module*> find_linears(const Model& model, const std::vector<std::string>& targets) {
  std::set<const Module*> linears;
  for (const std::string& target : targets) {
    const auto found = match_modules(model, {&target, 1});
    if (found.empty()) throw Error(target, "no module of the model matches this target of the mapping");
    for (const Module* module : found)
      if (module->kind != ModuleKind::linear)
        throw Error(module->name, fmt::format("matches {}, but is not a linear", target));
    linears.insert(found.begin(), found.end());
  }
  return linears;
}

// Rows and columns that face the residual stream are as many as the embedding's columns.
void check_stream_size(const Places& places) {
  const int64_t hidden = cols(*places.embedding);
  for (const Module* reader : places.readers)
    if (cols(*reader) != hidden)
      throw Error(weight_of(*reader),
                  fmt::format("cannot read a stream of {}: it has {} columns", hidden, cols(*reader)));
  for (const Module* writer : places.writers)
    if (rows(*writer) != hidden)
      throw Error(weight_of(*writer),
                  fmt::format("cannot write a stream of {}: it has {} rows", hidden, rows(*writer)));
}

Places find_places(const Model& model, const SpinQuantMapping& m) {
  Places places;
  places.embedding = find_embedding(model, m.embedding);
  places.writers = find_linears(model, joined({m.attn_o}, m.mlp_out));
  places.readers = find_linears(model, joined({m.attn_q, m.attn_k, m.attn_v, m.lm_head}, m.mlp_in));
  check_stream_size(places);
  const std::vector<std::string> pair = {m.attn_v, m.attn_o};
  for (const auto& set : match_module_sets(model, pair)) {
    if (set[0].size() != 1 || set[1].size() != 1)
      throw Error(set[1][0]->name, "attn_v and attn_o must match one module each in a layer");
    places.values.insert(set[0][0]);
    places.value_of[set[1][0]] = set[0][0];
  }
  return places;
}

class CancelCheck {
 public:
  CancelCheck(const RewritePlan& plan, const SpinQuantMapping& mapping)
      : plan_(plan), net_(plan), places_(find_places(plan.model(), mapping)) {
    // Of a known architecture we know the heads, whatever the mapping wants its blocks to be.
    const bool unknown = plan.model().architecture() == nullptr;
    head_dim_ = unknown && mapping.attn_head_dim ? *mapping.attn_head_dim : plan.model().head_dim();
  }

  explicit CancelCheck(const RewritePlan& plan) : plan_(plan), net_(plan) {}

  void run_pairs() {
    for (const Module& module : plan_.model().modules()) {
      if (module.kind == ModuleKind::linear) check_linear(module);
      if (module.kind == ModuleKind::embedding) check_other_embedding(module);
    }
    for (const OnlineTransform& online : plan_.online()) check_online(online);
  }

  void run(CancelOptions options) {
    check_stream(options);
    for (const Module& module : plan_.model().modules()) {
      if (module.kind == ModuleKind::linear) check_linear(module);
      if (module.kind == ModuleKind::embedding && &module != places_.embedding) check_other_embedding(module);
    }
    for (const auto& [output, value] : places_.value_of) check_values(*output, *value);
    for (const OnlineTransform& online : plan_.online()) check_online(online);
  }

 private:
  const RewritePlan& plan_;
  NetProducts net_;
  Places places_;
  int64_t head_dim_ = 0;
  Product stream_;

  void check_stream(CancelOptions options) {
    const Module& embedding = *places_.embedding;
    if (!net_.rows_of_weight(embedding).empty() || !net_.online(embedding, "input").empty())
      throw Error(weight_of(embedding),
                  "a transform on the side of the vocabulary exchanges tokens, and nothing undoes it",
                  "use weight_output");
    stream_ = then(net_.columns_of_weight(embedding), net_.online(embedding, "output"));
    const Row x = probe(cols(embedding));
    if (options.any_stream_matrix || agree({squared_length(x)}, {squared_length(x * stream_)})) return;
    throw Error(weight_of(embedding),
                "the transform of the residual stream is not orthogonal, and an RMS norm does not commute with it",
                "use hadamard, random-hadamard or random-orthogonal");
  }

  void check_other_embedding(const Module& embedding) const {
    const Product columns = then(net_.columns_of_weight(embedding), net_.online(embedding, "output"));
    if (columns.empty() && net_.rows_of_weight(embedding).empty() && net_.online(embedding, "input").empty()) return;
    if (agree(probe(cols(embedding)), probe(cols(embedding)) * columns) && net_.rows_of_weight(embedding).empty()) return;
    throw Error(weight_of(embedding), "is transformed, and nothing undoes it");
  }

  void check_linear(const Module& linear) const {
    const bool reads = places_.readers.contains(&linear), writes = places_.writers.contains(&linear);
    if (reads) check_reader(linear);
    if (writes) check_writer(linear);
    if (!reads && !places_.value_of.contains(&linear) && !is_identity(net_.incoming(linear), cols(linear)))
      throw Error(weight_of(linear), "its input side is transformed, and nothing undoes it",
                  "pair weight_input with the opposite of it, online at input, in one group");
    if (!writes && !places_.values.contains(&linear) && !is_identity(net_.outgoing(linear), rows(linear)))
      throw Error(weight_of(linear), "its output side is transformed, and nothing undoes it",
                  "pair weight_output with the opposite of it, online at output, in one group");
    if (linear.bias &&
        !agree(probe(rows(linear)) * net_.rows_of_weight(linear), probe(rows(linear)) * net_.bias(linear)))
      throw Error(linear.bias->info.name, "is not transformed as the rows of its weight");
  }

  void check_reader(const Module& linear) const {
    const Row x = probe(cols(linear));
    if (!agree(x, x * then(stream_, net_.incoming(linear))))
      throw Error(weight_of(linear), "does not undo the transform of the residual stream that it reads",
                  fmt::format("transform it at weight_input, inverse, with the groups that transform {}",
                              places_.embedding->name));
    if (!net_.norm_is_folded(linear) && !is_identity(stream_, cols(linear)))
      throw Error(weight_of(linear), "reads the rotated residual stream through a norm that is not folded into it",
                  "name it in a norm mapping, or fold norms before applying the config");
  }

  void check_writer(const Module& linear) const {
    if (agree(probe(rows(linear)) * stream_, probe(rows(linear)) * net_.outgoing(linear))) return;
    throw Error(weight_of(linear), "its output is not transformed as the residual stream that it is added to",
                fmt::format("transform it at weight_output as {}", places_.embedding->name));
  }

  // A query head reads the values of its key-value head, weighted by an attention that differs from head to head: what
  // happens to the values must stay within a head (weights put on heads before are the same weights after), and be
  // undone there.
  void check_values(const Module& output, const Module& value) const {
    if (rows(value) % head_dim_ != 0 || cols(output) % rows(value) != 0)
      throw Error(weight_of(value),
                  fmt::format("{} rows are not heads of {} that {} could read", rows(value), head_dim_, output.name));
    const Product product = net_.outgoing(value);
    const Row x = probe(rows(value));
    if (!agree(weigh_heads(x) * product, weigh_heads(x * product)))
      throw Error(weight_of(value),
                  fmt::format("its transform mixes heads (of {} rows), whose attention differs", head_dim_),
                  "set head_dim of the group to that of the model");
    const int64_t repeats = cols(output) / rows(value);
    if (!agree(repeat_heads(x, repeats), repeat_heads(x * product, repeats) * net_.incoming(output)))
      throw Error(weight_of(output), fmt::format("does not undo the transform of the values of {}", value.name),
                  "transform it at weight_input, inverse, with the groups that transform them");
  }

  Row weigh_heads(Row x) const {
    for (size_t i = 0; i < x.size(); ++i) x[i] *= 1 + static_cast<double>(i / static_cast<size_t>(head_dim_));
    return x;
  }

  Row repeat_heads(const Row& x, int64_t repeats) const {
    Row wide;
    for (auto head = x.begin(); head != x.end(); head += head_dim_)
      for (int64_t i = 0; i < repeats; ++i) wide.insert(wide.end(), head, head + head_dim_);
    return wide;
  }

  // Queries q T and keys k U: their products stay when T U^T = 1. Linears and embeddings are checked with their
  // weights; elsewhere nothing is known to undo an online transform.
  void check_online(const OnlineTransform& transform) const {
    const Module& module = *plan_.model().find(transform.module);
    if (transform.location == "q_attn" || transform.location == "k_cache") {
      const int64_t head_dim = head_dim_ > 0 ? head_dim_ : plan_.model().head_dim();
      if (is_identity(then(net_.online(module, "q_attn"), transposed(net_.online(module, "k_cache"))), head_dim))
        return;
      throw Error(module.name, "q_attn and k_cache do not cancel in the product of a query and a key",
                  "give both the same transform, an orthogonal one");
    }
    if (module.kind != ModuleKind::linear && module.kind != ModuleKind::embedding)
      throw Error(module.name, fmt::format("{}: nothing undoes its {}", transform.group, transform.location),
                  "use linears as targets");
  }
};

}  // namespace

void check_pairs(const RewritePlan& plan) {
  CancelCheck(plan).run_pairs();
}

void check_cancels(const RewritePlan& plan, const SpinQuantMapping& mapping, CancelOptions options) {
  if (mapping.attn_head_dim && *mapping.attn_head_dim < 1)
    throw Error("attn_head_dim", fmt::format("must be 1 or more, not {}", *mapping.attn_head_dim));
  CancelCheck(plan, mapping).run(options);
}

}  // namespace spinor
