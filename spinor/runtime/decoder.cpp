#include "spinor/runtime/decoder.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "spinor/base/error.h"
#include "spinor/base/parallel.h"
#include "spinor/runtime/free_memory.h"
#include "spinor/runtime/layer.h"
#include "spinor/runtime/rope.h"

namespace spinor {
namespace {

constexpr int64_t kTokensAtOnce = 1024;  // sequences go through a layer in batches of about so many

using Activation = at::Tensor (*)(at::Tensor);  // of an argument that may be overwritten
struct ActivationRow {
  std::string_view name;
  Activation function;
};
const ActivationRow kActivations[] = {
    {"silu", [](at::Tensor x) { return at::silu_(x); }},
    {"swish", [](at::Tensor x) { return at::silu_(x); }},
    {"gelu", [](at::Tensor x) { return at::gelu(x); }},
    {"gelu_pytorch_tanh", [](at::Tensor x) { return at::gelu(x, "tanh"); }},
    {"gelu_new", [](at::Tensor x) { return at::gelu(x, "tanh"); }},
    {"relu", [](at::Tensor x) { return at::relu(x); }},
};

Activation find_activation(const std::string& name) {
  const auto* found = std::ranges::find(kActivations, name, &ActivationRow::name);
  if (found == std::end(kActivations))
    throw Error("config.json", fmt::format("hidden_act {} is not supported", name),
                "spinor runs silu, gelu, gelu_pytorch_tanh, gelu_new and relu");
  return found->function;
}

// (queries, keys): which key each query sees; nothing where plain causal attention does. The last query is the last
// key.
at::Tensor attention_mask(int64_t queries, int64_t keys, int64_t window, const at::Device& device) {
  const bool windowed = window > 0 && window < keys;
  if (!windowed && (queries == 1 || queries == keys)) return {};
  const at::Tensor key = at::arange(keys, device), query = at::arange(keys - queries, keys, device).unsqueeze(1);
  const at::Tensor seen = key <= query;
  return windowed ? at::logical_and(seen, key > query - window) : seen;
}

}  // namespace

struct Decoder::Data {
  LayerFactory factory;
  RuntimeOptions options;
  bool resident;
  Activation activation;
  std::vector<std::optional<Layer>> layers;  // those that are held
  at::Tensor embedding;
  std::optional<Linear> head;

  Data(const RewritePlan& plan, const RuntimeOptions& asked)
      : factory(plan, asked),
        options(asked),
        resident(factory.weights().bytes() <= (asked.memory > 0 ? asked.memory : free_memory() / 2)),
        activation(find_activation(factory.forward().activation)),
        layers(static_cast<size_t>(model().num_layers())) {}

  const Model& model() const { return factory.weights().plan().model(); }
  at::TensorOptions tensor_options() const {
    return at::TensorOptions(torch_dtype(options.dtype)).device(at::Device(options.device));
  }

  at::Tensor embed(const at::Tensor& tokens);
  at::Tensor attention(const Layer& layer, int64_t index, const at::Tensor& x, const RopeTable& rope,
                       KeyValueCache* cache) const;
  at::Tensor mlp(const Layer& layer, const at::Tensor& x) const;
  void run_layer(const Layer& layer, int64_t index, at::Tensor x, const RopeTable& rope, KeyValueCache* cache) const;
};

at::Tensor Decoder::Data::embed(const at::Tensor& tokens) {
  const std::string name = model().embedding()->name + ".weight";
  at::Tensor x;
  if (resident) {
    if (!embedding.defined()) embedding = factory.weights().compute(name);
    x = at::embedding(embedding, tokens.to(embedding.device()));
  } else {
    x = factory.weights().compute_rows(name, tokens);
  }
  apply(factory.embedding_output(), x);
  const double multiplier = factory.forward().embedding_multiplier;
  return multiplier == 1 ? x : x.mul_(multiplier);
}

at::Tensor Decoder::Data::attention(const Layer& layer, int64_t index, const at::Tensor& x, const RopeTable& rope,
                                    KeyValueCache* cache) const {
  const int64_t batch = x.size(0), tokens = x.size(1), d = model().head_dim();
  const auto heads = [&](const at::Tensor& t) { return t.reshape({batch, tokens, -1, d}); };
  LinearInput input(layer.attention_norm(x));
  at::Tensor q = heads(layer.query(input)), k = heads(layer.key(input)), v = heads(layer.value(input));
  if (layer.query_norm) q = (*layer.query_norm)(q);
  if (layer.key_norm) k = (*layer.key_norm)(k);
  if (factory.forward().has_rope[static_cast<size_t>(index)]) {
    apply_rope(q, rope);
    apply_rope(k, rope);
  }
  apply(layer.queries, q);
  apply(layer.keys, k);
  apply(layer.values, v);
  if (cache) {
    at::Tensor &keys = cache->keys.at(static_cast<size_t>(index)),
               &values = cache->values.at(static_cast<size_t>(index));
    keys.narrow(1, cache->length, tokens).copy_(k);
    values.narrow(1, cache->length, tokens).copy_(v);
    k = keys.narrow(1, 0, cache->length + tokens);
    v = values.narrow(1, 0, cache->length + tokens);
  }
  const at::Tensor mask =
      attention_mask(tokens, k.size(1), factory.forward().window[static_cast<size_t>(index)], x.device());
  const bool causal = !mask.defined() && tokens > 1;
  const at::Tensor mixed = at::scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2),
                                                            mask.defined() ? std::optional(mask) : std::nullopt, 0.0,
                                                            causal, factory.forward().attention_scale,
                                                            /*enable_gqa=*/q.size(2) != k.size(2));
  LinearInput output(mixed.transpose(1, 2).reshape({batch, tokens, -1}).contiguous(), true);
  return layer.output(output);
}

