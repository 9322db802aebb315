#include "spinor/runtime/decoder.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "spinor/base/error.h"
#include "spinor/base/parallel.h"
#include "spinor/runtime/ends.h"
#include "spinor/runtime/free_memory.h"
#include "spinor/runtime/layer_factory.h"

namespace spinor::runtime {
namespace {

constexpr int64_t kTokensAtOnce = 1024;    // sequences go through a layer in batches of about so many
constexpr int64_t kTokensTogether = 4096;  // through all layers, where their weights are held

}  // namespace

struct Decoder::Data {
  ModuleFactory factory;
  RuntimeOptions options;
  bool resident;
  Ends ends;
  std::vector<std::optional<Layer>> layers;  // those that are held

  Data(const RewritePlan& plan, const RuntimeOptions& asked)
      : factory(plan, asked),
        options(asked),
        resident(factory.weights().bytes() <= (asked.memory > 0 ? asked.memory : free_memory() / 2)),
        ends(factory, resident),
        layers(static_cast<size_t>(factory.model().num_layers())) {
    find_activation(factory.forward());  // an unknown one is found before any weight is made
  }
};

void check_tokens(const Model& model, const at::Tensor& tokens) {
  if (tokens.numel() > 0 &&
      (tokens.min().item<int64_t>() < 0 || tokens.max().item<int64_t>() >= model.vocabulary_size()))
    throw Error("tokens", fmt::format("are not all below the vocabulary's size {}", model.vocabulary_size()),
                "the tokenizer does not belong to this model");
}

namespace {

void check_device(const std::string& name) {
  try {
    at::empty({1}, at::TensorOptions().device(at::Device(name)));
  } catch (const c10::Error&) {
    throw Error("device " + name, "is not one that this libtorch can use", "use cpu, or a torch with CUDA");
  }
}

}  // namespace

Decoder::Decoder(const RewritePlan& plan, const RuntimeOptions& options) {
  check_device(options.device);
  at::set_num_threads(options.threads > 0 ? options.threads : default_threads());
  data_ = std::make_unique<Data>(plan, options);
}
Decoder::~Decoder() = default;
Decoder::Decoder(Decoder&&) noexcept = default;

const Model& Decoder::model() const {
  return data_->factory.model();
}

int64_t Decoder::memory() const {
  return data_->options.memory;
}

bool Decoder::resident() const {
  return data_->resident;
}

bool Decoder::can_continue() const {
  const ForwardConfig& forward = data_->factory.forward();
  return std::ranges::none_of(std::array{forward.rope, forward.local_rope}, [](const auto& rope) {
    return rope && (rope->type == RopeType::dynamic || rope->type == RopeType::longrope);
  });
}

KeyValueCache Decoder::make_cache(int64_t tokens) const {
  return {model().num_layers(), tokens};
}

namespace {

// On its way through the layers.
struct Stream {
  at::Tensor x;  // (sequences, tokens, hidden)
  RopeTables tables;
  KeyValueCache* cache;

  // Sequences go through a layer in batches; those of a cache at once.
  void pass(const Layer& layer) const {
    const int64_t some = std::max<int64_t>(1, kTokensAtOnce / std::max<int64_t>(1, x.size(1)));
    const int64_t step = cache ? x.size(0) : some;
    for (int64_t first = 0; first < x.size(0); first += step)
      layer(x.narrow(0, first, std::min(step, x.size(0) - first)), tables, cache);
  }
};

}  // namespace

at::Tensor Decoder::forward(const at::Tensor& tokens, KeyValueCache* cache, const LayerVisitor& visit) {
  const Batch batch{tokens, cache};
  return forward(std::span(&batch, 1), visit).front();
}

std::vector<at::Tensor> Decoder::forward(std::span<const Batch> batches, const LayerVisitor& visit) {
  const c10::InferenceMode inference;
  Data& d = *data_;
  std::vector<Stream> streams;
  for (const auto& [tokens, cache] : batches) {
    check_tokens(model(), tokens);
    const int64_t past = cache ? cache->length() : 0;
    streams.push_back(
        {d.ends.embed(tokens, past), rope_tables(d.factory.forward(), past, tokens.size(1), d.options), cache});
  }
  for (int64_t i = 0; i < model().num_layers(); ++i) {
    std::optional<Layer>& held = d.layers[static_cast<size_t>(i)];
    for (const Stream& stream : streams) {
      if (d.options.stop.stop_requested()) throw Stopped();
      if (!held) held = make_layer(d.factory, i);
      std::vector<at::Tensor> experts;
      held->mlp.choices = visit ? &experts : nullptr;
      stream.pass(*held);
      if (visit) visit(i, stream.x, experts.empty() ? at::Tensor() : at::cat(experts));
      held->mlp.choices = nullptr;
    }
    if (!d.resident) held.reset();
  }
  std::vector<at::Tensor> results;
  for (const Stream& stream : streams) {
    if (stream.cache) stream.cache->advance(stream.x.size(1));
    results.push_back(d.ends.norm(stream.x));
  }
  return results;
}

int64_t Decoder::tokens_at_once() const {
  if (resident()) return kTokensTogether;
  const int64_t bytes = memory() > 0 ? memory() : free_memory() / 2;
  return bytes / 4 / (model().hidden_size() * info(data_->options.dtype).bits / 8);
}

at::Tensor Decoder::logits(const at::Tensor& hidden) {
  const c10::InferenceMode inference;
  return data_->ends.logits(hidden);
}

int64_t Decoder::head_part() const {
  return data_->ends.head_part();
}

at::Tensor Decoder::head_input(const at::Tensor& hidden) {
  const c10::InferenceMode inference;
  return data_->ends.head_input(hidden);
}

std::function<at::Tensor(const at::Tensor& read)> Decoder::head_rows(int64_t first, int64_t count) {
  const c10::InferenceMode inference;
  return data_->ends.head_rows(first, count);
}

}  // namespace spinor::runtime
