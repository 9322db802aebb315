#include "spinor/runtime/score.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

namespace spinor::runtime {
namespace {

constexpr int64_t kPart = 4096;             // of the vocabulary, about: decides the order of all sums
constexpr int64_t kLogitsAtOnce = 1 << 22;  // 16 MB; with fewer rows the product packs the head's weight too often
constexpr int64_t kTileElements = 1 << 17;  // 512 KB of logits: four such tensors fit a core's cache

// Of one model's logits of a token, over the part of the vocabulary so far.
struct Softmax {
  double largest = std::numeric_limits<float>::lowest();
  int64_t most_likely = 0;
  double exps = 0, weighted = 0;  // sums of e = exp(logit - largest), and of e times (logit of the other - logit)
  double target = 0;              // the logit of the token that follows

  double log_sum() const { return largest + std::log(exps); }
};

struct TokenSums {
  int64_t target = 0;
  Softmax model = {}, reference = {};
  double squares = 0, largest_difference = 0;          // of the model's logits from the reference's
  double shift = 0, shifted = 0, shifted_squares = 0;  // sums of the reference's logits - shift
};

// The logits of some tokens for the part of the vocabulary that begins here: (tokens, size of the part).
struct Tile {
  int64_t begin;
  at::Tensor logits;
  std::span<TokenSums> tokens;

