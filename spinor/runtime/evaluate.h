// Perplexity of a model on a text, and how far it is from a reference. Needs no header of libtorch.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "spinor/plan/plan.h"
#include "spinor/runtime/options.h"

namespace at {
class Tensor;
}  // namespace at
namespace spinor {
class RankGroup;
}  // namespace spinor

namespace spinor::runtime {

struct EvaluateOptions {
  int64_t context = 2048;           // tokens in a window, `bos` included
  int64_t stride = 0;               // from one window's start to the next's; 0: windows do not overlap
  int64_t samples = 0;              // only the first so many windows; 0: all
  std::optional<int32_t> bos = {};  // stands before the text of every window
  // That share the windows, each a run of them; all have the result, which is that of one but for the order of sums.
  RankGroup* ranks = nullptr;  // null: alone
};

// Windows of a text. Whole ones only, as the papers count; a text that is shorter than one is one window.
struct Window {
  int64_t begin = 0, tokens = 0;  // of the text
  int64_t scored = 0;             // the last so many of them are predicted; not what an earlier window has predicted
};
// Error for a text of fewer than two tokens, and for sizes that make no sense.
std::vector<Window> windows(int64_t tokens, const EvaluateOptions& options);

struct Evaluation {
  double perplexity = 0;  // exp of the mean negative log-likelihood of the scored tokens
  int64_t tokens = 0;     // scored
  int64_t windows = 0;
  double seconds = 0;  // weights included
  // Against the reference, over the same tokens:
  std::optional<double> reference_perplexity = {}, divergence = {}, top1_agreement = {};
  std::optional<double> logits_rms = {}, logits_max = {};  // differences in standard deviations of its logits
};

// Called after each batch with the windows done, of this rank, and the perplexity so far.
using EvaluateProgress = std::function<void(int64_t done, int64_t all, double perplexity)>;

// Layer by layer over as many windows as options.memory allows. Errors as of Decoder.
Evaluation evaluate(const RewritePlan& plan, std::span<const int32_t> text, const EvaluateOptions& options,
                    const RuntimeOptions& runtime, const EvaluateProgress& progress = {});

// A model that others are compared with. It runs in full precision: without the low bits of `runtime`.
class Reference {
 public:
  // states: what it computes for a text is kept for further evaluations on the same windows (a row of hidden_size
  // numbers a token), so that it runs once.
  enum class Keep { nothing, states };
  Reference(const RewritePlan& plan, const RuntimeOptions& runtime, Keep keep = Keep::nothing);
  // What it computes for windows that follow one another is known: of their tokens (windows, tokens) the hidden states
  // behind the final norm, (windows, tokens, hidden). For them it does not run.
  Reference(const RewritePlan& plan, const RuntimeOptions& runtime, const at::Tensor& tokens, const at::Tensor& hidden);
  ~Reference();
  Reference(Reference&&) noexcept;

 private:
  friend class Evaluator;
  struct Data;
  std::unique_ptr<Data> data_;
};
// Error for a reference of another vocabulary.
Evaluation evaluate(const RewritePlan& plan, Reference& reference, std::span<const int32_t> text,
                    const EvaluateOptions& options, const RuntimeOptions& runtime,
                    const EvaluateProgress& progress = {});

}  // namespace spinor::runtime
