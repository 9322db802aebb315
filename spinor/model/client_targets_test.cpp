#include "spinor/model/client_targets.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "spinor/model/exact_targets.h"
#include "spinor/model/fused_linears.h"
#include "tests/golden/golden.h"

namespace spinor {
namespace {

using enum TargetReader;

QuantizationScheme bits(int bits, std::vector<std::string> targets) {
  return {.targets = std::move(targets), .weights = QuantizationArgs{.num_bits = bits}};
}

struct Row {
  std::vector<QuantizationScheme> schemes;
  std::vector<std::string> ignore;
  std::string vllm, sglang;  // the module and the problem; empty: read alike
};

std::string misreading(const QuantizationConfig& config, const Model& model, TargetReader reader) {
  const auto found = find_misreading(config, quantized_modules(config, model), model, reader);
  return found ? found->module->name + " " + found->problem : "";
}

TEST(ClientTargets, AreReadAsVllmAndSglangReadThem) {
  const std::string first = "model.layers.0.self_attn.q_proj ", one_scheme = "and reads all of them by one scheme";
  const std::string attention = first + "fuses q_proj, k_proj, v_proj, ";
  const std::string no_target = "finds no target in config.json for it, and reads it as not quantized";
  const std::string others = "takes the first target in config.json that matches, which is another one's";
  const std::string by_class = "knows the embedding by its class alone in some families, and no target is that";
  const Row rows[] = {
      {{bits(4, {"Linear"})}, {"lm_head"}, "", ""},
      {{bits(4, {"Linear"})}, {}, "lm_head " + no_target, "lm_head " + no_target},
      {{bits(4, {"Linear", "lm_head"})}, {}, "", ""},
      {{bits(4, {"re:.*proj"})}, {}, "", ""},
      {{bits(4, {"Linear"})},
       {"lm_head", "re:.*k_proj"},
       attention + "and fails where only some of them are in ignore",
       attention + "and fails where only some of them are in ignore"},
      {{bits(4, {"re:.*[qk]_proj"}), bits(8, {"re:.*v_proj"})}, {}, attention + one_scheme, attention + one_scheme},
      // "qkv_proj" ends as v_proj does, so that a regex of the one means the other to both.
      {{bits(4, {"re:.*self_attn\\.[qkv]_proj"}), bits(8, {"re:.*o_proj"})}, {}, "", ""},
      {{bits(4, {"re:.*o_proj"}), bits(8, {"model.layers.1.self_attn.o_proj"})},
       {},
       "model.layers.1.self_attn.o_proj " + others,
       "model.layers.1.self_attn.o_proj " + others},
      {{bits(8, {"model.layers.1.self_attn.o_proj"}), bits(4, {"re:.*o_proj"})}, {}, "", ""},
      // A class hides the parts of what is fused from SGLang.
      {{bits(4, {"Linear"}), bits(8, {"re:.*[qkv]_proj$"})}, {"lm_head"}, "", ""},
      {{bits(4, {"Linear"}), bits(8, {"re:.*self_attn\\.[qkv]_proj$"})}, {"lm_head"}, "", attention + one_scheme},
      {{bits(4, {"model.embed_tokens"})}, {}, "model.embed_tokens " + by_class, ""},
      {{bits(4, {"Embedding"})}, {}, "", ""},
  };
  const Model model = golden::model("transforms/llama");
  for (const Row& row : rows) {
    QuantizationConfig config{.ignore = row.ignore};
    for (const QuantizationScheme& scheme : row.schemes) config.config_groups.emplace_back("group", scheme);
    SCOPED_TRACE(row.schemes.front().targets.front() + ", " + row.vllm);
    EXPECT_EQ(misreading(config, model, vllm), row.vllm);
    EXPECT_EQ(misreading(config, model, sglang), row.sglang);
  }
}

// Whatever the schemes, as long as what is fused has one.
TEST(ClientTargets, ThatAreExactAreReadAlike) {
  const Model model = golden::model("transforms/llama");
  std::mt19937 engine(7);
  for (int draw = 0; draw < 50; ++draw) {
    QuantizationConfig config;
    for (const int b : {2, 4, 8}) config.config_groups.emplace_back("group", bits(b, {"none"}));
    std::map<std::string, size_t> groups;  // of what is read as one
    std::vector<QuantizedModule> planned;
    for (const Module& module : model.modules()) {
      if (module.kind != ModuleKind::linear && module.kind != ModuleKind::embedding) continue;
      const std::string whole = fused_name(module.name);
      const size_t group = groups.emplace(whole.empty() ? module.name : whole, engine() % 3).first->second;
      planned.push_back({&module, &config.config_groups[group]});
    }
    const QuantizationConfig exact = with_exact_targets(config, planned, model);
    EXPECT_FALSE(find_misreading(exact, planned, model, vllm));
    EXPECT_FALSE(find_misreading(exact, planned, model, sglang));
    for (const QuantizedModule& one : planned) {
      const auto* found = find_group(exact, *one.module);
      ASSERT_TRUE(found) << one.module->name;
      EXPECT_EQ(found->second.weights->num_bits, one.group->second.weights->num_bits) << one.module->name;
    }
  }
}

}  // namespace
}  // namespace spinor