at::Tensor Decoder::Data::mlp(const Layer& layer, const at::Tensor& x) const {
  LinearInput input(layer.mlp_norm(x));
  const at::Tensor gate = layer.gate(input);
  LinearInput product(activation(gate).mul_(layer.up(input)), true);
  return layer.down(product);
}

void Decoder::Data::run_layer(const Layer& layer, int64_t index, at::Tensor x, const RopeTable& rope,
                              KeyValueCache* cache) const {
  const double multiplier = factory.forward().residual_multiplier;
  x.add_(attention(layer, index, x, rope, cache), multiplier);
  x.add_(mlp(layer, x), multiplier);
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
  return data_->model();
}

bool Decoder::resident() const {
  return data_->resident;
}

KeyValueCache Decoder::make_cache(int64_t sequences, int64_t tokens) const {
  KeyValueCache cache;
  const Model& m = model();
  for (int64_t i = 0; i < m.num_layers(); ++i)
    for (auto* side : {&cache.keys, &cache.values})
      side->push_back(at::empty({sequences, tokens, m.num_key_value_heads(), m.head_dim()}, data_->tensor_options()));
  return cache;
}

at::Tensor Decoder::forward(const at::Tensor& tokens, KeyValueCache* cache, const LayerVisitor& visit) {
  const c10::InferenceMode inference;
  Data& d = *data_;
  if (tokens.numel() > 0 &&
      (tokens.min().item<int64_t>() < 0 || tokens.max().item<int64_t>() >= d.model().vocabulary_size()))
    throw Error("tokens", fmt::format("are not all below the vocabulary's size {}", d.model().vocabulary_size()),
                "the tokenizer does not belong to this model");
  at::Tensor stream = d.embed(tokens);
  const int64_t step = std::max<int64_t>(1, kTokensAtOnce / std::max<int64_t>(1, tokens.size(1)));
  const RopeTable rope = rope_table(d.factory.forward().rope, d.model().head_dim(), cache ? cache->length : 0,
                                    tokens.size(1), d.tensor_options());
  for (int64_t i = 0; i < d.model().num_layers(); ++i) {
    std::optional<Layer>& held = d.layers[static_cast<size_t>(i)];
    if (!held) held = d.factory.layer(i);
    for (int64_t first = 0; first < stream.size(0); first += step)
      d.run_layer(*held, i, stream.narrow(0, first, std::min(step, stream.size(0) - first)), rope, cache);
    if (visit) visit(i, stream);
    if (!d.resident) held.reset();
  }
  if (cache) cache->length += tokens.size(1);
  const Norm norm = d.factory.final_norm();
  for (int64_t i = 0; i < stream.size(0); ++i) stream.select(0, i).copy_(norm(stream.select(0, i)));
  return stream;
}

at::Tensor Decoder::logits(const at::Tensor& hidden) {
  const c10::InferenceMode inference;
  Data& d = *data_;
  if (!d.head) {
    const bool same =
        d.resident && d.embedding.defined() && d.model().tied_head() && !d.factory.weights().plan().untied();
    d.head = d.factory.head(same ? d.embedding : at::Tensor());
  }
  LinearInput input(hidden);
  at::Tensor logits = (*d.head)(input);
  const double scaling = d.factory.forward().logits_scaling;
  return scaling == 1 ? logits : logits.div_(scaling);
}

}  // namespace spinor
