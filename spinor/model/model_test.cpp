#include "spinor/model/model.h"

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <set>

#include "spinor/family/model_config.h"
#include "spinor/model/testing.h"

namespace spinor::model_test {
namespace {

using testing::ArchitectureCase;
using testing::message_of;
using testing::read_architecture_case;
using testing::read_architecture_cases;
using testing::TemporaryDirectory;
using testing::write_checkpoint;

Model describe(const ArchitectureCase& model, ModelOptions options = {}) {
  const TemporaryDirectory directory;
  return Model::describe(write_checkpoint(directory.path(), model), options);
}

// The message of the Error that describing it throws; "" if none.
std::string error_of(const ArchitectureCase& model, ModelOptions options = {}) {
  const TemporaryDirectory directory;
  const Checkpoint checkpoint = write_checkpoint(directory.path(), model);
  return message_of([&] { Model::describe(checkpoint, options); }, directory.path());
}

void expect_text(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "'" << part << "' is not in: " << text;
}

ArchitectureCase llama() {
  return read_architecture_case("llama", "plain");
}
ArchitectureCase tied_llama() {
  return read_architecture_case("llama", "tied with biases");
}

TEST(Model, EveryTensorOfEveryFamilyHasExactlyOneRole) {
  for (const ArchitectureCase& one : read_architecture_cases()) {
    SCOPED_TRACE(one.name);
    const Model model = describe(one);
    std::multiset<std::string> owned;
    for (const Module& module : model.modules()) {
      if (module.weight && module.weight->info.name == module.name + ".weight") owned.insert(module.weight->info.name);
      if (module.bias) owned.insert(module.bias->info.name);
    }
    std::multiset<std::string> all;
    for (const TensorInfo& tensor : one.tensors) {
      all.insert(tensor.name);
      EXPECT_NE(model.role(tensor.name), Role::unknown) << tensor.name;
    }
    EXPECT_EQ(owned, all);
  }
}

TEST(Model, ModulesAndTheirClassesAreTorchs) {
  for (const ArchitectureCase& one : read_architecture_cases()) {
    SCOPED_TRACE(one.name);
    const Model model = describe(one);
    ASSERT_EQ(model.modules().size(), one.modules.size());
    for (size_t i = 0; i < one.modules.size(); ++i) {
      EXPECT_EQ(model.modules()[i].name, one.modules[i].name);
      EXPECT_EQ(model.modules()[i].classes, one.modules[i].classes) << one.modules[i].name;
    }
  }
}

TEST(Model, RolesAreThoseOfTheNames) {
  const std::map<std::string, Role> roles = {{"embed_tokens", Role::embedding},
                                             {"lm_head", Role::head},
                                             {"q_proj", Role::attn_q},
                                             {"k_proj", Role::attn_k},
                                             {"v_proj", Role::attn_v},
                                             {"o_proj", Role::attn_o},
                                             {"gate_proj", Role::mlp_in},
                                             {"up_proj", Role::mlp_in},
                                             {"down_proj", Role::mlp_out},
                                             {"q_norm", Role::qk_norm},
                                             {"k_norm", Role::qk_norm},
                                             {"norm", Role::stream_norm},
                                             {"input_layernorm", Role::stream_norm},
                                             {"post_attention_layernorm", Role::stream_norm}};
  for (const ArchitectureCase& one : read_architecture_cases()) {
    const Model model = describe(one);
    for (const Module& module : model.modules()) {
      const auto found = roles.find(module.name.substr(module.name.rfind('.') + 1));
      EXPECT_EQ(module.role, found == roles.end() ? Role::unknown : found->second) << one.name << " " << module.name;
      EXPECT_EQ(module.layer, module.name.starts_with("model.layers.") ? module.name[13] - '0' : -1) << module.name;
    }
  }
}

TEST(Model, SizesAreThoseOfTheConfig) {
  const Model model = describe(read_architecture_case("llama", "wide odd heads"));
  EXPECT_EQ(model.architecture_name(), "LlamaForCausalLM");
  EXPECT_EQ(model.hidden_size(), 24);
  EXPECT_EQ(model.num_layers(), 2);
  EXPECT_EQ(model.num_heads(), 3);
  EXPECT_EQ(model.num_key_value_heads(), 1);
  EXPECT_EQ(model.head_dim(), 16);
  EXPECT_EQ(model.config().intermediate_size, 40);
  EXPECT_EQ(model.vocabulary_size(), 32);
}

TEST(Model, ATiedHeadIsTheEmbedding) {
  const Model model = describe(tied_llama());
  EXPECT_TRUE(model.tied_head());
  EXPECT_EQ(model.find("lm_head")->weight, model.find("model.embed_tokens")->weight);
  EXPECT_EQ(model.owner("model.embed_tokens.weight"), model.embedding());
  EXPECT_EQ(model.owner("lm_head.weight"), model.head());
  EXPECT_FALSE(describe(llama()).tied_head());
}

TEST(Model, ATiedHeadThatIsInTheFileTooMustEqualTheEmbedding) {
  ArchitectureCase both = tied_llama();
  both.tensors.push_back({.name = "lm_head.weight", .dtype = DType::BF16, .shape = {32, 24}});
  const TemporaryDirectory directory;
  const Model model = Model::describe(write_checkpoint(directory.path(), both));
  EXPECT_TRUE(model.tied_head());
  EXPECT_EQ(model.head()->weight->info.name, "lm_head.weight");
  const Checkpoint unequal = write_checkpoint(directory.path(), both, {{"lm_head.weight", 'x'}});
  EXPECT_EQ(message_of([&] { Model::describe(unequal); }),
            "lm_head.weight: differs from model.embed_tokens.weight although tie_word_embeddings is true; "
            "set it to false in config.json if the head is one of its own, or remove the tensor");
}

TEST(Model, KeysLeftOutMeanWhatTheFamilysConfigClassSays) {
  ArchitectureCase smollm = read_architecture_case("smollm3", "tied");
  smollm.config.erase("tie_word_embeddings");
  EXPECT_TRUE(describe(smollm).tied_head());
  ArchitectureCase plain = llama();
  for (const char* key : {"tie_word_embeddings", "head_dim", "num_key_value_heads", "attention_bias", "mlp_bias"})
    plain.config.erase(key);
  EXPECT_EQ(describe(plain).head_dim(), 6);
  plain.config["head_dim"] = plain.config["num_key_value_heads"] = nullptr;
  EXPECT_EQ(describe(plain).num_key_value_heads(), 4);
  ArchitectureCase qwen = read_architecture_case("qwen3", "plain");
  qwen.config.erase("head_dim");
  expect_text(error_of(qwen), "num_attention_heads 6 x head_dim 128");
}

TEST(Model, NormReadsAreLayerByLayerWithTheHeadLast) {
  const Model model = describe(read_architecture_case("qwen3", "plain"));
  std::vector<std::string> lines;
  for (const NormReads& reads : model.stream().norm_reads) {
    lines.push_back(reads.norm->name + ":");
    for (const Module* linear : reads.linears)
      lines.back().append(" ").append(linear->name.substr(linear->name.rfind('.') + 1));
  }
  EXPECT_EQ(lines, (std::vector<std::string>{"model.layers.0.input_layernorm: q_proj k_proj v_proj",
                                             "model.layers.0.post_attention_layernorm: up_proj gate_proj",
                                             "model.layers.1.input_layernorm: q_proj k_proj v_proj",
                                             "model.layers.1.post_attention_layernorm: up_proj gate_proj",
                                             "model.norm: lm_head"}));
}

TEST(Model, EveryMissingTensorIsNamed) {
  for (const ArchitectureCase& one : read_architecture_cases())
    for (const TensorInfo& tensor : one.tensors) {
      ArchitectureCase without = one;
      without.remove(tensor.name);
      expect_text(error_of(without), tensor.name + ": is missing from the checkpoint");
    }
}

TEST(Model, EveryTensorOfAnotherShapeIsNamed) {
  for (const ArchitectureCase& one : read_architecture_cases())
    for (const TensorInfo& tensor : one.tensors) {
      ArchitectureCase other = one;
      other.tensor(tensor.name).shape.back() += 1;
      expect_text(error_of(other), tensor.name + ": has shape (");
    }
  ArchitectureCase other = read_architecture_case("llama", "wide odd heads");
  other.tensor("model.layers.1.self_attn.k_proj.weight").shape = {24, 16};
  EXPECT_EQ(error_of(other),
            "model.layers.1.self_attn.k_proj.weight: has shape (24, 16), but config.json says (16, 24); "
            "see num_key_value_heads 1 x head_dim 16, hidden_size 24");
}

TEST(Model, ATensorWithoutARoleIsRefused) {
  const std::map<std::string, std::string> reasons = {
      {"model.layers.0.self_attn.q_proj.bias", "config.json and LlamaForCausalLM say that there is no such bias"},
      {"model.layers.0.self_attn.q_proj.lora_A.weight", "merge the adapter into the model first"},
      {"model.layers.2.input_layernorm.weight", "num_hidden_layers 2"},
      {"model.layers.0.pre_feedforward_layernorm.weight", "LlamaForCausalLM has no such tensor"}};
  for (const auto& [name, reason] : reasons) {
    ArchitectureCase more = llama();
    more.tensors.push_back({.name = name, .dtype = DType::BF16, .shape = {24}});
    const std::string text = error_of(more);
    expect_text(text, name + ": is a tensor without a role");
    expect_text(text, reason);
  }
}

TEST(Model, FrequenciesOfOldCheckpointsPassThroughWithoutAModule) {
  const std::string name = "model.layers.0.self_attn.rotary_emb.inv_freq";
  ArchitectureCase old = llama();
  old.tensors.push_back({.name = name, .dtype = DType::F32, .shape = {3}});
  const Model model = describe(old);
  EXPECT_EQ(model.role(name), Role::unknown);
  EXPECT_EQ(model.owner(name), nullptr);
}

TEST(Model, MissingWrongAndContradictoryKeysAreNamed) {
  const auto with = [](const std::function<void(Json&)>& change) {
    ArchitectureCase other = llama();
    change(other.config);
    return error_of(other);
  };
  for (const char* key :
       {"hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size"}) {
    expect_text(with([&](Json& config) { config.erase(key); }), std::string("config.json: has no ") + key);
    for (const Json& value :
         {Json(0), Json(-1), Json(24.0), Json("24"), Json(true), Json(int64_t{1} << 31), Json::array()})
      expect_text(with([&](Json& config) { config[key] = value; }),
                  std::string("config.json: ") + key + " is " + value.dump() + ", not an integer from 1 to 2147483647");
  }
  expect_text(with([](Json& config) { config["num_key_value_heads"] = 3; }),
              "num_attention_heads 4 is not a multiple of num_key_value_heads 3");
  expect_text(with([](Json& config) { config.erase("head_dim"), config["num_attention_heads"] = 20; }),
              "hidden_size 24 is not a multiple of num_attention_heads 20; give head_dim");
  expect_text(with([](Json& config) { config["tie_word_embeddings"] = "yes"; }),
              "tie_word_embeddings is \"yes\", not true or false");
  expect_text(with([](Json& config) { config["architectures"] = "LlamaForCausalLM"; }), "not a list of class names");
  expect_text(with([](Json& config) { config.erase("architectures"); }), "config.json: has no architectures");
  // Two thousand million layers end at the first that is missing.
  expect_text(with([](Json& config) { config["num_hidden_layers"] = 2147483647; }),
              "model.layers.2.self_attn.q_proj.weight: is missing");
}

TEST(Model, AQuantizedSourceIsRefusedByItsMethod) {
  ArchitectureCase quantized = llama();
  quantized.config["quantization_config"] = {{"quant_method", "gptq"}, {"bits", 4}};
  EXPECT_EQ(
      error_of(quantized),
      "config.json: the weights are quantized with gptq, which spinor cannot read; start from the model as it was "
      "before, or dequantize it with the tool that made it");
  quantized.config["quantization_config"] = nullptr;
  EXPECT_EQ(error_of(quantized), "");
}

TEST(Model, AnUnknownArchitectureIsRefused) {
  ArchitectureCase unknown = llama();
  unknown.config["architectures"] = {"NovelForCausalLM"};
  const std::string text = error_of(unknown);
  expect_text(text, "NovelForCausalLM: is not an architecture spinor knows; `spinor inspect` drafts a row for it");
  expect_text(text, "; or give mappings and norm_mappings in a recipe");
}

TEST(Model, OnlyAnArchitectureIsUnsupported) {
  const TemporaryDirectory directory;
  ArchitectureCase unknown = llama(), damaged = llama();
  unknown.config["architectures"] = {"NovelForCausalLM"};
  damaged.config["hidden_size"] = 48;
  EXPECT_THROW(Model::describe(write_checkpoint(directory.path(), unknown)), UnsupportedArchitecture);
  try {
    Model::describe(write_checkpoint(directory.path(), damaged));
    FAIL();
  } catch (const UnsupportedArchitecture&) {
    FAIL() << "it is damaged";
  } catch (const Error&) {
  }
}

TEST(Model, RefusedArchitecturesSayWhyAndAreNotAccepted) {
  std::set<std::string> names;
  for (const RefusedArchitecture& row : refused_architectures())
    for (const std::string& name : row.names) {
      EXPECT_TRUE(names.insert(name).second) << name;
      EXPECT_EQ(find_architecture(name), nullptr) << name;
      ArchitectureCase refused = llama();
      refused.config["architectures"] = {name};
      const std::string text = name + ": is not supported: " + row.reason + "; " + row.instead;
      EXPECT_EQ(error_of(refused), text);
      EXPECT_EQ(error_of(refused, {.accept_unknown = true}), text);
    }
}

}  // namespace
}  // namespace spinor::model_test
