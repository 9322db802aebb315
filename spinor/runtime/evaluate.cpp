#include "spinor/runtime/evaluate.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>

#include "spinor/base/error.h"
#include "spinor/runtime/decoder.h"
#include "spinor/runtime/score.h"
#include "spinor/runtime/torch_errors.h"

namespace spinor::runtime {
namespace {

// Windows of one length, as rows of tokens.
at::Tensor rows_of(std::span<const int32_t> text, std::span<const Window> batch, std::optional<int32_t> bos) {
  const int64_t lead = bos ? 1 : 0, tokens = batch.front().tokens + lead;
  at::Tensor rows = at::empty({std::ssize(batch), tokens}, at::kLong);
  for (size_t i = 0; i < batch.size(); ++i) {
    int64_t* row = rows.data_ptr<int64_t>() + static_cast<int64_t>(i) * tokens;
    if (bos) row[0] = *bos;
    std::copy_n(text.begin() + batch[i].begin, batch[i].tokens, row + lead);
  }
  return rows;
}

std::span<const Window> share_of(const std::vector<Window>& all, const RankGroup& ranks) {
  const int64_t count = std::ssize(all), first = count * ranks.rank() / ranks.ranks();
  const int64_t end = count * (ranks.rank() + 1) / ranks.ranks();
  return std::span(all).subspan(static_cast<size_t>(first), static_cast<size_t>(end - first));
}

}  // namespace

struct Reference::Data {
  Decoder decoder;
  Keep keep;
  struct State {
    at::Tensor tokens, hidden;  // (tokens), (tokens, hidden size)
  };
  std::map<int64_t, State> states = {};  // by the place where a window begins

  // Hidden states of each of the windows, whose tokens are the rows.
  std::vector<at::Tensor> forward(const at::Tensor& rows, std::span<const Window> batch) {
    std::vector<at::Tensor> hidden;
    for (size_t i = 0; i < batch.size(); ++i) {
      const auto found = states.find(batch[i].begin);
      if (found == states.end() || !at::equal(found->second.tokens, rows.select(0, static_cast<int64_t>(i)))) break;
      hidden.push_back(found->second.hidden);
    }
    if (hidden.size() == batch.size()) return hidden;
    hidden = decoder.forward(rows).unbind(0);
    if (keep == Keep::states)
      for (size_t i = 0; i < batch.size(); ++i)
        states[batch[i].begin] = {rows.select(0, static_cast<int64_t>(i)), hidden[i]};
    return hidden;
  }
};

Reference::Reference(const RewritePlan& plan, const RuntimeOptions& runtime, Keep keep) {
  RuntimeOptions plain = runtime;
  plain.activations = plain.kv = std::nullopt;
  data_ = with_torch_errors([&] { return std::make_unique<Data>(Decoder(plan, plain), keep); });
}
Reference::Reference(const RewritePlan& plan, const RuntimeOptions& runtime, const at::Tensor& tokens,
                     const at::Tensor& hidden)
    : Reference(plan, runtime, Keep::states) {
  for (int64_t i = 0; i < tokens.size(0); ++i)
    data_->states[i * tokens.size(1)] = {tokens.select(0, i), hidden.select(0, i).to(at::Device(runtime.device))};
}
Reference::~Reference() = default;
Reference::Reference(Reference&&) noexcept = default;

// Sums up what batches of windows give.
class Evaluator {
 public:
  Evaluator(const RewritePlan& plan, Reference* reference, const RuntimeOptions& runtime)
      : decoder_(plan, runtime), reference_(reference ? reference->data_.get() : nullptr) {
    const int64_t tokens = decoder_.model().vocabulary_size();
    if (reference_ && reference_->decoder.model().vocabulary_size() != tokens)
      throw Error(
          reference_->decoder.model().checkpoint().directory().string(),
          fmt::format("has a vocabulary of {}, not of {}", reference_->decoder.model().vocabulary_size(), tokens),
          "a reference has the same tokens");
  }

  const Decoder& decoder() const { return decoder_; }

  void add(const at::Tensor& rows, std::span<const Window> batch) {
    const std::vector<at::Tensor> hidden = decoder_.forward(rows).unbind(0);
    const std::vector<at::Tensor> expected = reference_ ? reference_->forward(rows, batch) : std::vector<at::Tensor>();
    std::vector<at::Tensor> predicting, reference, targets;
    for (size_t i = 0; i < batch.size(); ++i) {
      const int64_t scored = batch[i].scored, first = rows.size(1) - scored;
      predicting.push_back(hidden[i].narrow(0, first - 1, scored));
      if (reference_) reference.push_back(expected[i].narrow(0, first - 1, scored));
      targets.push_back(rows.select(0, static_cast<int64_t>(i)).narrow(0, first, scored));
    }
    scores_.add(score(at::cat(predicting), at::cat(targets), decoder_, reference_ ? at::cat(reference) : at::Tensor(),
                      reference_ ? &reference_->decoder : nullptr));
  }

