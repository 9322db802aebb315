// Facts about the forward pass of a family that names and sizes do not say: the part of a row (architecture.h) that
// only running a model needs. Formulas are over the keys of config.json; in a layer L is its number.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "spinor/base/fields.h"
#include "spinor/family/module_rows.h"

namespace spinor {

// A value of config.json with which the family computes something that spinor does not.
struct UnsupportedRow {
  std::string when, reason;

  bool operator==(const UnsupportedRow&) const = default;
  template <class Visitor>
  void fields(Visitor& v) {
    v("when", when, required);
    v("reason", reason, required);
  }
};

// A positive number that may be null, and then does nothing. A formula cannot tell null from a key that is not there.
struct OptionalKey {
  std::string key = {};               // empty: there is none
  std::optional<double> absent = {};  // its value where config.json has no such key

  bool operator==(const OptionalKey&) const = default;
  template <class Visitor>
  void fields(Visitor& v) {
    v("key", key);
    v("absent", absent);
  }
};

struct RopeRow {
  std::string when = {};                      // which layers have it; empty: all
  std::string theta = "rope_theta ?? 10000";  // where rope_parameters does not say
  std::string local_theta = {};               // layers with a window have parameters of their own; empty: the same
  std::string size = "head_dim";              // of what turns: the first so many of a head
  std::string fraction = {};                  // of them, where rope_parameters does not say; empty: all, always
  std::string interleaved = "false";          // pairs are neighbours; else half of them apart
  NamePairs types = {};                       // rope types that are called by another name

  bool operator==(const RopeRow&) const = default;
  template <class Visitor>
  void fields(Visitor& v) {
    v("when", when);
    v("theta", theta);
    v("local_theta", local_theta);
    v("size", size);
    v("fraction", fraction);
    v("interleaved", interleaved);
    v("types", types);
  }
};

// Keys and values are kept as one latent vector and the key's part that turns, both shared by all heads.
struct LatentRow {
  std::string fixed = "qk_nope_head_dim", turning = "qk_rope_head_dim", value = "v_head_dim";  // sizes in a head
  double norm_epsilon = 1e-6;
  std::string query_in = "self_attn.q_a_proj", query_norm = "self_attn.q_a_layernorm",  // where the layer has them
      query_out = "self_attn.q_b_proj", latent = "self_attn.kv_a_proj_with_mqa",
              latent_norm = "self_attn.kv_a_layernorm", expand = "self_attn.kv_b_proj";

  bool operator==(const LatentRow&) const = default;
  template <class Visitor>
  void fields(Visitor& v) {
    v("fixed", fixed);
    v("turning", turning);
    v("value", value);
    v("norm_epsilon", norm_epsilon);
    v("query_in", query_in);
    v("query_norm", query_norm);
    v("query_out", query_out);
    v("latent", latent);
    v("latent_norm", latent_norm);
    v("expand", expand);
  }
};

// Linear attention with the gated delta rule, in layers that have its linears.
struct DeltaRow {
  // Rows of linears (PartRow), in this order: query, key, value, gate, strength, decay.
  std::vector<PartRow> pieces;
  std::string key_size = "linear_key_head_dim", value_size = "linear_value_head_dim";
  std::string filter = "linear_attn.conv1d.weight", decay_bias = "linear_attn.dt_bias",
              decay_rate = "linear_attn.A_log", norm = "linear_attn.norm", output = "linear_attn.out_proj";

  bool operator==(const DeltaRow&) const = default;
  template <class Visitor>
  void fields(Visitor& v) {
    v("pieces", pieces, required);
    v("key_size", key_size);
    v("value_size", value_size);
    v("filter", filter);
    v("decay_bias", decay_bias);
    v("decay_rate", decay_rate);
    v("norm", norm);
    v("output", output);
  }
};

enum class Routing {
  softmax,      // of all experts; then the best
  softmax_top,  // of the best
  sigmoid
};
std::span<const EnumName<Routing>> enum_names(Routing);

struct RouterRow {
  std::string name = "mlp.gate";
  Routing routing = Routing::softmax;
  std::string chosen = "num_experts_per_tok";
  std::string normalized = "norm_topk_prob ?? false";  // the weights of the chosen experts add up to one
  std::string scale = "1";
  std::string correction = {};    // a parameter added to the scores for the choice only
  std::string grouped = "false";  // experts outside of the best groups are not chosen
  std::string groups = "n_group ?? 1", chosen_groups = "topk_group ?? 1";
  bool best_two = false;         // a group is as good as its best two experts; else as its best
  std::string shared_gate = {};  // a linear whose sigmoid weighs the other experts

