#include "spinor/model/layer_kinds.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "spinor/base/list.h"
#include "spinor/model/changed_testing.h"
#include "spinor/model/model.h"

namespace spinor::layer_kinds_test {
namespace {

using testing::Changed;

using Change = std::function<void(Architecture&)>;

LinearRow& linear(Architecture& row, const std::string& name) {
  return *std::ranges::find(row.linears, name, &LinearRow::name);
}

void any_mlp(Architecture& row) {
  linear(row, "mlp.gate_proj").out = linear(row, "mlp.up_proj").out = linear(row, "mlp.down_proj").in = "any";
  row.parameters = {{"mlp.table", {"any", "hidden_size"}}, {"mlp.bins", {"any"}}};
}

Changed with_any() {
  Changed changed("AnyForCausalLM", "tied with biases", any_mlp);
  for (TensorInfo& tensor : changed.model.tensors)
    for (int64_t& size : tensor.shape)
      if (size == 40 && tensor.name.starts_with("model.layers.1.")) size = 56;
  const int64_t hidden = changed.model.config["hidden_size"];
  for (const char* layer : {"model.layers.0.", "model.layers.1."}) {
    changed.model.tensors.push_back(
        {.name = std::string(layer) + "mlp.table", .dtype = DType::BF16, .shape = {3, hidden}});
    changed.model.tensors.push_back(
        {.name = std::string(layer) + "mlp.bins", .dtype = DType::BF16, .shape = {2, 1, 5}});
  }
  return changed;
}

TEST(LayerKinds, ASizeOfAnyIsTheTensors) {
  const Model model = with_any().describe();
  EXPECT_EQ(model.find("model.layers.0.mlp.up_proj")->shape.out, 40);
  EXPECT_EQ(model.find("model.layers.1.mlp.up_proj")->shape.out, 56);
  EXPECT_EQ(model.find("model.layers.1.mlp.down_proj")->shape.in, 56);
  EXPECT_EQ(model.find("model.layers.1.mlp.down_proj")->shape.out, model.hidden_size());
}

TEST(LayerKinds, TheOtherSizeAndTheBiasOfAnyMustFit) {
  Changed changed = with_any();
  changed.model.tensor("model.layers.1.mlp.up_proj.bias").shape = {40};
  EXPECT_EQ(changed.error().substr(0, 72), "model.layers.1.mlp.up_proj.bias: has shape (40), but config.json says (5");
  changed = with_any();
  changed.model.tensor("model.layers.1.mlp.up_proj.weight").shape[1] += 8;
  EXPECT_TRUE(changed.error().starts_with("model.layers.1.mlp.up_proj.weight: has shape (56, ")) << changed.error();
  changed = with_any();
  changed.model.tensor("model.layers.0.mlp.table").shape[1] += 8;
  EXPECT_TRUE(changed.error().starts_with("model.layers.0.mlp.table: has shape (3, ")) << changed.error();
}

// Its layers have an attention, or a mixer.
void mixed(Architecture& row) {
  std::vector<std::string> attention;
  for (const char* name : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"}) {
    linear(row, name).when = "present";
    attention.emplace_back(name);
  }
  row.linears.push_back({"mixer.in", "any", "hidden_size", "", "present"});
  row.linears.push_back({"mixer.out", "hidden_size", "any", "", "present"});
  row.parameters = {{"mixer.decay", {"any"}, "present"}};
  row.norms.front().reads.emplace_back("mixer.in");
  row.writes.emplace_back("mixer.out");
  row.layer_kinds = {attention, {"mixer.in", "mixer.out", "mixer.decay"}};
}

Changed with_mixer() {
  Changed changed("MixedForCausalLM", "plain", mixed);
  const int64_t hidden = changed.model.config["hidden_size"];
  std::erase_if(changed.model.tensors,
                [](const TensorInfo& tensor) { return tensor.name.starts_with("model.layers.1.self_attn."); });
  const std::string prefix = "model.layers.1.mixer.";
  changed.model.tensors.push_back({.name = prefix + "in.weight", .dtype = DType::BF16, .shape = {10, hidden}});
  changed.model.tensors.push_back({.name = prefix + "out.weight", .dtype = DType::BF16, .shape = {hidden, 7}});
  changed.model.tensors.push_back({.name = prefix + "decay", .dtype = DType::BF16, .shape = {7}});
  return changed;
}

TEST(LayerKinds, ALayerHasTheModulesThatAreThere) {
  const Model model = with_mixer().describe();
  const auto has = [](const std::vector<const Module*>& modules, const std::string& name) {
    return std::ranges::any_of(modules, [&](const Module* module) { return module->name == name; });
  };
  ASSERT_EQ(model.value_outputs().size(), 1);
  EXPECT_EQ(model.value_outputs()[0].value->name, "model.layers.0.self_attn.v_proj");
  EXPECT_TRUE(has(model.stream().readers(), "model.layers.1.mixer.in"));
  EXPECT_TRUE(has(model.stream().writers, "model.layers.1.mixer.out"));
  EXPECT_EQ(model.find("model.layers.1.self_attn.q_proj"), nullptr);
  EXPECT_EQ(model.role("model.layers.1.mixer.decay"), Role::parameter);
}

TEST(LayerKinds, ALayerOfNoKindNamesWhatIsMissing) {
  Changed changed = with_mixer();
  changed.model.remove("model.layers.0.self_attn.v_proj.weight");
  EXPECT_EQ(
      changed.error(),
      "model.layers.0: has self_attn.k_proj, self_attn.o_proj, self_attn.q_proj, but not self_attn.v_proj: no kind "
      "of layer that the row lists; the checkpoint is not complete, or layer_kinds of the row is not");
  changed = with_mixer();
  std::erase_if(changed.model.tensors,
                [](const TensorInfo& tensor) { return tensor.name.find("mixer") != std::string::npos; });
  EXPECT_TRUE(
      changed.error().starts_with("model.layers.1: has none of the modules that kinds of layers differ in, but "))
      << changed.error();
  changed = with_mixer();
  TensorInfo more = changed.model.tensor("model.layers.1.mixer.in.weight");
  more.name = "model.layers.0.mixer.in.weight";
  changed.model.tensors.push_back(more);
  EXPECT_NE(changed.error().find("; mixer.in belongs to no such layer"), std::string::npos) << changed.error();
}

// Its second layer has an attention with other names and sizes.
void two_attentions(Architecture& row) {
  for (const char* name : {"q_proj", "k_proj", "v_proj", "o_proj"}) {
    LinearRow& one = linear(row, std::string("self_attn.") + name);
    one.when = "L == 0";
    LinearRow other = one;
    other.name = std::string("cross.") + name;
    other.when = "L == 1";
    (other.out == "hidden_size" ? other.in : other.out) = "2 * " + (other.out == "hidden_size" ? other.in : other.out);
    row.linears.push_back(other);
  }
  for (const char* name : {"cross.q_proj", "cross.k_proj", "cross.v_proj"}) row.norms.front().reads.emplace_back(name);
  row.writes.emplace_back("cross.o_proj");
  row.other_attentions = {{.query = "cross.q_proj",
                           .key = "cross.k_proj",
                           .value = "cross.v_proj",
                           .output = "cross.o_proj",
                           .head_dim = "2 * head_dim"}};
}

Changed with_two_attentions(const std::string& name = "TwoForCausalLM", const Change& change = two_attentions) {
  Changed changed(name, "plain", change);
  for (TensorInfo& tensor : changed.model.tensors)
    if (const size_t at = tensor.name.find("layers.1.self_attn."); at != std::string::npos) {
      tensor.name.replace(at, 19, "layers.1.cross.");
      tensor.shape[tensor.name.ends_with("o_proj.weight") ? 1 : 0] *= 2;
    }
  return changed;
}

TEST(LayerKinds, EachAttentionHasItsValuesAndItsHeads) {
  const Model model = with_two_attentions().describe();
  ASSERT_EQ(model.value_outputs().size(), 2);
  const ValueOutput &first = model.value_outputs()[0], &second = model.value_outputs()[1];
  EXPECT_EQ(first.value->name, "model.layers.0.self_attn.v_proj");
  EXPECT_EQ(second.value->name, "model.layers.1.cross.v_proj");
  EXPECT_EQ(second.output->name, "model.layers.1.cross.o_proj");
  EXPECT_EQ(second.head_dim, 2 * first.head_dim);
  EXPECT_EQ(model.value_block(), first.head_dim);
  EXPECT_EQ(model.find("model.layers.1.cross.k_proj")->role, Role::attn_k);
}

// Of two heads of values, each has a linear.
void two_values(Architecture& row) {
  LinearRow& value = linear(row, "self_attn.v_proj");
  value.out = "num_key_value_heads * head_dim / 2";
  LinearRow more = value;
  more.name = "self_attn.w_proj";
  row.linears.push_back(more);
  row.norms.front().reads.emplace_back(more.name);
  row.attention.more_values = {more.name};
}

TEST(LayerKinds, ValuesMayLieInSeveralLinears) {
  Changed changed("SeveralForCausalLM", "plain", two_values);
  std::vector<TensorInfo> more;
  for (TensorInfo& tensor : changed.model.tensors)
    if (const size_t at = tensor.name.find("v_proj"); at != std::string::npos) {
      tensor.shape[0] /= 2;
      more.push_back(tensor);
      more.back().name.replace(at, 6, "w_proj");
    }
  append(changed.model.tensors, more);
  const Model model = changed.describe();
  ASSERT_EQ(model.value_outputs().size(), 4);
  EXPECT_EQ(model.value_outputs()[0].value->name, "model.layers.0.self_attn.v_proj");
  EXPECT_EQ(model.value_outputs()[1].value->name, "model.layers.0.self_attn.w_proj");
  EXPECT_EQ(model.value_outputs()[0].output, model.value_outputs()[1].output);
  EXPECT_EQ(model.value_outputs()[1].value->role, Role::attn_v);
}

TEST(LayerKinds, OneOutputBelongsToOneAttention) {
  const auto twice = [](Architecture& row) {
    two_attentions(row);
    row.other_attentions.push_back(row.other_attentions.front());
  };
  const std::string error = with_two_attentions("TwiceForCausalLM", twice).error();
  EXPECT_EQ(error,
            "model.layers.1.cross.o_proj: is the output of two attentions of the row; their `when` must tell their "
            "layers apart");
  const auto apart = [](Architecture& row) {
    two_attentions(row);
    row.other_attentions.push_back(row.other_attentions.front());
    row.other_attentions.back().when = "L == 0";
  };
  EXPECT_EQ(with_two_attentions("ApartForCausalLM", apart).describe().value_outputs().size(), 2);
}

}  // namespace
}  // namespace spinor::layer_kinds_test
