// A small random model on disk, for tests of everything that needs one. Not for the library.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <random>

#include "spinor/base/json.h"
#include "spinor/io/testing.h"

namespace spinor::testing {

struct TinyModel {
  std::string architecture = "LlamaForCausalLM", model_type = "llama";
  int64_t hidden = 32, layers = 2, heads = 4, key_value_heads = 2, head_dim = 8, intermediate = 48, vocabulary = 40;
  bool tied = false, biases = false;
  uint32_t seed = 1;
};

struct TinyTensor {
  std::string name;
  std::vector<int64_t> shape;
  double mean = 0, deviation = 0.1;
};

inline std::vector<TinyTensor> tensors_of(const TinyModel& m) {
  std::vector<TinyTensor> tensors = {{"model.embed_tokens.weight", {m.vocabulary, m.hidden}, 0.02, 0.3}};
  const auto linear = [&](const std::string& name, int64_t out, int64_t in) {
    tensors.push_back({name + ".weight", {out, in}});
    if (m.biases) tensors.push_back({name + ".bias", {out}});
  };
  for (int64_t l = 0; l < m.layers; ++l) {
    const std::string layer = fmt::format("model.layers.{}.", l);
    linear(layer + "self_attn.q_proj", m.heads * m.head_dim, m.hidden);
    linear(layer + "self_attn.k_proj", m.key_value_heads * m.head_dim, m.hidden);
    linear(layer + "self_attn.v_proj", m.key_value_heads * m.head_dim, m.hidden);
    linear(layer + "self_attn.o_proj", m.hidden, m.heads * m.head_dim);
    linear(layer + "mlp.gate_proj", m.intermediate, m.hidden);
    linear(layer + "mlp.up_proj", m.intermediate, m.hidden);
    linear(layer + "mlp.down_proj", m.hidden, m.intermediate);
    tensors.push_back({layer + "input_layernorm.weight", {m.hidden}, 1, 0.3});
    tensors.push_back({layer + "post_attention_layernorm.weight", {m.hidden}, 1, 0.3});
  }
  tensors.push_back({"model.norm.weight", {m.hidden}, 1, 0.3});
  if (!m.tied) tensors.push_back({"lm_head.weight", {m.vocabulary, m.hidden}});
  return tensors;
}

inline Json config_of(const TinyModel& m) {
  return {{"architectures", {m.architecture}},
          {"model_type", m.model_type},
          {"hidden_size", m.hidden},
          {"num_hidden_layers", m.layers},
          {"num_attention_heads", m.heads},
          {"num_key_value_heads", m.key_value_heads},
          {"head_dim", m.head_dim},
          {"intermediate_size", m.intermediate},
          {"vocab_size", m.vocabulary},
          {"tie_word_embeddings", m.tied},
          {"attention_bias", m.biases},
          {"mlp_bias", m.biases},
          {"torch_dtype", "float32"}};
}

// config.json and model.safetensors in float32. Returns the directory.
inline std::filesystem::path write_model(const std::filesystem::path& directory, const TinyModel& model = {}) {
  std::filesystem::create_directories(directory);
  write_text(directory / "config.json", config_of(model).dump(2) + "\n");
  std::vector<TensorInfo> infos;
  std::map<std::string, TinyTensor> by_name;
  for (const TinyTensor& tensor : tensors_of(model)) {
    infos.push_back({.name = tensor.name, .dtype = DType::F32, .shape = tensor.shape});
    by_name[tensor.name] = tensor;
  }
  std::string bytes = make_safetensors_header(infos, {{"format", "pt"}});
  std::mt19937 engine(model.seed);
  for (const TensorInfo& info : infos) {
    std::normal_distribution<float> normal(static_cast<float>(by_name[info.name].mean),
                                           static_cast<float>(by_name[info.name].deviation));
    for (int64_t i = 0; i < info.elements(); ++i) {
      const float value = normal(engine);
      char raw[sizeof(value)];
      std::memcpy(raw, &value, sizeof(value));
      bytes.append(raw, sizeof(value));
    }
  }
  write_text(directory / "model.safetensors", bytes);
  return directory;
}

}  // namespace spinor::testing
