#include "spinor/family/row_formulas.h"

#include <algorithm>
#include <initializer_list>
#include <utility>

#include "spinor/family/formula.h"

namespace spinor {
namespace {

class FormulaWalk {
 public:
  using See = std::function<void(std::string_view, const std::string&)>;
  explicit FormulaWalk(const See& see) : see_(see) {}

  void row(const Architecture& row) {
    for (const auto& [key, pairs] : {std::pair("defaults", &row.defaults), std::pair("renamed", &row.renamed)})
      for (const auto& [name, formula] : *pairs) all(key, {{name.c_str(), &formula}});
    all("", {{"num_layers", &row.num_layers},
             {"experts", &row.experts},
             {"head_bias", &row.head_bias},
             {"head_rows", &row.head_rows},
             {"head_columns", &row.head_columns}});
    for (const EmbeddingRow& one : row.embeddings)
      all("embeddings", {{"rows", &one.rows}, {"columns", &one.columns}, {"writes", &one.writes}, {"when", &one.when}});
    linears("linears", row.linears);
    linears("outer_linears", row.outer_linears);
    norms("norms", row.norms);
    norms("outer_norms", row.outer_norms);
    for (const ParameterRow& one : row.parameters) {
      for (const std::string& size : one.shape) all("parameters", {{"shape", &size}});
      all("parameters", {{"when", &one.when}, {"count", &one.count}, {"writes", &one.writes}});
    }
    parts("parts", row.parts);
    for (const AttentionRow* one : row.attentions())
      all(one == &row.attention ? "attention" : "other_attentions", {{"head_dim", &one->head_dim},
                                                                     {"shared", &one->shared},
                                                                     {"shared_like", &one->shared_like},
                                                                     {"when", &one->when}});
    for (const RefusalRow& one : row.refusals) all("refusals", {{"when", &one.when}});
    if (row.mtp) all("mtp", {{"count", &row.mtp->count}});
    if (row.forward) forward(*row.forward);
  }

 private:
  using Formulas = std::initializer_list<std::pair<const char*, const std::string*>>;

  void all(std::string_view place, Formulas formulas) {
    for (const auto& [key, formula] : formulas)
      if (!formula->empty()) see_(place.empty() ? key : std::string(place) + "." + key, *formula);
  }

  void linears(const char* place, const std::vector<LinearRow>& rows) {
    for (const LinearRow& one : rows)
      all(place, {{"out", &one.out}, {"in", &one.in}, {"bias", &one.bias}, {"when", &one.when}, {"count", &one.count}});
  }

  void norms(const char* place, const std::vector<NormRow>& rows) {
    for (const NormRow& one : rows)
      all(place, {{"size", &one.size}, {"bias", &one.bias}, {"when", &one.when}, {"weightless", &one.weightless}});
  }

  void parts(const char* place, const std::vector<PartRow>& rows) {
    for (const PartRow& one : rows)
      all(place, {{"begin", &one.begin}, {"size", &one.size}, {"period", &one.period}, {"when", &one.when}});
  }

  void forward(const ForwardRow& row) {
    for (const UnsupportedRow& one : row.unsupported) all("forward.unsupported", {{"when", &one.when}});
    all("forward", {{"norm_epsilon", &row.norm_epsilon},
                    {"activation", &row.activation},
                    {"swiglu_alpha", &row.swiglu_alpha},
                    {"windowed", &row.windowed},
                    {"alibi", &row.alibi},
                    {"attention_scale", &row.attention_scale},
                    {"embedding_multiplier", &row.embedding_multiplier},
                    {"residual_multiplier", &row.residual_multiplier},
                    {"logits_multiplier", &row.logits_multiplier},
                    {"parallel", &row.parallel},
                    {"norms_sums", &row.norms_sums}});
    if (row.rope)
      all("forward.rope", {{"when", &row.rope->when},
                           {"theta", &row.rope->theta},
                           {"local_theta", &row.rope->local_theta},
                           {"size", &row.rope->size},
                           {"fraction", &row.rope->fraction},
                           {"interleaved", &row.rope->interleaved}});
    if (row.latent)
      all("forward.latent",
          {{"fixed", &row.latent->fixed}, {"turning", &row.latent->turning}, {"value", &row.latent->value}});
    if (row.delta) {
      parts("forward.delta.pieces", row.delta->pieces);
      all("forward.delta", {{"key_size", &row.delta->key_size}, {"value_size", &row.delta->value_size}});
    }
    if (row.router)
      all("forward.router", {{"chosen", &row.router->chosen},
                             {"normalized", &row.router->normalized},
                             {"scale", &row.router->scale},
                             {"grouped", &row.router->grouped},
                             {"groups", &row.router->groups},
                             {"chosen_groups", &row.router->chosen_groups}});
  }

  const See& see_;
};

}  // namespace

void each_formula(const Architecture& row, const std::function<void(std::string_view, const std::string&)>& see) {
  FormulaWalk(see).row(row);
}

bool mentions(const Architecture& row, std::string_view name) {
  const bool values =
      std::ranges::any_of(row.attentions(), [](const AttentionRow* one) { return !one->value.empty(); });
  bool found = false;
  each_formula(row, [&](std::string_view key, const std::string& formula) {
    found |= (values || !key.ends_with(".head_dim")) && mentions(formula, name);
  });
  return found;
}

}  // namespace spinor
