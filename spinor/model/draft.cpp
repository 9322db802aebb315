#include "spinor/model/draft.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <optional>
#include <vector>

#include "spinor/base/yaml_writer.h"
#include "spinor/model/draft_words.h"
#include "spinor/model/module_name.h"

namespace spinor {
namespace {

struct Tensor {
  std::string name;  // below the layer, or below the root
  std::vector<int64_t> shape;
};

// Where the layers are, and what is in any of them.
struct Layers {
  std::string root, name;  // "model.", "layers"
  int64_t experts = 0;
  std::vector<Tensor> tensors = {};  // once for all layers, {E} for an expert
};

// "model.layers" of "model.layers.3.mlp.up_proj.weight"; the rest is what follows the number.
std::optional<std::pair<std::string, std::string>> split_layer(const std::string& name) {
  for (size_t dot = name.find('.'); dot != std::string::npos; dot = name.find('.', dot + 1)) {
    const size_t end = name.find('.', dot + 1);
    if (end == std::string::npos) return std::nullopt;
    const std::string_view number = std::string_view(name).substr(dot + 1, end - dot - 1);
    if (is_number(number) && number.size() < 9) return std::pair(name.substr(0, dot), name.substr(end + 1));
  }
  return std::nullopt;
}

std::string find_prefix(const Checkpoint& checkpoint) {
  std::map<std::string, int> counts;
  for (const CheckpointTensor& tensor : checkpoint.tensors())
    if (const auto split = split_layer(tensor.info.name)) ++counts[split->first];
  const auto most = std::ranges::max_element(counts, {}, [](const auto& entry) { return entry.second; });
  return most == counts.end() ? "" : most->first;
}

// "mlp.experts.{E}.up_proj" of "mlp.experts.17.up_proj"; the number, or -1.
int64_t replace_expert(std::string& name) {
  const auto split = split_layer("." + name);
  if (!split) return -1;
  const std::string before = split->first.substr(1);
  const int64_t number = std::stoll(name.substr(before.size() + 1));
  name = before + ".{E}." + split->second;
  return number;
}

Layers read_layers(const Checkpoint& checkpoint) {
  const std::string prefix = find_prefix(checkpoint);
  const size_t dot = prefix.rfind('.');
  Layers layers{.root = dot == std::string::npos ? "" : prefix.substr(0, dot + 1), .name = prefix.substr(dot + 1)};
  for (const CheckpointTensor& tensor : checkpoint.tensors()) {
    auto split = split_layer(tensor.info.name);
    if (!split || split->first != prefix) continue;
    layers.experts = std::max(layers.experts, replace_expert(split->second) + 1);
    if (std::ranges::find(layers.tensors, split->second, &Tensor::name) == layers.tensors.end())
      layers.tensors.push_back({split->second, tensor.info.shape});
  }
  return layers;
}

class Draft {
 public:
  Draft(const Checkpoint& checkpoint, const std::string& name)
      : checkpoint_(checkpoint), layers_(read_layers(checkpoint)), sizes_(checkpoint.config()) {
    row_["names"] = {name};
    if (layers_.experts > 0) row_["experts"] = sizes_.name(layers_.experts);
  }

  std::string run() {
    if (layers_.tensors.empty()) return "";
    add_outside();
    for (const Tensor& tensor : layers_.tensors)
      if (tensor.name.ends_with(".weight") && tensor.shape.size() == 2) add_linear(tensor);
    for (const Tensor& tensor : layers_.tensors) add_other(tensor);
    row_["linears"] = linears_;
    row_["norms"] = norms_;
    if (!parameters_.empty()) row_["parameters"] = parameters_;
    add_attention();
    for (const auto& [key, names] : {std::pair("mlp_in", mlp_in_), {"mlp_out", mlp_out_}, {"writes", writes_}})
      row_[key] = names;
    return fmt::format(
        "# Guessed from the names and sizes of the tensors. Check: what each norm reads (all linears behind it and no\n"
        "# others), who writes to the residual stream, which layers have what (`when`), offsets of norms (1 + "
        "weight).\n"
        "{}"
        "# If it computes as Llama does, or as said here (How it computes), this lets eval, generate and compare run "
        "it:\n"
        "# forward: {}\n",
        to_yaml(row_), forward());
  }

 private:
  // Of a mixture of experts, what chooses them.
  std::string forward() const {
    return routers_.empty() ? "{}" : fmt::format("{{router: {{name: {}}}}}", routers_.front());
  }

  static std::string stem(const std::string& tensor) { return std::string(parent_of(tensor)); }
  bool has(const std::string& name) const {
    return std::ranges::find(layers_.tensors, name, &Tensor::name) != layers_.tensors.end();
  }

