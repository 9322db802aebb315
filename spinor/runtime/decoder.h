// One forward pass for every supported architecture, driven by its row of the table. Inside the runtime only: what
// others call is in evaluate.h, generate.h and compare.h.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "spinor/plan/plan.h"
#include "spinor/runtime/cache.h"
#include "spinor/runtime/options.h"

namespace spinor::runtime {

// Sees the residual stream after a layer, (sequences, tokens, hidden), and which experts its tokens chose, (sequences *
// tokens, chosen), undefined in a layer without.
using LayerVisitor = std::function<void(int64_t layer, const at::Tensor& stream, const at::Tensor& experts)>;

// Error for a token outside the vocabulary.
void check_tokens(const Model& model, const at::Tensor& tokens);

// Sequences of one length.
struct Batch {
  at::Tensor tokens;               // (sequences, tokens), int64
  KeyValueCache* cache = nullptr;  // they follow those it holds, and are added to it
};

// Layer by layer: all sequences go through one layer before the next one's weights are made, so that one layer's
// weights are held at a time; all of them where they fit into options.memory.
class Decoder {
 public:
  // The model that the plan writes, its online transforms and declared quantization of activations included. Errors: an
  // architecture or a setting that cannot be run.
  Decoder(const RewritePlan& plan, const RuntimeOptions& options);
  ~Decoder();
  Decoder(Decoder&&) noexcept;

  const Model& model() const;
  int64_t memory() const;  // that was given; 0: none was
  // Whether every weight is held after its first use.
  bool resident() const;

  // Whether a sequence is the same in one pass as when it is continued: its angles do not depend on its length.
  bool can_continue() const;
  // An empty cache with room for so many tokens.
  KeyValueCache make_cache(int64_t tokens) const;

  // tokens (sequences, tokens), int64. The residual stream after the final norm: (sequences, tokens, hidden). With a
  // cache they follow those it holds, and are added to it. Error for a token outside the vocabulary.
  at::Tensor forward(const at::Tensor& tokens, KeyValueCache* cache = nullptr, const LayerVisitor& visit = {});
  // The same for sequences of several lengths, one batch a length: none depends on the lengths of others. A cache
  // belongs to one batch.
  std::vector<at::Tensor> forward(std::span<const Batch> batches, const LayerVisitor& visit = {});
  // How many tokens should go through the layers together: where weights are not held, all whose streams fit, because
  // weights are made anew for each call of forward().
  int64_t tokens_at_once() const;
  // (..., hidden) -> (..., vocabulary).
  at::Tensor logits(const at::Tensor& hidden);
  // The same in parts, see Ends.
  int64_t head_part() const;
  at::Tensor head_input(const at::Tensor& hidden);
  std::function<at::Tensor(const at::Tensor& read)> head_rows(int64_t first, int64_t count);

 private:
  struct Data;
  std::unique_ptr<Data> data_;
};

}  // namespace spinor::runtime