  void add_ranks(RankGroup& ranks) { scores_ = over_all(ranks, scores_); }

  double perplexity() const { return perplexity_of(scores_.negative_log_likelihood); }

  Evaluation result() const {
    Evaluation result{.perplexity = perplexity(), .tokens = scores_.tokens};
    if (!reference_) return result;
    const auto tokens = static_cast<double>(scores_.tokens);
    const double deviation = std::sqrt(scores_.reference_variance / tokens);
    const double logits = tokens * static_cast<double>(decoder_.model().vocabulary_size());
    result.reference_perplexity = perplexity_of(scores_.reference_negative_log_likelihood);
    result.divergence = scores_.divergence / tokens;
    result.top1_agreement = static_cast<double>(scores_.agreements) / tokens;
    result.logits_rms = std::sqrt(scores_.squared_difference / logits) / deviation;
    result.logits_max = scores_.largest_difference / deviation;
    return result;
  }

 private:
  double perplexity_of(double negative_log_likelihood) const {
    return std::exp(negative_log_likelihood / static_cast<double>(scores_.tokens));
  }

  Decoder decoder_;
  Reference::Data* reference_;
  Scores scores_;
};

namespace {

Evaluation run(const RewritePlan& plan, Reference* reference, std::span<const int32_t> text,
               const EvaluateOptions& options, const RuntimeOptions& runtime, const EvaluateProgress& progress) {
  const c10::InferenceMode inference;
  const auto start = std::chrono::steady_clock::now();
  const std::vector<Window> all = windows(std::ssize(text), options);
  RankGroup& ranks = or_alone(options.ranks);
  const std::span<const Window> mine = share_of(all, ranks);
  Evaluator evaluator(plan, reference, runtime);
  const int64_t step = std::max<int64_t>(1, evaluator.decoder().tokens_at_once() / (all.front().tokens + 1));
  for (int64_t first = 0; first < std::ssize(mine); first += step) {
    const int64_t count = std::min(step, std::ssize(mine) - first);
    const auto batch = mine.subspan(static_cast<size_t>(first), static_cast<size_t>(count));
    evaluator.add(rows_of(text, batch, options.bos), batch);
    if (progress) progress(first + count, std::ssize(mine), evaluator.perplexity());
  }
  evaluator.add_ranks(ranks);
  Evaluation result = evaluator.result();
  result.windows = std::ssize(all);
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace

std::vector<Window> windows(int64_t tokens, const EvaluateOptions& options) {
  const int64_t lead = options.bos ? 1 : 0;
  if (options.context < 2)
    throw Error("context", fmt::format("is {}: windows have at least two tokens", options.context));
  if (options.stride < 0 || options.stride > options.context - lead)
    throw Error("windows", fmt::format("of {} tokens cannot begin every {}", options.context, options.stride));
  const int64_t length = std::min(tokens, options.context - lead);
  if (length + lead < 2) throw Error("text", fmt::format("has {} tokens: there is nothing to predict", tokens));
  const int64_t stride = options.stride > 0 ? options.stride : length;
  std::vector<Window> result;
  for (int64_t begin = 0; begin + length <= tokens; begin += stride) {
    if (options.samples > 0 && std::ssize(result) == options.samples) break;
    const int64_t fresh = begin == 0 || stride == length ? length : stride;
    result.push_back({begin, length, std::min(fresh, length + lead - 1)});
  }
  return result;
}

Evaluation evaluate(const RewritePlan& plan, std::span<const int32_t> text, const EvaluateOptions& options,
                    const RuntimeOptions& runtime, const EvaluateProgress& progress) {
  return with_torch_errors([&] { return run(plan, nullptr, text, options, runtime, progress); });
}

Evaluation evaluate(const RewritePlan& plan, Reference& reference, std::span<const int32_t> text,
                    const EvaluateOptions& options, const RuntimeOptions& runtime, const EvaluateProgress& progress) {
  return with_torch_errors([&] { return run(plan, &reference, text, options, runtime, progress); });
}

}  // namespace spinor::runtime
