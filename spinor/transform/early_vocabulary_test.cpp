#include "spinor/transform/early_vocabulary.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "spinor/base/yaml.h"
#include "spinor/plan/testing.h"
#include "spinor/transform/net_product.h"
#include "spinor/transform/paired.h"

namespace spinor::early_vocabulary_test {
namespace {

using enum TransformLocation;
using testing::message_of;

TransformConfig parse(const std::string& text) {
  const Document document = parse_yaml(text, "recipe.yaml");
  return read_fields<TransformConfig>(document.value, {"transform_config", document.subject, &document.lines});
}

// One group of one entry, whose keys stand on line 5.
std::string one(const std::string& entry, const std::string& creation = "{size: 8}") {
  return "transform_groups:\n  u:\n    transform_type: hadamard\n    groups:\n      - {" + entry +
         "}\n    transform_creation_args: " + creation + "\n";
}

// The example of compressed-tensors' pull request 277, QuIP on the weights of Llama-3.2-1B, as YAML.
constexpr const char* kLlama1B = R"(
transform_groups:
  u_transform_k_v_proj:
    transform_type: random-hadamard
    groups:
      - targets: ["re:.*.attn.k_proj$", "re:.*.attn.v_proj$"]
        module_targets: [weight]
    transform_creation_args: {size: 512}
  u_transform_q_o_down_proj:
    transform_type: random-hadamard
    groups:
      - targets: ["re:.*.attn.q_proj$", "re:.*.attn.o_proj$", "re:.*.mlp.down_proj$"]
        module_targets: [weight]
    transform_creation_args: {size: 2048}
  u_transform_gate_up_proj:
    transform_type: random-hadamard
    groups:
      - targets: ["re:.*.mlp.gate_proj$", "re:.*.mlp.up_proj$"]
        module_targets: [weight]
    transform_creation_args: {size: 8192}
  v1:
    transform_type: random-hadamard
    groups:
      - targets: [Linear]
        module_targets: [weight]
        ignore: ["re:.*.mlp.down_proj$", lm_head]
        call_args: {transpose: true, first: false}
    transform_creation_args: {size: 2048}
  v2:
    transform_type: random-hadamard
    groups:
      - targets: ["re:.*.mlp.down_proj$"]
        module_targets: [weight]
        call_args: {transpose: true, first: false}
    transform_creation_args: {size: 8192}
)";

// A Llama of one layer with the sizes of the 1B model. Its weights are a hole in a file: nothing here reads them.
Model llama_of_1b(const std::filesystem::path& directory) {
  const testing::TinyModel sizes{.hidden = 2048,
                                 .layers = 1,
                                 .heads = 32,
                                 .key_value_heads = 8,
                                 .head_dim = 64,
                                 .intermediate = 8192,
                                 .vocabulary = 40};
  std::filesystem::create_directories(directory);
  write_text(directory / "config.json", testing::config_of(sizes).dump());
  std::vector<TensorInfo> infos;
  int64_t bytes = 0;
  for (const testing::TinyTensor& tensor : testing::tensors_of(sizes)) {
    infos.push_back({.name = tensor.name, .dtype = DType::F32, .shape = tensor.shape});
    bytes += infos.back().elements() * 4;
  }
  const std::string header = make_safetensors_header(infos, {});
  write_text(directory / "model.safetensors", header);
  std::filesystem::resize_file(directory / "model.safetensors", header.size() + static_cast<size_t>(bytes));
  return Model::describe(Checkpoint::open(directory));
}

TEST(EarlyVocabulary, TheExampleOfItsAuthorsGivesEveryLinearOneUAndOneV) {
  const testing::TemporaryDirectory directory;
  const Model model = llama_of_1b(directory / "model");
  RewritePlan plan(model);
  apply_paired(parse(kLlama1B), model, plan);
  std::map<std::string, std::map<TransformLocation, int>> online;
  for (const OnlineTransform& one : plan.online()) ++online[one.module][one.location];
  int linears = 0;
  for (const Module& module : model.modules()) {
    if (module.kind != ModuleKind::linear || module.name == "lm_head") continue;
    ++linears;
    EXPECT_EQ(online[module.name][TransformLocation::input], 1) << module.name;
    EXPECT_EQ(online[module.name][TransformLocation::output], 1) << module.name;
    const NetProducts net(plan);
    // U W V^T, each over the whole side.
    const Product left = net.rows_of_weight(module);
    ASSERT_EQ(left.size(), 1u) << module.name;
    EXPECT_EQ(std::get<Rotation>(left[0]).size(), module.weight->info.rows());
    const Product right = net.online(module, TransformLocation::input);
    EXPECT_EQ(std::get<Rotation>(right.at(0)).size(), module.weight->info.cols());
  }
  EXPECT_EQ(linears, 7);
  EXPECT_EQ(online.size(), 7u) << "nothing but the linears of the layer";
}

TEST(EarlyVocabulary, AMatrixActsFromEitherSideAndIsUndoneOnline) {
  const std::string weight = "targets: Linear, module_targets: [weight]";
  struct Row {
    std::string call;
    TransformLocation weight;
    bool inverse;
    TransformLocation online;
  };
  const Row rows[] = {
      {"", weight_output, true, output},
      {", call_args: {}", weight_output, true, output},
      {", call_args: {first: true, transpose: true}", weight_output, false, output},
      {", call_args: {first: false, transpose: true}", weight_input, false, input},
      {", call_args: {first: false}", weight_input, true, input},
  };
  for (const Row& row : rows) {
    const TransformScheme scheme = parse(one(weight + row.call)).config_groups.at(0).second;
    ASSERT_EQ(scheme.apply.size(), 2u);
    EXPECT_EQ(scheme.apply[0].location, row.weight) << row.call;
    EXPECT_EQ(scheme.apply[0].inverse, row.inverse) << row.call;
    EXPECT_EQ(scheme.apply[1].location, row.online) << row.call;
    EXPECT_EQ(scheme.apply[1].inverse, !row.inverse) << row.call;
  }
}

// M W and W M^T of the words, against the edits.
TEST(EarlyVocabulary, DoesToAWeightWhatItsWordsSay) {
  const testing::TemporaryDirectory directory;
  const Model model = Model::describe(Checkpoint::open(testing::write_model(directory / "model")));
  const Module& query = *model.find("model.layers.0.self_attn.q_proj");
  const auto edit_of = [&](const std::string& call) {
    RewritePlan plan(model);
    const std::string entry = "targets: " + query.name + ", module_targets: [weight], call_args: {" + call + "}";
    std::string text = one(entry, "{}");
    text.replace(text.find("hadamard"), 8, "random-hadamard");  // not symmetric, so that M and M^T differ
    apply_paired(parse(text), model, plan);
    const auto tensor = std::ranges::find(plan.tensors(), query.name + ".weight", &TensorPlan::name);
    return tensor->edits.at(0);
  };
  const Matrix<double> m = std::get<MultiplyLeft>(edit_of("first: true, transpose: false")).r.matrix();
  const auto equals = [&](const Matrix<double>& x, bool transposed) {
    for (int64_t i = 0; i < m.rows; ++i)
      for (int64_t j = 0; j < m.cols; ++j)
        if (x(i, j) != (transposed ? m(j, i) : m(i, j))) return false;
    return true;
  };
  EXPECT_FALSE(equals(m, true));
  EXPECT_TRUE(equals(std::get<MultiplyLeft>(edit_of("first: true, transpose: true")).r.matrix(), true));
  EXPECT_TRUE(equals(std::get<MultiplyRight>(edit_of("first: false, transpose: true")).r.matrix(), true));
  EXPECT_TRUE(equals(std::get<MultiplyRight>(edit_of("first: false, transpose: false")).r.matrix(), false));
}

TEST(EarlyVocabulary, ActivationsAreTheOnlineLocations) {
  const TransformScheme scheme =
      parse(one("targets: [a, b], module_targets: [input_activations, output_activations], ignore: c, call_args: "
                "{transpose: true}"))
          .config_groups.at(0)
          .second;
  ASSERT_EQ(scheme.apply.size(), 2u);
  EXPECT_EQ(write_fields(scheme.apply[0]),
            Json::parse(R"({"targets": ["a", "b"], "location": "input", "inverse": true, "ignore": ["c"]})"));
  EXPECT_EQ(scheme.apply[1].location, output);
}

TEST(EarlyVocabulary, IsWrittenInTheWordsOfToday) {
  const std::string entry = "targets: Linear, module_targets: [weight]";
  EXPECT_EQ(to_json(parse(one(entry))), Json::parse(R"({"config_groups": {"u": {"type": "hadamard", "apply": [
                {"targets": ["Linear"], "location": "weight_output", "inverse": true, "ignore": []},
                {"targets": ["Linear"], "location": "output", "inverse": false, "ignore": []}],
                "randomize": false, "requires_grad": false, "head_dim": 8, "precision": "torch.float32"}}})"));
  EXPECT_EQ(parse(one(entry, "{}")).config_groups[0].second.head_dim, std::nullopt);
  EXPECT_EQ(parse(one(entry, "null")).config_groups[0].second.head_dim, std::nullopt);
}