  void add_linear(const Tensor& tensor) {
    const std::string name = stem(tensor.name);
    const int64_t out = tensor.shape[0], in = tensor.shape[1], hidden = sizes_.hidden();
    const bool writes = out == hidden && names_writer(name), attention = names_attention(name);
    Json linear = {
        {"name", name}, {"out", sizes_.name(out, attention && !writes)}, {"in", sizes_.name(in, attention && writes)}};
    if (writes) linear["out"] = "hidden_size";
    if (!writes && in == hidden) linear["in"] = "hidden_size";
    if (has(name + ".bias")) linear["bias"] = "true";
    if (names_router(name)) linear["router"] = true;
    linears_.push_back(linear);
    if (writes) {
      writes_.push_back(name);
      (attention ? attention_out_ : mlp_out_).push_back(name);
    } else if (in == hidden) {
      (attention ? attention_in_ : names_router(name) ? routers_ : mlp_in_).push_back(name);
    }
  }

  // Norms and what else there is: biases belong to a weight.
  void add_other(const Tensor& tensor) {
    const std::string name = stem(tensor.name);
    const bool weight = tensor.name.ends_with(".weight"), bias = tensor.name.ends_with(".bias");
    if (weight && tensor.shape.size() == 2) return;
    if (bias && has(name + ".weight")) return;
    if (!weight || tensor.shape.size() != 1) {
      Json shape = Json::array();
      for (const int64_t size : tensor.shape) shape.push_back(sizes_.name(size));
      parameters_.push_back({{"name", tensor.name}, {"shape", shape}});
      return;
    }
    Json norm = {{"name", name}, {"size", sizes_.name(tensor.shape[0])}};
    if (tensor.shape[0] == sizes_.hidden() && name.find('.') == std::string::npos) norm["reads"] = reads_of(name);
    if (has(name + ".bias")) norm.update({{"bias", "true"}, {"layer_norm", true}});
    norms_.push_back(norm);
  }

  // The only norm of a layer scales everything.
  std::vector<std::string> reads_of(const std::string& norm) const {
    std::vector<std::string> reads, mlp = mlp_in_;
    mlp.insert(mlp.end(), routers_.begin(), routers_.end());
    const auto streams = std::ranges::count_if(layers_.tensors, [&](const Tensor& t) {
      return t.shape == std::vector{sizes_.hidden()} && t.name.ends_with(".weight") &&
             stem(t.name).find('.') == std::string::npos;
    });
    if (streams == 1 || !names_mlp_norm(norm)) reads = attention_in_;
    if (streams == 1 || names_mlp_norm(norm)) reads.insert(reads.end(), mlp.begin(), mlp.end());
    return reads;
  }

  void add_outside() {
    row_["roots"] = {layers_.root};
    row_["layers"] = layers_.name;
    Json embeddings = Json::array(), norms = Json::array();
    std::string head = "lm_head";
    for (const CheckpointTensor& tensor : checkpoint_.tensors()) {
      const TensorInfo& info = tensor.info;
      const std::string name = stem(info.name);
      const bool inside = info.name.starts_with(layers_.root), weight = info.name.ends_with(".weight");
      const std::string below = inside ? name.substr(layers_.root.size()) : name;
      if (!weight || split_layer(info.name)) continue;
      if (info.shape.size() == 1 && inside)
        norms.push_back({{"name", below}, {"reads", {"lm_head"}}});
      else if (info.shape.size() == 2 && names_embedding(below))
        embeddings.push_back({{"name", below}, {"rows", sizes_.name(info.shape[0])}});
      else if (info.shape.size() == 2)
        head = name;
      if (info.shape.size() == 1 && inside && checkpoint_.find(name + ".bias"))
        norms.back().update({{"bias", "true"}, {"layer_norm", true}});
    }
    for (Json& norm : norms) norm["reads"] = {head};
    row_["embeddings"] = embeddings;
    row_["outer_norms"] = norms;
    row_["head"] = head;
  }

  // A fused projection ends with the values, most likely.
  void add_attention() {
    Json attention = Json::object();
    for (const std::string& name : attention_in_)
      for (const std::string& key : attention_keys(name)) attention[key] = name;
    if (!attention_out_.empty()) attention["output"] = attention_out_.front();
    const std::string value = attention.value("value", "");
    if (!value.empty() && attention.value("query", "") == value) {
      row_["parts"] = {{{"linear", value},
                        {"name", "v_proj"},
                        {"begin", "(num_attention_heads + num_key_value_heads) * head_dim"},
                        {"size", "num_key_value_heads * head_dim"},
                        {"period", ""}}};
      attention["value"] = value + ".v_proj";
    }
    row_["attention"] = attention;
  }

  const Checkpoint& checkpoint_;
  Layers layers_;
  SizeNames sizes_;
  Json row_ = Json::object(), linears_ = Json::array(), norms_ = Json::array(), parameters_ = Json::array();
  std::vector<std::string> attention_in_, attention_out_, mlp_in_, mlp_out_, routers_, writes_;
};

}  // namespace

std::string draft_architecture(const Checkpoint& checkpoint, const std::string& name) {
  return Draft(checkpoint, name).run();
}

}  // namespace spinor
