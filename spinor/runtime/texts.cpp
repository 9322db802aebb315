#include "spinor/runtime/texts.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <random>
#include <utility>

#include "spinor/model/end_tokens.h"
#include "spinor/runtime/free_memory.h"
#include "spinor/runtime/sample.h"

namespace spinor::runtime {
namespace {

constexpr int64_t kPromptTokens = 4096;  // that go through a layer at once

// One that is being written.
struct Text {
  size_t request;
  std::mt19937_64 random;
};

// Texts of one length, each a row of the cache.
struct TextBatch {
  std::vector<Text> texts;
  KeyValueCache cache;
  at::Tensor next;  // (texts, tokens): what the model has not seen
};

class Writer {
 public:
  Writer(Decoder& decoder, std::span<const Request> requests, const AnswerOptions& options,
         const std::function<void(int64_t more)>& done, std::span<Answer> answers)
      : decoder_(decoder),
        requests_(requests),
        options_(options),
        done_(done),
        answers_(answers),
        ends_(end_tokens(decoder.model())) {}

  // The context without what is before the window.
  std::span<const int32_t> context(size_t request) const {
    const std::span<const int32_t> all = requests_[request].context;
    const int64_t most = options_.window - requests_[request].generate.max_new_tokens;
    return options_.window > 0 && std::ssize(all) > most ? all.last(static_cast<size_t>(most)) : all;
  }

  int64_t room(size_t request) const {
    return std::ssize(context(request)) + requests_[request].generate.max_new_tokens;
  }

  // Those of one length after one another.
  void write(std::span<const size_t> texts) {
    for (const size_t text : texts) start(text);
    while (!batches_.empty()) step();
  }

 private:
  void start(size_t request) {
    const std::span<const int32_t> tokens = context(request);
    const auto length = std::ssize(tokens);
    const at::Tensor row = at::tensor(std::vector<int64_t>(tokens.begin(), tokens.end()), at::kLong).unsqueeze(0);
    const bool joins = !batches_.empty() && batches_.back().next.size(1) == length &&
                       (batches_.back().next.size(0) + 1) * length <= kPromptTokens &&
                       requests_[batches_.back().texts.front().request].generate.max_new_tokens ==
                           requests_[request].generate.max_new_tokens;
    if (joins)
      batches_.back().next = at::cat({batches_.back().next, row});
    else
      batches_.push_back({{}, decoder_.make_cache(room(request)), row});
    batches_.back().texts.push_back({request, std::mt19937_64(requests_[request].generate.seed)});
  }

  // The next token of each.
  void step() {
    std::vector<Batch> inputs;
    for (TextBatch& batch : batches_) inputs.push_back({batch.next, &batch.cache});
    const std::vector<at::Tensor> hidden = decoder_.forward(inputs);
    for (size_t i = 0; i < batches_.size(); ++i)
      extend(batches_[i], decoder_.logits(hidden[i].select(1, hidden[i].size(1) - 1)));
    std::erase_if(batches_, [](const TextBatch& batch) { return batch.texts.empty(); });
  }

  void extend(TextBatch& batch, const at::Tensor& logits) {
    std::vector<Text> texts;
    std::vector<int64_t> rows, next;
    for (int64_t row = 0; row < logits.size(0); ++row) {
      Text& text = batch.texts[static_cast<size_t>(row)];
      const int32_t token = sample(logits.select(0, row), requests_[text.request].generate, text.random);
      answers_[text.request].tokens.push_back(token);
      if (is_last(text.request, token)) {
        done_(1);
        continue;
      }
      texts.push_back(std::move(text));
      rows.push_back(row);
      next.push_back(token);
    }
    if (texts.size() < batch.texts.size()) batch.cache.keep(at::tensor(rows, at::kLong));
    batch.texts = std::move(texts);
    batch.next = at::tensor(next, at::kLong).unsqueeze(1);
  }

  bool is_last(size_t request, int32_t token) const {
    const bool goes_on = !options_.visit || options_.visit(request, token);
    return !goes_on || std::ranges::find(ends_, token) != ends_.end() ||
           std::ssize(answers_[request].tokens) >= requests_[request].generate.max_new_tokens;
  }

  Decoder& decoder_;
  std::span<const Request> requests_;
  const AnswerOptions& options_;
  const std::function<void(int64_t more)>& done_;
  std::span<Answer> answers_;
  std::vector<int32_t> ends_;
  std::vector<TextBatch> batches_;
};

// How many tokens of texts may be there at once: their keys and values, and the residual stream.
int64_t tokens_in_memory(const Decoder& decoder, const RuntimeOptions& runtime) {
  const Model& model = decoder.model();
  const int64_t numbers = 2 * model.num_layers() * model.num_heads() * model.head_dim() + 4 * model.hidden_size();
  const int64_t bytes = runtime.memory > 0 ? runtime.memory : free_memory() / 2;
  return bytes / 4 / (numbers * info(runtime.dtype).bits / 8);
}

}  // namespace

void answer_texts(Decoder& decoder, std::span<const Request> requests, const AnswerOptions& options,
                  const RuntimeOptions& runtime, const std::function<void(int64_t more)>& done,
                  std::span<Answer> answers) {
  std::vector<size_t> texts;
  for (size_t i = 0; i < requests.size(); ++i) {
    if (!requests[i].continuation.empty()) continue;
    if (requests[i].generate.max_new_tokens > 0)
      texts.push_back(i);
    else
      done(1);
  }
  if (texts.empty()) return;
  Writer writer(decoder, requests, options, done, answers);
  std::ranges::stable_sort(texts, std::greater(), [&](size_t i) { return writer.context(i).size(); });
  const int64_t most = tokens_in_memory(decoder, runtime);
  for (size_t first = 0; first < texts.size();) {
    size_t end = first;
    for (int64_t tokens = 0; end < texts.size() && (end == first || tokens + writer.room(texts[end]) <= most); ++end)
      tokens += writer.room(texts[end]);
    writer.write(std::span(texts).subspan(first, end - first));
    first = end;
  }
}

}  // namespace spinor::runtime