TEST(EarlyVocabulary, RefusesByLineAndName) {
  const std::string where = "transform_config.transform_groups.u";
  const std::string entry = "targets: Linear, module_targets: [weight]";
  const std::pair<std::string, std::string> rows[] = {
      {one("targets: Linear"), "recipe.yaml:5: missing key 'module_targets' in " + where + ".groups[0]"},
      {one("module_targets: [weight]"), "recipe.yaml:5: missing key 'targets' in " + where + ".groups[0]"},
      {one("targets: Linear, module_targets: [weights]"),
       "recipe.yaml:5: " + where +
           ".groups[0].module_targets[0] must be one of weight, input_activations, "
           "output_activations, not 'weights'; did you mean 'weight'?"},
      {one(entry + ", location: input"), "recipe.yaml:5: unknown key 'location' in " + where +
                                             ".groups[0]; known: targets, module_targets, ignore, call_args"},
      {one(entry + ", call_args: {firs: true}"),
       "recipe.yaml:5: unknown key 'firs' in " + where + ".groups[0].call_args; did you mean 'first'?"},
      {one("targets: Linear, module_targets: [weight, output_activations]"),
       "recipe.yaml:5: " + where +
           ".groups[0]: what acts on a weight is undone on its activations already; leave "
           "weight alone, or the others"},
      {one("targets: Linear, module_targets: [input_activations], call_args: {first: false}"),
       "recipe.yaml:5: " + where + ".groups[0]: activations are always multiplied from the right; leave `first` out"},
      {one(entry, "{size: 0}"), "recipe.yaml:6: " + where + ": size must be 1 or more"},
      {one(entry, "{sizes: 8}"),
       "recipe.yaml:6: unknown key 'sizes' in " + where + ".transform_creation_args; did you mean 'size'?"},
      {one(entry) + "config_groups: {}\n",
       "recipe.yaml:7: transform_config has both config_groups and "
       "transform_groups; keep one of them"},
      {"transform_groups: {u: {type: hadamard, groups: []}}",
       "recipe.yaml:1: unknown key 'type' in " + where + "; known: transform_type, groups, transform_creation_args"},
  };
  for (const auto& [text, message] : rows) EXPECT_EQ(message_of([&] { parse(text); }), message) << text;
}

TEST(EarlyVocabulary, ASizeThatDoesNotDivideIsRefusedWithTheTensor) {
  const testing::TemporaryDirectory directory;
  const Model model = Model::describe(Checkpoint::open(testing::write_model(directory / "model")));
  RewritePlan plan(model);
  const TransformConfig config = parse(one("targets: 're:.*q_proj$', module_targets: [weight]", "{size: 64}"));
  EXPECT_EQ(message_of([&] { apply_paired(config, model, plan); }),
            "model.layers.0.self_attn.q_proj.weight: u: blocks of 64 do not divide its weight_output of 32; use "
            "--block-size 32 by command, transform_block_size (or head_dim): 32 in a recipe");
}

}  // namespace
}  // namespace spinor::early_vocabulary_test
