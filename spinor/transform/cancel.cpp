#include "spinor/transform/cancel.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "spinor/base/error.h"
#include "spinor/transform/cancel_scales.h"
#include "spinor/transform/fold_check.h"
#include "spinor/transform/mtp.h"
#include "spinor/transform/net_product.h"
#include "spinor/transform/places.h"

namespace spinor {
namespace {

int64_t rows(const Module& module) {
  return module.shape.out;
}
int64_t cols(const Module& module) {
  return module.shape.in;
}

double squared_length(const Row& x) {
  double sum = 0;
  for (const double entry : x) sum += entry * entry;
  return sum;
}

bool is_left_out(const RewritePlan& plan, const Module& module) {
  return module.role == Role::mtp && module.weight && !plan.find(weight_name(module));
}

const char* const kDrop = "--mtp drop (mtp: drop in a recipe) leaves them out; R2 alone leaves what they see as it is";

class CancelCheck {
 public:
  CancelCheck(const RewritePlan& plan, Places places)
      : plan_(plan), net_(plan), scales_(plan, net_), places_(std::move(places)) {
    for (const Stream& stream : places_.streams) {
      for (const Module* reader : stream.readers()) read_by_.emplace(reader, &stream);
      for (const Module* writer : stream.writers) written_by_.emplace(writer, &stream);
      unscaled_.insert(stream.raw_readers.begin(), stream.raw_readers.end());
    }
    for (const ValueOutput& pair : places_.values)
      if (!is_left_out(plan, *pair.output)) {
        values_.insert(pair.value);
        outputs_.insert(pair.output);
      }
  }

  void run_pairs() {
    for (const Module& module : plan_.model().modules())
      if (!is_left_out(plan_, module)) check_module(module);
    for (const OnlineTransform& online : plan_.online()) check_online(online);
  }

  void run(CancelOptions options) {
    for (const Stream& stream : places_.streams) products_.push_back(leaving(*stream.writers.front()));
    for (const Stream& stream : places_.streams) check_stream(stream, options);
    check_mtp(options);
    run_pairs();
    for (const ValueOutput& pair : places_.values)
      if (outputs_.contains(pair.output)) check_values(pair);
  }

 private:
  const RewritePlan& plan_;
  NetProducts net_;
  ScaleCheck scales_;
  Places places_;
  std::map<const Module*, const Stream*> read_by_, written_by_;
  std::set<const Module*> unscaled_;  // readers before which no norm scales
  std::set<const Module*> values_, outputs_;
  std::vector<Product> products_;  // what transforms each stream

  // Null: the module does not write, or read, a stream.
  const Stream* written_by(const Module& module) const { return find(written_by_, module); }
  const Stream* read_by(const Module& module) const { return find(read_by_, module); }
  static const Stream* find(const std::map<const Module*, const Stream*>& streams, const Module& module) {
    const auto found = streams.find(&module);
    return found == streams.end() ? nullptr : found->second;
  }
  const Product& product_of(const Stream& stream) const {
    return products_[static_cast<size_t>(&stream - places_.streams.data())];
  }
  Product leaving(const Module& writer) const {
    if (writer.kind != ModuleKind::embedding) return net_.outgoing(writer);
    return then(net_.columns_of_weight(writer), net_.online(writer, TransformLocation::output));
  }

  void check_module(const Module& module) const {
    using enum ModuleKind;
    if (module.kind == linear) check_linear(module);
    if (module.kind == part) check_outputs(module);
    if (module.kind == embedding && written_by(module))
      check_embedding(module, *written_by(module));
    else if (module.kind == embedding)
      check_other_embedding(module);
  }

  void check_stream(const Stream& stream, CancelOptions options) const {
    const Module& first = *stream.writers.front();
    const Product& product = product_of(stream);
    if (!stream.no_rotation.empty() && !is_identity(product, stream.size()))
      throw Error(weight_name(first), "the residual stream cannot be rotated: " + stream.no_rotation);
    const Row x = probe(stream.size()), ones(x.size(), 1.0);
    if (stream.centred && !agree(ones, ones * product))
      throw Error(
          weight_name(first), "the transform of the residual stream does not keep the mean, which LayerNorms subtract",
          "use --transform-type auto by command, transform_type: auto in a recipe, which does for such a model");
    if (options.any_stream_matrix || agree({squared_length(x)}, {squared_length(x * product)})) return;
    throw Error(weight_name(first),
                "the transform of the residual stream is not orthogonal, and an RMS norm does not commute with it",
                "use --transform-type auto by command, transform_type: auto in a recipe");
  }

  bool is_edited(const Module& norm) const { return norm.weight && !plan_.find(weight_name(norm))->edits.empty(); }