  // Calls visit(sums of a token, its number).
  template <typename Visit>
  void for_each(const at::Tensor& of_each, Visit visit) const {
    const at::Tensor host = of_each.to(at::kCPU, at::kDouble).contiguous();
    for (size_t i = 0; i < tokens.size(); ++i) visit(tokens[i], host.const_data_ptr<double>()[i]);
  }
};

// Narrow types are widened: a logarithm of a sum over a vocabulary needs more than eight bits.
at::Tensor wide(const at::Tensor& logits) {
  return logits.scalar_type() == at::kDouble ? logits : logits.to(at::kFloat);
}

void raise(Softmax& sums, double top) {
  const double shrink = std::exp(sums.largest - top);
  sums.exps *= shrink;
  sums.weighted *= shrink;
  sums.largest = top;
}

// Returns exp(logit - largest).
at::Tensor add_exps(const Tile& tile, Softmax TokenSums::* of) {
  std::vector<double> largest;
  tile.for_each(tile.logits.amax(-1), [&](TokenSums& token, double top) {
    Softmax& sums = token.*of;
    const at::Tensor row = tile.logits.select(0, std::ssize(largest));
    if (top > sums.largest) {
      raise(sums, top);
      sums.most_likely = tile.begin + row.argmax().item<int64_t>();
    }
    if (token.target >= tile.begin && token.target < tile.begin + row.size(0))
      sums.target = row.select(0, token.target - tile.begin).item<double>();
    largest.push_back(sums.largest);
  });
  const at::Tensor shift = at::tensor(largest, at::kDouble).to(tile.logits.options()).unsqueeze(1);
  at::Tensor exps = (tile.logits - shift).exp_();
  tile.for_each(exps.sum(-1), [&](TokenSums& token, double sum) { (token.*of).exps += sum; });
  return exps;
}

void add_reference(const Tile& reference, const at::Tensor& logits) {
  const at::Tensor exps = add_exps(reference, &TokenSums::reference);
  at::Tensor difference = logits - reference.logits;
  reference.for_each((exps * difference).sum(-1),
                     [](TokenSums& token, double sum) { token.reference.weighted += sum; });
  reference.for_each(difference.abs_().amax(-1), [](TokenSums& token, double largest) {
    token.largest_difference = std::max(token.largest_difference, largest);
  });
  reference.for_each(difference.square_().sum(-1), [](TokenSums& token, double sum) { token.squares += sum; });
}

// Sums about a value near the mean, whose squares do not cancel: the mean of the first part.
void add_variance(const Tile& reference) {
  if (reference.begin == 0)
    reference.for_each(reference.logits.mean(-1), [](TokenSums& token, double mean) { token.shift = mean; });
  std::vector<double> shifts;
  for (const TokenSums& token : reference.tokens) shifts.push_back(token.shift);
  at::Tensor shifted = reference.logits - at::tensor(shifts, at::kDouble).to(reference.logits.options()).unsqueeze(1);
  reference.for_each(shifted.sum(-1), [](TokenSums& token, double sum) { token.shifted += sum; });
  reference.for_each(shifted.square_().sum(-1), [](TokenSums& token, double sum) { token.shifted_squares += sum; });
}

// Tile by tile, each on one thread.
void add_part(const at::Tensor& logits, const at::Tensor& reference, int64_t begin, std::span<TokenSums> tokens) {
  const int64_t all = logits.size(0),
                rows = logits.is_cpu() ? std::max<int64_t>(1, kTileElements / logits.size(1)) : all;
  at::parallel_for(0, (all + rows - 1) / rows, 1, [&](int64_t first, int64_t last) {
    const c10::InferenceMode inference;
    for (int64_t row = first * rows; row < std::min(all, last * rows); row += rows) {
      const int64_t count = std::min(rows, all - row);
      const auto some = tokens.subspan(static_cast<size_t>(row), static_cast<size_t>(count));
      const Tile tile{begin, wide(logits.narrow(0, row, count)), some};
      add_exps(tile, &TokenSums::model);
      if (!reference.defined()) continue;
      const Tile expected{begin, wide(reference.narrow(0, row, count)), some};
      add_reference(expected, tile.logits);
      add_variance(expected);
    }
  });
}

Scores sum(std::span<const TokenSums> tokens, int64_t vocabulary, bool compared) {
  Scores scores{.tokens = std::ssize(tokens)};
  const auto n = static_cast<double>(vocabulary);
  for (const TokenSums& token : tokens) {
    const Softmax &model = token.model, &reference = token.reference;
    scores.negative_log_likelihood += model.log_sum() - model.target;
    if (!compared) continue;
    scores.reference_negative_log_likelihood += reference.log_sum() - reference.target;
    scores.divergence += model.log_sum() - reference.log_sum() - reference.weighted / reference.exps;
    scores.squared_difference += token.squares;
    scores.largest_difference = std::max(scores.largest_difference, token.largest_difference);
    scores.reference_variance += token.shifted_squares / n - std::pow(token.shifted / n, 2);
    scores.agreements += model.most_likely == reference.most_likely ? 1 : 0;
  }
  return scores;
}

int64_t part_of(const Decoder& model, const Decoder* reference) {
  const int64_t rows = std::max(model.head_part(), reference ? reference->head_part() : 0);
  return std::max<int64_t>(1, kPart / rows) * rows;
}

std::vector<TokenSums> start(const at::Tensor& targets) {
  const at::Tensor next = targets.to(at::kCPU, at::kLong).contiguous();
  std::vector<TokenSums> tokens;
  for (int64_t i = 0; i < next.size(0); ++i) tokens.push_back({.target = next.const_data_ptr<int64_t>()[i]});
  return tokens;
}

std::vector<TokenSums> sums_of(const at::Tensor& hidden, const at::Tensor& targets, Decoder& model,
                               const at::Tensor& reference_hidden, Decoder* reference) {
  std::vector<TokenSums> tokens = start(targets);
  const int64_t vocabulary = model.model().vocabulary_size(), part = part_of(model, reference);
  const at::Tensor read = model.head_input(hidden),
                   expected = reference ? reference->head_input(reference_hidden) : at::Tensor();
  const int64_t step = std::max<int64_t>(1, kLogitsAtOnce / std::min(part, vocabulary));
  for (int64_t begin = 0; begin < vocabulary; begin += part) {
    const int64_t size = std::min(part, vocabulary - begin);
    const auto logits = model.head_rows(begin, size);
    const auto reference_logits = reference ? reference->head_rows(begin, size) : nullptr;
    for (int64_t first = 0; first < hidden.size(0); first += step) {
      const int64_t count = std::min(step, hidden.size(0) - first);
      add_part(logits(read.narrow(0, first, count)),
               reference ? reference_logits(expected.narrow(0, first, count)) : at::Tensor(), begin,
               std::span(tokens).subspan(static_cast<size_t>(first), static_cast<size_t>(count)));
    }
  }
  return tokens;
}
}  // namespace

void Scores::add(const Scores& other) {
  negative_log_likelihood += other.negative_log_likelihood;
  reference_negative_log_likelihood += other.reference_negative_log_likelihood;
  divergence += other.divergence;
  squared_difference += other.squared_difference;
  largest_difference = std::max(largest_difference, other.largest_difference);
  reference_variance += other.reference_variance;
  agreements += other.agreements;
  tokens += other.tokens;
}

namespace {

at::Tensor packed(const Scores& scores) {
  return at::tensor({scores.negative_log_likelihood, scores.reference_negative_log_likelihood, scores.divergence,
                     scores.squared_difference, scores.largest_difference, scores.reference_variance,
                     static_cast<double>(scores.agreements), static_cast<double>(scores.tokens)},
                    at::kDouble);
}

Scores unpacked(const at::Tensor& packed) {
  const double* value = packed.const_data_ptr<double>();
  return {value[0],
          value[1],
          value[2],
          value[3],
          value[4],
          value[5],
          static_cast<int64_t>(value[6]),
          static_cast<int64_t>(value[7])};
}

}  // namespace

Scores over_all(RankGroup& group, const Scores& mine) {
  return unpacked(group.over_all(packed(mine), [](at::Tensor& all, const at::Tensor& theirs) {
    Scores scores = unpacked(all);
    scores.add(unpacked(theirs));
    all = packed(scores);
  }));
}

Scores score(const at::Tensor& hidden, const at::Tensor& targets, Decoder& model, const at::Tensor& reference_hidden,
             Decoder* reference) {
  return sum(sums_of(hidden, targets, model, reference_hidden, reference), model.model().vocabulary_size(),
             reference != nullptr);
}

std::vector<TokenScore> score_tokens(const at::Tensor& hidden, const at::Tensor& targets, Decoder& model) {
  std::vector<TokenScore> scores;
  for (const TokenSums& token : sums_of(hidden, targets, model, {}, nullptr))
    scores.push_back({token.model.target - token.model.log_sum(), token.model.most_likely == token.target});
  return scores;
}

}  // namespace spinor::runtime
