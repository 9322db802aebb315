#include "spinor/family/forward_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string_view>
#include <vector>

#include "spinor/base/error.h"

namespace spinor {
namespace {

constexpr const char* kHowNotRun = "name it where it runs, or leave out `forward`: then the model is rotated, not run";
constexpr std::string_view kPieces[] = {"query", "key", "value", "gate", "strength", "decay"};

// Names of one kind: those that the row has, and those of them that run.
struct NameUse {
  template <typename Row>
  explicit NameUse(const std::vector<Row>& rows) {
    for (const Row& row : rows) known.insert(row.name);
  }
  std::set<std::string> known, run = {};
};

class ForwardNames {
 public:
  ForwardNames(const Architecture& row, const std::string& subject)
      : row_(row),
        forward_(*row.forward),
        subject_(subject),
        linears_(row.linears),
        outer_linears_(row.outer_linears),
        norms_(row.norms),
        parameters_(row.parameters) {}

  void run() {
    if (!row_.other_attentions.empty()) fail("other_attentions: spinor runs one kind of attention", kHowNotRun);
    if (forward_.latent)
      latent(*forward_.latent);
    else
      attention();
    for (const std::vector<std::string>* names : {&row_.mlp_in, &row_.mlp_out}) runs("mlp", linears_, *names);
    if (forward_.delta) delta(*forward_.delta);
    experts();
    norms();
    optional("forward.sinks", parameters_, forward_.sinks);
    optional("forward.query_norms", parameters_, forward_.query_norms);
    optional("forward.key_norms", parameters_, forward_.key_norms);
    ends();
    for (const OptionalKey* key : {&forward_.swiglu_limit, &forward_.sliding_window, &forward_.attention_cap,
                                   &forward_.logits_cap, &forward_.clip})
      if (key->absent && key->key.empty()) fail("a value of `forward` has `absent`, but no `key` of config.json");
    for (const NameUse* use : {&linears_, &outer_linears_, &norms_, &parameters_}) nothing_is_left_out(*use);
  }

 private:
  [[noreturn]] void fail(const std::string& problem, const std::string& hint = {}) const {
    throw Error(subject_, problem, hint);
  }

  void runs(const char* key, NameUse& use, const std::vector<std::string>& names) const {
    for (const std::string& name : names) {
      if (!use.known.contains(name)) fail(fmt::format("{} names {}, which the row does not have", key, name));
      use.run.insert(name);
    }
  }

  void optional(const char* key, NameUse& use, const std::string& name) const {
    if (!name.empty()) runs(key, use, {name});
  }

  // Three linears, or one with all rows of the three.
  void attention() {
    const AttentionRow& a = row_.attention;
    runs("attention", linears_, {a.query, a.key, a.output});
    const auto part =
        std::ranges::find(row_.parts, a.value, [](const PartRow& one) { return one.linear + "." + one.name; });
    const bool fused = part != row_.parts.end();
    runs("attention", linears_, {fused ? part->linear : a.value});
    const bool one = a.query == a.key && fused && a.query == part->linear;
    const bool three = a.query != a.key && a.query != a.value && a.key != a.value && !fused;
    if (!one && !three)
      fail("attention: spinor runs query, key and value as three linears, or as one with the value as a part",
           kHowNotRun);
    if (!a.value_norm.empty()) fail("attention.value_norm: spinor does not run one", kHowNotRun);
    if (!a.shared.empty()) fail("attention.shared: spinor does not run layers that share values", kHowNotRun);
    for (const std::string& norm : {a.query_norm, a.key_norm}) optional("attention", norms_, norm);
  }

  void latent(const LatentRow& row) {
    runs("attention", linears_, {row_.attention.output});
    runs("forward.latent", linears_, {row.latent, row.expand});
    runs("forward.latent", norms_, {row.latent_norm});
    if (linears_.known.contains(row.query_in)) {
      runs("forward.latent", linears_, {row.query_in, row.query_out});
      runs("forward.latent", norms_, {row.query_norm});
    }
    if (linears_.known.contains(row_.attention.query)) runs("attention", linears_, {row_.attention.query});
  }

  void delta(const DeltaRow& row) {
    const auto name = [](const PartRow& piece) { return std::string_view(piece.name); };
    if (!std::ranges::equal(row.pieces, kPieces, {}, name))
      fail("forward.delta.pieces must be query, key, value, gate, strength and decay, in this order");
    for (const PartRow& piece : row.pieces) runs("forward.delta.pieces", linears_, {piece.linear});
    runs("forward.delta", linears_, {row.output});
    runs("forward.delta", norms_, {row.norm});
    runs("forward.delta", parameters_, {row.filter, row.decay_bias, row.decay_rate});
  }

  void experts() {
    if (!row_.experts.empty() && !forward_.router) fail("has experts, and `forward` no router to choose them");
    const auto has_count = [](const LinearRow& linear) { return !linear.count.empty(); };
    if (std::ranges::any_of(row_.linears, has_count))
      fail("linears.count: spinor runs one number of experts", kHowNotRun);
    if (!forward_.router) return;
    const RouterRow& router = *forward_.router;
    for (const std::string& name : {router.name, router.shared_gate}) {
      optional("forward.router", linears_, name);
      const auto linear = std::ranges::find(row_.linears, name, &LinearRow::name);
      if (!name.empty() && !linear->router) fail("forward.router names " + name + ", which has no `router: true`");
    }
    optional("forward.router.correction", parameters_, router.correction);
  }

  // What the linears read through is run with them.
  void norms() {
    for (const NormRow& norm : row_.norms)
      if (!norm.reads.empty()) norms_.run.insert(norm.name);
    for (const auto& [key, names] : {std::pair("scaled_outputs", &row_.scaled_outputs),
                                     std::pair("forward.norms_of_sums", &forward_.norms_of_sums)}) {
      if (!names->empty() && names->size() != 2)
        fail(fmt::format("{} must be two norms to be run: of the attention and of the MLP", key), kHowNotRun);
      runs(key, norms_, *names);
    }
  }

  // Tokens and positions; projections of the stream; the final norm.
  void ends() {
    optional("forward.project_in", outer_linears_, forward_.project_in);
    optional("forward.project_out", outer_linears_, forward_.project_out);
    if (row_.embeddings.empty() || row_.embeddings.size() > 2 || !row_.embeddings.back().when.empty())
      fail("embeddings: spinor runs one of the tokens and one of positions, both always there", kHowNotRun);
    if (!row_.head_rows.empty() || !row_.head_columns.empty())
      fail("head_rows: spinor runs a head of the embedding's size and no other", kHowNotRun);
    for (const NormRow& norm : row_.outer_norms)
      if (norm.reads.empty()) fail("the forward pass would leave out " + norm.name, kHowNotRun);
  }

  void nothing_is_left_out(const NameUse& use) const {
    for (const std::string& name : use.known)
      if (!use.run.contains(name)) fail("the forward pass would leave out " + name, kHowNotRun);
  }

  const Architecture& row_;
  const ForwardRow& forward_;
  const std::string& subject_;
  NameUse linears_, outer_linears_, norms_, parameters_;
};

}  // namespace

void check_forward(const Architecture& row, const std::string& subject) {
  if (row.forward && row.forward->unknown.empty()) ForwardNames(row, subject).run();
}

}  // namespace spinor