  // Multi-token prediction reads what the final norm gives, or is read by the head that this is folded into.
  void check_mtp(CancelOptions options) const {
    const Model& model = plan_.model();
    if (model.mtp().empty() || !plan_.find(model.mtp().front()->info.name)) return;
    const bool folded = is_edited(*model.stream().norm_reads.back().norm);
    const Stream& stream = places_.streams.front();
    if (!folded && is_identity(product_of(stream), stream.size())) return;
    for (const CheckpointTensor* tensor : model.mtp())
      if (!model.owner(tensor->info.name))
        throw Error(tensor->info.name,
                    "belongs to layers for multi-token prediction, which would see another state, and which are none "
                    "that the model's row describes",
                    kDrop);
    check_mtp_heads(mtp_folding(model), folded, options);
  }

  void check_mtp_heads(const MtpFolding& folding, bool folded, CancelOptions options) const {
    const MtpHead& head = plan_.model().mtp_heads().front();
    const std::string& first = weight_name(*head.writers.front());
    if (folding.fit == MtpFit::impossible || (folding.fit == MtpFit::approximate && !options.approximate_mtp))
      throw Error(first,
                  "belongs to layers for multi-token prediction, which would see another state: " + folding.reason,
                  folding.fit == MtpFit::impossible
                      ? kDrop
                      : "--mtp approximate (mtp: approximate) rotates them all the same, which is exact but "
                        "for one factor a token before each norm; " +
                            std::string(kDrop));
    const bool kept = folding.fit == MtpFit::kept;
    if (folded == kept || is_edited(*head.output_norm) == kept)
      throw Error(first, "belongs to layers for multi-token prediction, whose norms are not folded as the model's are",
                  "leave norm_mappings out; " + std::string(kDrop));
  }

  void check_embedding(const Module& embedding, const Stream& stream) const {
    if (!net_.rows_of_weight(embedding).empty() || !net_.online(embedding, TransformLocation::input).empty())
      throw Error(weight_name(embedding),
                  "a transform on the side of the vocabulary exchanges tokens, and nothing undoes it",
                  "use weight_output");
    if (!agree(probe(cols(embedding)) * product_of(stream), probe(cols(embedding)) * leaving(embedding)))
      throw Error(weight_name(embedding), "is not transformed as the residual stream that it is added to",
                  fmt::format("transform it at weight_output as {}", stream.writers.front()->name));
  }

  void check_other_embedding(const Module& embedding) const {
    const Product columns = then(net_.columns_of_weight(embedding), net_.online(embedding, TransformLocation::output));
    if (columns.empty() && net_.rows_of_weight(embedding).empty() &&
        net_.online(embedding, TransformLocation::input).empty())
      return;
    if (agree(probe(cols(embedding)), probe(cols(embedding)) * columns) && net_.rows_of_weight(embedding).empty())
      return;
    throw Error(weight_name(embedding), "is transformed, and nothing undoes it");
  }

  void check_linear(const Module& linear) const {
    const Stream *reads = read_by(linear), *writes = written_by(linear);
    if (reads) check_reader(linear, *reads);
    if (writes) check_writer(linear, *writes);
    if (!reads && !outputs_.contains(&linear) && !scales_.covers_inputs(linear) &&
        !is_identity(net_.incoming(linear), cols(linear)))
      throw Error(weight_name(linear), "its input side is transformed, and nothing undoes it",
                  "pair weight_input with the opposite of it, online at input, in one group");
    if (!writes)
      check_outputs(linear);
    else
      check_bias(linear);
  }

  void check_outputs(const Module& linear) const {
    if (!values_.contains(&linear) && !scales_.covers_outputs(linear) &&
        !is_identity(net_.outgoing(linear), rows(linear)))
      throw Error(weight_name(linear), "its output side is transformed, and nothing undoes it",
                  "pair weight_output with the opposite of it, online at output, in one group");
    check_bias(linear);
  }

  void check_bias(const Module& linear) const {
    if (linear.bias &&
        !agree(probe(rows(linear)) * net_.rows_of_weight(linear), probe(rows(linear)) * net_.bias(linear)))
      throw Error(linear.bias->info.name, "is not transformed as the rows of its weight");
  }

  void check_reader(const Module& linear, const Stream& stream) const {
    const Row x = probe(cols(linear));
    const Product& product = product_of(stream);
    if (!agree(x, x * then(product, net_.incoming(linear))))
      throw Error(weight_name(linear), "does not undo the transform of the residual stream that it reads",
                  fmt::format("transform it at weight_input, inverse, with the groups that transform {}",
                              stream.writers.front()->name));
    if (!unscaled_.contains(&linear) && !net_.norm_is_folded(linear) && !is_identity(product, cols(linear)))
      throw Error(weight_name(linear), "reads the rotated residual stream through a norm that is not folded into it",
                  "name it in a norm mapping, or fold norms before applying the config");
  }

