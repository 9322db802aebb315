#include "spinor/transform/quip.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>

#include "spinor/linalg/convert.h"
#include "spinor/plan/online.h"
#include "spinor/transform/apply.h"
#include "tests/golden/golden.h"

namespace spinor::quip_test {
namespace {

QuipOptions options_from(const Json& json) {
  QuipOptions options;
  if (json.contains("rotations")) {
    options.rotations.clear();
    for (const std::string name : json["rotations"])
      options.rotations.push_back(name == "v" || name == "V" ? Quip::v : Quip::u);
  }
  options.transform_type = json.value("transform_type", options.transform_type);
  if (json.contains("targets")) options.targets = {json["targets"]};
  if (json.contains("ignore")) options.ignore = json["ignore"].get<std::vector<std::string>>();
  if (json.contains("transform_block_size")) options.transform_block_size = json["transform_block_size"].get<int64_t>();
  if (json.value("precision", "") == "float32") options.precision = Precision::float32;
  return options;
}

// All of an online tensor, as doubles.
Matrix<double> values(const OnlineTensor& tensor) {
  const int64_t rows = tensor.info.shape.front(), cols = tensor.permutation ? 1 : rows;
  Matrix<double> m(tensor.permutation ? 1 : rows, tensor.permutation ? rows : cols);
  const std::vector<std::byte> bytes = online_rows(tensor, 0, rows);
  if (!tensor.permutation) {
    load(tensor.info.dtype, bytes.data(), m.data.data(), rows * cols);
    return m;
  }
  std::vector<int64_t> permutation(static_cast<size_t>(rows));
  std::memcpy(permutation.data(), bytes.data(), bytes.size());
  std::ranges::copy(permutation, m.data.begin());
  return m;
}

TEST(Quip, MakesTheConfigThatThePeerMakes) {
  for (const Json& row : golden::json("quip/configs.json"))
    EXPECT_EQ(to_json(quip(options_from(row["options"]))).dump(), row["config"].dump()) << row["options"];
}

TEST(Quip, GivesItsSeedAndRandomizeToEveryGroup) {
  const TransformConfig config = quip({.rotations = {Quip::u, Quip::v}, .randomize = true, .seed = 7});
  ASSERT_EQ(config.config_groups.size(), 2u);
  EXPECT_EQ(config.config_groups[0].first, "v");
  for (const auto& [name, scheme] : config.config_groups) {
    EXPECT_EQ(scheme.seed, 7u);
    EXPECT_TRUE(scheme.randomize);
  }
}

// QuIP v, u and both, in blocks, randomized, of random matrices; R3 and R4; a matrix shared by linears and attentions.
// 1e-9: the inverse of a random matrix is computed by another LU than torch's (condition about 1e3).
TEST(Quip, TensorsOnDiskAreThoseThatThePeerSaves) {
  const Model model = golden::model("transforms/llama");
  const auto expected = golden::matrices("quip/online.safetensors");
  const Json rows = golden::json("quip/online.json");
  size_t compared = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    SCOPED_TRACE(rows[i]["config"].dump());
    const std::string key = std::to_string(i) + ":";
    RewritePlan plan(model);
    apply(transform_config_from_json(rows[i]["config"], "golden"), model, plan);
    std::set<std::string> names;
    for (const OnlineTensor& tensor : online_tensors(plan, DType::F64)) {
      const Json& peer = rows[i]["tensors"].at(tensor.info.name);
      EXPECT_EQ("torch." + std::string(info(tensor.info.dtype).torch), peer["dtype"]) << tensor.info.name;
      EXPECT_EQ(tensor.info.shape, peer["shape"].get<std::vector<int64_t>>()) << tensor.info.name;
      const Matrix<double>& matrix = expected.at(key + tensor.info.name);
      EXPECT_LE(golden::distance(values(tensor), matrix), 1e-9 * golden::largest(matrix)) << tensor.info.name;
      EXPECT_TRUE(names.insert(tensor.info.name).second) << tensor.info.name;
      ++compared;
    }
    EXPECT_EQ(names.size(), rows[i]["tensors"].size());
    for (const TensorPlan& tensor : plan.tensors()) {
      const auto found = expected.find(key + tensor.name);
      ASSERT_EQ(found == expected.end(), tensor.edits.empty()) << tensor.name;
      if (found == expected.end()) continue;
      EXPECT_LE(golden::distance(golden::evaluate(plan, tensor), found->second), 1e-9 * golden::largest(found->second))
          << tensor.name;
      ++compared;
    }
  }
  EXPECT_EQ(compared, expected.size());
}

}  // namespace
}  // namespace spinor::quip_test