  bool operator==(const RouterRow&) const = default;
  template <class Visitor>
  void fields(Visitor& v) {
    v("name", name);
    v("routing", routing);
    v("chosen", chosen);
    v("normalized", normalized);
    v("scale", scale);
    v("correction", correction);
    v("grouped", grouped);
    v("groups", groups);
    v("chosen_groups", chosen_groups);
    v("best_two", best_two);
    v("shared_gate", shared_gate);
  }
};

struct ForwardRow {
  std::string unknown = {};  // why spinor cannot run the family; empty: it can
  std::vector<UnsupportedRow> unsupported = {};
  std::string norm_epsilon = "rms_norm_eps ?? 0.000001";
  std::string activation = "hidden_act ?? 'silu'";
  NamePairs activations = {};      // that are called by another name
  OptionalKey swiglu_limit = {};   // gate and up are clamped, and up counts from -1
  std::string swiglu_alpha = "1";  // then silu(x) is x / (1 + exp(-alpha x))

  std::string windowed = {};  // layers that see only the last sliding_window tokens; empty: none
  OptionalKey sliding_window = {.key = "sliding_window"};
  std::optional<RopeRow> rope = RopeRow{};
  std::string alibi = "false";  // scores fall with the distance instead
  std::string attention_scale = "1 / sqrt(head_dim)";
  OptionalKey attention_cap = {}, logits_cap = {};  // c tanh(x / c)
  OptionalKey clip = {};                            // queries, keys and values are clamped
  std::string sinks = {};                           // a parameter: a score of each head for no token
  std::string query_norms = {}, key_norms = {};     // parameters: LayerNorms of each head; {E} is the head
  std::optional<LatentRow> latent = {};
  std::optional<DeltaRow> delta = {};

  std::string embedding_multiplier = "1", residual_multiplier = "1", logits_multiplier = "1";
  int64_t first_position = 0;                     // row of the first token's learned position
  std::string project_in = {}, project_out = {};  // outer linears between stream and embedding, where they are
  std::string parallel = "false";                 // attention and MLP read the same stream
  std::vector<std::string> norms_of_sums = {};    // of the stream after attention and after the MLP, and when:
  std::string norms_sums = "false";
  std::optional<RouterRow> router = {};

  bool operator==(const ForwardRow&) const = default;
  template <class Visitor>
  void fields(Visitor& v) {
    v("unknown", unknown);
    v("unsupported", unsupported);
    v("norm_epsilon", norm_epsilon);
    v("activation", activation);
    v("activations", activations);
    v("swiglu_limit", swiglu_limit);
    v("swiglu_alpha", swiglu_alpha);
    v("windowed", windowed);
    v("sliding_window", sliding_window);
    v("rope", rope);
    v("alibi", alibi);
    v("attention_scale", attention_scale);
    v("attention_cap", attention_cap);
    v("logits_cap", logits_cap);
    v("clip", clip);
    v("sinks", sinks);
    v("query_norms", query_norms);
    v("key_norms", key_norms);
    v("latent", latent);
    v("delta", delta);
    v("embedding_multiplier", embedding_multiplier);
    v("residual_multiplier", residual_multiplier);
    v("logits_multiplier", logits_multiplier);
    v("first_position", first_position);
    v("project_in", project_in);
    v("project_out", project_out);
    v("parallel", parallel);
    v("norms_of_sums", norms_of_sums);
    v("norms_sums", norms_sums);
    v("router", router);
  }
};

}  // namespace spinor