  void check_writer(const Module& linear, const Stream& stream) const {
    if (agree(probe(rows(linear)) * product_of(stream), probe(rows(linear)) * leaving(linear))) return;
    throw Error(weight_name(linear), "its output is not transformed as the residual stream that it is added to",
                fmt::format("transform it at weight_output as {}", stream.writers.front()->name));
  }

  // A query head reads the values of its key-value head, weighted by an attention that differs from head to head: what
  // happens to the values must stay within a head (weights put on heads before are the same weights after), and be
  // undone there.
  void check_values(const ValueOutput& pair) const {
    const auto& [value_module, output_module, head_dim] = pair;
    const Module &value = *value_module, &output = *output_module;
    if (rows(value) % head_dim != 0 || cols(output) % rows(value) != 0)
      throw Error(weight_name(value),
                  fmt::format("{} rows are not heads of {} that {} could read", rows(value), head_dim, output.name));
    const Product product = net_.outgoing(value);
    if (!places_.no_r2.empty() && !is_identity(product, rows(value)))
      throw Error(weight_name(value), "the values cannot be rotated: " + places_.no_r2);
    const Row x = probe(rows(value));
    if (!agree(weigh_heads(x, head_dim) * product, weigh_heads(x * product, head_dim)))
      throw Error(weight_name(value),
                  fmt::format("its transform mixes heads (of {} rows), whose attention differs", head_dim),
                  "set head_dim of the group to that of the model");
    if (places_.normed_values && !agree({squared_length(x)}, {squared_length(x * product)}))
      throw Error(weight_name(value),
                  "its transform is not orthogonal, and the norm of its heads does not commute with it",
                  "use --transform-type auto by command, transform_type: auto in a recipe");
    const int64_t repeats = cols(output) / rows(value);
    if (!agree(repeat_heads(x, head_dim, repeats),
               repeat_heads(x * product, head_dim, repeats) * net_.incoming(output)))
      throw Error(weight_name(output), fmt::format("does not undo the transform of the values of {}", value.name),
                  "transform it at weight_input, inverse, with the groups that transform them");
  }

  static Row weigh_heads(Row x, int64_t head_dim) {
    for (size_t i = 0; i < x.size(); ++i) x[i] *= 1 + static_cast<double>(i / static_cast<size_t>(head_dim));
    return x;
  }

  static Row repeat_heads(const Row& x, int64_t head_dim, int64_t repeats) {
    Row wide;
    for (auto head = x.begin(); head != x.end(); head += head_dim)
      for (int64_t i = 0; i < repeats; ++i) wide.insert(wide.end(), head, head + head_dim);
    return wide;
  }

  // Queries q T and keys k U: their products stay when T U^T = 1. Linears and embeddings are checked with their
  // weights; elsewhere nothing is known to undo an online transform.
  void check_online(const OnlineTransform& transform) const {
    const Module& module = *plan_.model().find(transform.module);
    if (is_in_attention(transform.location)) {
      const bool known = plan_.model().architecture() || places_.values.empty();
      const int64_t head_dim = known ? plan_.model().head_dim() : places_.values.front().head_dim;
      if (is_identity(then(net_.online(module, TransformLocation::q_attn),
                           transposed(net_.online(module, TransformLocation::k_cache))),
                      head_dim))
        return;
      throw Error(module.name, "q_attn and k_cache do not cancel in the product of a query and a key",
                  "give both the same transform, an orthogonal one");
    }
    if (module.kind != ModuleKind::linear && module.kind != ModuleKind::embedding)
      throw Error(module.name, fmt::format("{}: nothing undoes its {}", transform.group, name_of(transform.location)),
                  "use linears as targets");
  }
};

}  // namespace

void check_pairs(const RewritePlan& plan) {
  CancelCheck(plan, {}).run_pairs();
}

void check_cancels(const RewritePlan& plan, const SpinQuantMapping& mapping, CancelOptions options) {
  if (mapping.attn_head_dim && *mapping.attn_head_dim < 1)
    throw Error("attn_head_dim", fmt::format("must be 1 or more, not {}", *mapping.attn_head_dim));
  CancelCheck(plan, places_of(plan.model(), mapping)).run(options);
}

void check_cancels(const RewritePlan& plan, CancelOptions options) {
  check_folds(plan);
  CancelCheck(plan, places_of(plan.model())).run(options);
}

}  // namespace spinor
