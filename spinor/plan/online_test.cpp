#include "spinor/plan/online.h"

#include <gtest/gtest.h>

#include <cstring>

#include "spinor/linalg/convert.h"
#include "spinor/linalg/random.h"
#include "spinor/plan/testing.h"

namespace spinor::online_test {
namespace {

class Online : public ::testing::Test {
 protected:
  testing::TemporaryDirectory directory_;
  Model model_ = Model::describe(Checkpoint::open(testing::write_model(directory_ / "model")));
  RewritePlan plan_{model_};

  static Rotation hadamard(int64_t n, bool randomize = false) {
    Random random(3);
    std::vector<int8_t> signs = random.signs(n);
    return Rotation::hadamard(Hadamard::of_order(n), std::move(signs),
                              randomize ? random.permutation(n) : std::vector<int64_t>{});
  }
  static Rotation dense(int64_t n, bool orthogonal) {
    Random random(4);
    Matrix<double> m(n, n);
    for (double& entry : m.data) entry = random.uniform_double();
    return Rotation::dense(std::move(m), orthogonal);
  }
  void add(const std::string& module, const char* group, TransformLocation location, const Rotation& r) {
    plan_.add_online({module.empty() ? module : "model.layers." + module, group, location, r});
  }
  std::vector<std::string> names() const {
    std::vector<std::string> list;
    for (const OnlineTensor& tensor : online_tensors(plan_, DType::BF16)) list.push_back(tensor.info.name);
    return list;
  }
  // Rows put together from reads of `step` rows at a time.
  static Matrix<double> read(const OnlineTensor& tensor, int64_t step) {
    const int64_t n = tensor.r.size();
    Matrix<double> m(n, n);
    for (int64_t first = 0; first < n; first += step) {
      const int64_t rows = std::min(step, n - first);
      const std::vector<std::byte> bytes = online_rows(tensor, first, rows);
      load(tensor.info.dtype, bytes.data(), m.view().row(first), rows * n);
    }
    return m;
  }
};

TEST_F(Online, AHadamardMatrixIsStoredAsSignsInTheTypeOfTheModel) {
  const Rotation r = hadamard(48);
  add("0.mlp.down_proj", "R4", TransformLocation::input, r.transposed());
  for (const DType dtype : {DType::BF16, DType::F16, DType::F32, DType::F64}) {
    const auto tensors = online_tensors(plan_, dtype);
    ASSERT_EQ(tensors.size(), 1u);
    EXPECT_EQ(tensors[0].info.name, "model.layers.0.mlp.down_proj.R4_input.weight");
    EXPECT_EQ(tensors[0].info.dtype, dtype);
    EXPECT_EQ(tensors[0].info.shape, (std::vector<int64_t>{48, 48}));
    const Matrix<double> stored = read(tensors[0], 7), matrix = r.matrix();
    for (int64_t i = 0; i < 48; ++i)
      for (int64_t j = 0; j < 48; ++j) {
        EXPECT_EQ(std::abs(stored(i, j)), 1);
        EXPECT_EQ(stored(i, j) > 0, matrix(i, j) > 0) << "the transpose is made by who reads `inverse: true`";
      }
  }
}

TEST_F(Online, APermutationStandsBesideTheMatrixThatItPermutes) {
  const Rotation r = hadamard(24, true);
  add("1.mlp.up_proj", "v", TransformLocation::input, r);
  const auto tensors = online_tensors(plan_, DType::BF16);
  ASSERT_EQ(tensors.size(), 2u);
  EXPECT_EQ(tensors[1].info.name, "model.layers.1.mlp.up_proj.v_input.perm");
  EXPECT_EQ(tensors[1].info.dtype, DType::I64);
  std::vector<int64_t> p(24);
  const std::vector<std::byte> head = online_rows(tensors[1], 0, 10), tail = online_rows(tensors[1], 10, 14);
  std::memcpy(p.data(), head.data(), head.size());
  std::memcpy(p.data() + 10, tail.data(), tail.size());
  const Matrix<double> stored = read(tensors[0], 24), matrix = r.matrix();
  for (size_t i = 0; i < 24; ++i)
    for (size_t j = 0; j < 24; ++j)
      EXPECT_EQ(stored(p[i], p[j]) > 0, matrix(static_cast<int64_t>(i), static_cast<int64_t>(j)) > 0);
}

TEST_F(Online, ADenseMatrixIsStoredAsItActsInFloat32AtLeast) {
  for (const bool orthogonal : {false, true}) {
    plan_ = RewritePlan(model_);
    const Rotation r = dense(8, orthogonal);
    add("0.mlp.up_proj", "v", TransformLocation::input, r);
    add("0.mlp.up_proj", "v", TransformLocation::output, r.inverse());
    const auto tensors = online_tensors(plan_, DType::BF16);
    ASSERT_EQ(tensors.size(), 2u) << "a matrix and its inverse are two";
    for (size_t t = 0; t < 2; ++t) {
      EXPECT_EQ(tensors[t].info.dtype, DType::F32);
      const Matrix<double> stored = read(tensors[t], 3);
      const Rotation acting = t == 0 ? r : r.inverse();
      // Row by row what a unit vector becomes.
      Matrix<double> x(8, 8);
      for (int64_t i = 0; i < 8; ++i) x(i, i) = 1;
      std::vector<double> scratch;
      acting.multiply_right(x.view(), scratch);
      for (size_t i = 0; i < x.data.size(); ++i) EXPECT_EQ(stored.data[i], static_cast<float>(x.data[i]));
    }
    EXPECT_EQ(online_tensors(plan_, DType::F64)[0].info.dtype, DType::F64);
  }
}

TEST_F(Online, ASharedMatrixStandsOnceUnderTheFirstModuleThatHasIt) {
  const Rotation r = hadamard(32), other = hadamard(32);
  add("1.mlp.up_proj", "v", TransformLocation::input, r);
  add("0.mlp.gate_proj", "v", TransformLocation::input, r);
  add("0.mlp.up_proj", "v", TransformLocation::output, r.transposed());
  add("0.self_attn.q_proj", "u", TransformLocation::input, r);
  add("0.self_attn.q_proj", "v", TransformLocation::input, other);
  EXPECT_EQ(names(), (std::vector<std::string>{"model.layers.0.self_attn.q_proj.u_input.weight",
                                               "model.layers.0.self_attn.q_proj.v_input.weight",
                                               "model.layers.0.mlp.gate_proj.v_input.weight"}))
      << "groups share nothing, equal matrices that were made apart neither";
}

// As torch's named_modules(): a transform is the last child of its module.
TEST_F(Online, WhatIsInsideAModuleComesBeforeTheTransformsOfTheModule) {
  const Rotation r = hadamard(8);
  add("0.self_attn", "R3", TransformLocation::q_attn, r);
  add("0.self_attn", "R3", TransformLocation::k_cache, r);
  EXPECT_EQ(names(), std::vector<std::string>{"model.layers.0.self_attn.R3_q_attn.weight"});
  add("0.self_attn.o_proj", "R3", TransformLocation::input, r);
  EXPECT_EQ(names(), std::vector<std::string>{"model.layers.0.self_attn.o_proj.R3_input.weight"});
  add("0.mlp.gate_proj", "R3", TransformLocation::input, r);
  EXPECT_EQ(names(), std::vector<std::string>{"model.layers.0.self_attn.o_proj.R3_input.weight"});
}

TEST_F(Online, TheConfigSaysHowTheMatricesAreStored) {
  const auto scheme = [](const char* type) {
    return Json{{"type", type}, {"apply", Json::array()}, {"precision", "torch.float64"}};
  };
  plan_.set_transform_config({{"config_groups",
                               {{"R1", scheme("random-orthogonal")},
                                {"R2", scheme("hadamard")},
                                {"R4", scheme("hadamard")},
                                {"v", scheme("random-orthogonal")},
                                {"mine", scheme("my-hadamard")}}}});
  EXPECT_FALSE(plan_.config().contains("quantization_config")) << "nothing is online, so the model is a plain one";
  add("0.mlp.down_proj", "R4", TransformLocation::input, hadamard(48));
  add("0.mlp.up_proj", "v", TransformLocation::input, dense(32, true));
  add("0.mlp.up_proj", "mine", TransformLocation::output, hadamard(48));
  const Json config = plan_.config(DType::BF16)["quantization_config"];
  EXPECT_EQ(config["quant_method"], "compressed-tensors");
  const Json& groups = config["transform_config"]["config_groups"];
  const auto says = [&](const char* group, const char* type, const char* precision) {
    EXPECT_EQ(groups[group]["type"], type) << group;
    EXPECT_EQ(groups[group]["precision"], precision) << group;
  };
  says("R1", "random-matrix", "torch.float64");  // a type that compressed-tensors does not know would be an error there
  says("R2", "hadamard", "torch.float64");
  says("R4", "hadamard", "torch.bfloat16");
  says("v", "random-matrix", "torch.float32");
  says("mine", "random-hadamard", "torch.bfloat16");
}

}  // namespace
}  // namespace spinor::online_test
