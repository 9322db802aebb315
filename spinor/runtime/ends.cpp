#include "spinor/runtime/ends.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>

#include "spinor/base/error.h"

namespace spinor::runtime {

at::Tensor Ends::rows(const Module& embedding, const at::Tensor& indices, at::Tensor& held) {
  const std::string name = embedding.name + ".weight";
  if (resident_ && !held.defined()) held = factory_.weights().compute(name);
  at::Tensor x =
      resident_ ? at::embedding(held, indices.to(held.device())) : factory_.weights().compute_rows(name, indices);
  apply({factory_.rotations(embedding.name, TransformLocation::output), {}}, x);
  return x;
}

at::Tensor Ends::embed(const at::Tensor& tokens, int64_t first) {
  at::Tensor x = rows(*factory_.model().embedding(), tokens, embedding_);
  if (const double multiplier = factory_.forward().embedding_multiplier; multiplier != 1)
    x.mul_(at::full({}, multiplier, x.options()));  // rounded to the type of the stream, as in training
  if (const Module* projection = factory_.model().outer(factory_.model().architecture()->forward->project_in)) {
    LinearInput input(x, true);
    x = factory_.linear(projection->name)(input);
  }
  add_positions(x, first);
  return x;
}

void Ends::add_positions(at::Tensor x, int64_t first) {
  const Architecture& row = *factory_.model().architecture();
  if (row.embeddings.size() < 2) return;
  const Module& module = *factory_.model().outer(row.embeddings[1].name);
  const int64_t learned = module.shape.out - row.forward->first_position, end = first + x.size(1);
  if (end > learned)
    throw Error(
        module.name, fmt::format("has {} positions, and a sequence {} tokens", learned, end),
        "use fewer at a time: --context of eval and compare, --max-new-tokens of generate, --random-tokens of verify");
  const at::Tensor indices = at::arange(first, end) + row.forward->first_position;
  x.add_(rows(module, indices, positions_));
}

at::Tensor Ends::norm(at::Tensor stream) const {
  const std::vector<NormReads>& reads = factory_.model().stream().norm_reads;
  if (reads.empty() || reads.back().norm->layer >= 0) return stream;
  const Norm norm = factory_.norm(reads.back().norm->name);
  if (stream.requires_grad()) return norm(stream);
  for (int64_t i = 0; i < stream.size(0); ++i) stream.select(0, i).copy_(norm(stream.select(0, i)));
  return stream;
}

// The name of its weight, which a tied head shares with the embedding.
std::string Ends::head_weight() const {
  const std::string own = weight_name(*factory_.model().head());
  return factory_.weights().plan().find(own) ? own : factory_.model().embedding()->name + ".weight";
}

// Not where what the head gives is mixed, or quantized as a whole.
bool Ends::has_head_in_parts() const {
  const Module& head = *factory_.model().head();
  return !head.shape.transposed && factory_.rotations(head.name, TransformLocation::output).empty() &&
         !factory_.schemes().output(head);
}

int64_t Ends::head_part() const {
  return has_head_in_parts() ? factory_.weights().rows_at_once(head_weight()) : factory_.model().vocabulary_size();
}

const Linear& Ends::head() {
  if (head_) return *head_;
  const Model& model = factory_.model();
  const bool same = resident_ && embedding_.defined() && model.tied_head() && !factory_.weights().plan().untied();
  head_ = factory_.linear(model.head()->name, same ? embedding_ : at::Tensor());
  if (!head_->weight.defined()) head_->weight = factory_.weights().compute(head_weight());
  return *head_;
}

at::Tensor Ends::project_out(const at::Tensor& hidden) {
  const Module* projection = factory_.model().outer(factory_.model().architecture()->forward->project_out);
  if (!projection) return hidden;
  if (!project_out_) project_out_ = factory_.linear(projection->name);
  LinearInput input(hidden);
  return (*project_out_)(input);
}

at::Tensor Ends::finish(at::Tensor logits) const {
  const ForwardConfig& forward = factory_.forward();
  if (forward.logits_multiplier != 1) logits.mul_(forward.logits_multiplier);
  if (forward.logits_cap) logits = logits.div_(*forward.logits_cap).tanh_() * *forward.logits_cap;
  return logits;
}

at::Tensor Ends::logits(const at::Tensor& hidden) {
  LinearInput input(project_out(hidden));
  return finish(head()(input));
}

at::Tensor Ends::head_input(const at::Tensor& hidden) {
  const Stage stage = factory_.input_stage(*factory_.model().head());
  LinearInput input(project_out(hidden));
  return input.after(stage);
}

Logits Ends::head_rows(int64_t first, int64_t count) {
  const int64_t all = factory_.model().vocabulary_size();
  const bool alone = !resident_ && head_part() < all;
  Linear rows = alone ? factory_.linear(factory_.model().head()->name,
                                        factory_.weights().compute_rows(head_weight(), first, count))
                      : head();
  rows.input = {};
  if (count < all && !alone) rows.weight = rows.weight.narrow(0, first, count);
  if (count < all && rows.bias.defined()) rows.bias = rows.bias.narrow(0, first, count);
  return [this, rows](const at::Tensor& read) {
    LinearInput input(read);
    return finish(rows(input));
  };
}

}  // namespace spinor::runtime
