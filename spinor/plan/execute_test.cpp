#include "spinor/plan/execute.h"

#include <gtest/gtest.h>

#include <functional>

#include "spinor/linalg/convert.h"
#include "spinor/linalg/random.h"
#include "spinor/plan/testing.h"

namespace spinor::execute_test {
namespace {

// Dense stand-ins: the products below are then plain loops, written once more.
Rotation random_rotation(int64_t n, uint64_t seed) {
  Random random(seed);
  Matrix<double> m(n, n);
  for (double& v : m.data) v = 2 * random.uniform_double() - 1;
  return Rotation::dense(std::move(m), false);
}

Matrix<double> tensor_values(const Checkpoint& checkpoint, const CheckpointTensor& tensor) {
  Matrix<double> m(tensor.info.rows(), tensor.info.cols());
  const std::vector<std::byte> bytes = checkpoint.read(tensor);
  load(tensor.info.dtype, bytes.data(), m.data.data(), tensor.info.elements());
  return m;
}

Matrix<double> block_right(const Matrix<double>& x, const Matrix<double>& r) {
  Matrix<double> y(x.rows, x.cols);
  for (int64_t i = 0; i < x.rows; ++i)
    for (int64_t j = 0; j < x.cols; ++j)
      for (int64_t k = 0; k < r.rows; ++k) y(i, j) += x(i, j / r.rows * r.rows + k) * r(k, j % r.rows);
  return y;
}

Matrix<double> block_left(const Matrix<double>& x, const Matrix<double>& r) {
  Matrix<double> y(x.rows, x.cols);
  for (int64_t i = 0; i < x.rows; ++i)
    for (int64_t j = 0; j < x.cols; ++j)
      for (int64_t k = 0; k < r.rows; ++k) y(i, j) += r(i % r.rows, k) * x(i / r.rows * r.rows + k, j);
  return y;
}

class Execute : public ::testing::Test {
 protected:
  testing::TemporaryDirectory directory_;
  Checkpoint checkpoint_ = Checkpoint::open(testing::write_model(directory_ / "model"));
  Model model_ = Model::describe(checkpoint_);
  RewritePlan plan_{model_};

  const TensorPlan& planned(const std::string& name) const {
    for (const TensorPlan& tensor : plan_.tensors())
      if (tensor.name == name) return tensor;
    throw std::out_of_range(name);
  }

  template <typename T>
  Matrix<double> run(const std::string& name) const {
    return run<T>(planned(name));
  }
  template <typename T>
  Matrix<double> run(const TensorPlan& tensor) const {
    const TensorProgram<T> program(plan_, tensor, DType::F64);
    typename TensorProgram<T>::Workspace work;
    const Cut& cut = program.cut();
    Matrix<double> result(cut.rows, cut.cols);
    for (int64_t b = 0; b < cut.blocks(); ++b) {
      const Block block = cut.block(b);
      program.compute(block, work);
      for (int64_t i = 0; i < block.rows; ++i)
        load(DType::F64, work.output.data() + i * block.cols * 8, &result(block.row + i, block.col), block.cols);
    }
    return result;
  }

  static void expect_near(const Matrix<double>& a, const Matrix<double>& b, double tolerance) {
    ASSERT_EQ(a.data.size(), b.data.size());
    for (size_t i = 0; i < a.data.size(); ++i) ASSERT_NEAR(a.data[i], b.data[i], tolerance) << "element " << i;
  }
};

TEST_F(Execute, WithoutEditsEveryTensorIsItself) {
  for (const TensorPlan& tensor : plan_.tensors())
    EXPECT_EQ(run<double>(tensor.name).data, tensor_values(checkpoint_, *tensor.source).data) << tensor.name;
}

TEST_F(Execute, EditsHappenInTheirOrder) {
  const std::string name = "model.layers.1.self_attn.v_proj";
  const Rotation r1 = random_rotation(32, 1), r2 = random_rotation(8, 2);
  const Module& value = *model_.find(name);
  plan_.edit_weight(value, FoldNorm{"model.layers.1.input_layernorm.weight", 0.5});
  plan_.edit_weight(value, MultiplyRight{r1, "R1"});
  plan_.edit_weight(value, MultiplyLeft{r2, "R2"});
  Matrix<double> expected = tensor_values(checkpoint_, checkpoint_.at(name + ".weight"));
  const Matrix<double> g = tensor_values(checkpoint_, checkpoint_.at("model.layers.1.input_layernorm.weight"));
  for (int64_t i = 0; i < expected.rows; ++i)
    for (int64_t j = 0; j < expected.cols; ++j) expected(i, j) *= g(0, j) + 0.5;
  expected = block_left(block_right(expected, r1.matrix()), r2.matrix());
  expect_near(run<double>(name + ".weight"), expected, 1e-12);  // sums of 256 products of order 1, in double
  expect_near(run<float>(name + ".weight"), expected, 1e-4);    // the same in float
}

TEST_F(Execute, ANormScalesRowsOrSomeColumnsAndIsUndone) {
  const std::string name = "model.layers.1.self_attn.o_proj", norm = "model.norm.weight";
  const Module& output = *model_.find(name);
  const Matrix<double> w = tensor_values(checkpoint_, checkpoint_.at(name + ".weight")),
                       g = tensor_values(checkpoint_, checkpoint_.at(norm));
  plan_.edit_weight(output, FoldNorm{.norm = norm, .offset = 2, .rows = true});
  plan_.edit_weight(output, FoldNorm{.norm = norm, .offset = 2, .columns = Slice{8, 4, 16}, .inverse = true});
  Matrix<double> expected = w;
  for (int64_t i = 0; i < w.rows; ++i)
    for (int64_t j = 0; j < w.cols; ++j)
      expected(i, j) *= (g(0, i) + 2) / (j % 16 >= 8 && j % 16 < 12 ? g(0, j) + 2 : 1);
  expect_near(run<double>(name + ".weight"), expected, 1e-15);  // two roundings of values below 1
  plan_.edit_weight(output, FoldNorm{.norm = norm, .offset = 2, .rows = true, .inverse = true});
  plan_.edit_weight(output, FoldNorm{.norm = norm, .offset = 2, .columns = Slice{8, 4, 16}});
  expect_near(run<double>(name + ".weight"), w, 1e-15);
}

double factor(int64_t i) {
  return 1 + 0.25 * static_cast<double>(i);
}

std::shared_ptr<const std::vector<double>> factors(int64_t n) {
  std::vector<double> by;
  for (int64_t i = 0; i < n; ++i) by.push_back(factor(i));
  return std::make_shared<const std::vector<double>>(std::move(by));
}

// However a weight lies: rows and columns of W, those of each matrix of a stack, and those of a part.
TEST_F(Execute, AScaleMultipliesRowsAndDividesColumns) {
  struct Case {
    const char* name;
    WeightShape shape;
    Scale edit;
    std::function<double(int64_t, int64_t)> expected;  // of the stored element
  };
  const std::vector<Case> cases = {
      {"rows", {48, 32}, {factors(48), "m"}, [](int64_t i, int64_t) { return factor(i); }},
      {"columns", {48, 32}, {factors(32), "m", true, true}, [](int64_t, int64_t j) { return 1 / factor(j); }},
      {"transposed rows", {32, 48, 1, true}, {factors(32), "m"}, [](int64_t, int64_t j) { return factor(j); }},
      {"transposed columns", {32, 48, 1, true}, {factors(48), "m", true}, [](int64_t i, int64_t) { return factor(i); }},
      {"rows of a stack", {16, 32, 3}, {factors(48), "m"}, [](int64_t i, int64_t) { return factor(i); }},
      {"columns of a stack",
       {16, 32, 3},
       {factors(96), "m", true},
       [](int64_t i, int64_t j) { return factor(i / 16 * 32 + j); }},
      {"transposed rows of a stack",
       {32, 16, 3, true},
       {factors(96), "m"},
       [](int64_t i, int64_t j) { return factor(i / 16 * 32 + j); }},
      {"a stack's bias",
       {1, 32, 48},
       {factors(48 * 32), "m", true},
       [](int64_t i, int64_t j) { return factor(i * 32 + j); }},
      {"a part",
       {48, 32},
       {factors(12), "m", false, false, Slice{1, 2, 8}},
       [](int64_t i, int64_t) { return i % 8 == 1 || i % 8 == 2 ? factor(i / 8 * 2 + i % 8 - 1) : 1; }},
      {"every second row of a transposed stack",
       {32, 16, 3, true},
       {factors(48), "m", false, false, Slice{1, 1, 2}},
       [](int64_t i, int64_t j) { return j % 2 == 1 ? factor(i / 16 * 16 + j / 2) : 1; }}};
  const TensorPlan& stored = planned("model.layers.0.mlp.up_proj.weight");  // 48 rows of 32
  const Matrix<double> w = tensor_values(checkpoint_, *stored.source);
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    TensorPlan tensor = stored;
    tensor.shape = one.shape;
    tensor.edits = {one.edit};
    Matrix<double> expected = w;
    for (int64_t i = 0; i < w.rows; ++i)
      for (int64_t j = 0; j < w.cols; ++j) expected(i, j) *= one.expected(i, j);
    expect_near(run<double>(tensor), expected, 1e-13);  // one rounding of values below 1000
    expect_near(run<float>(tensor), expected, 1e-4);
  }
}

TEST_F(Execute, AScaleThatDoesNotFitNamesTheTensor) {
  const std::string name = "model.layers.0.mlp.up_proj";
  const auto refusal = [&](const Scale& scale) {
    TensorPlan tensor = planned(name + ".weight");
    tensor.edits = {scale};
    return testing::message_of([&] { run<double>(tensor); });
  };
  EXPECT_EQ(refusal({factors(47), "m"}), name + ".weight: scale m has 47 factors, which do not fit its 48 rows");
  EXPECT_EQ(refusal({factors(48), "m", true}),
            name + ".weight: scale m has 48 factors, which do not fit its 32 columns");
  EXPECT_EQ(refusal({std::make_shared<const std::vector<double>>(48, -1.0), "m"}),
            name + ".weight: scale m has a factor that is not positive and finite");
}

TEST_F(Execute, ColumnsAreMixedInPanelsAsInWhole) {
  const std::string name = "model.layers.0.self_attn.o_proj";
  const Rotation r1 = random_rotation(32, 3), r2 = random_rotation(8, 4);
  plan_.edit_weight(*model_.find(name), MultiplyLeft{r1, "R1"});
  plan_.edit_weight(*model_.find(name), MultiplyRight{r2, "R2"});
  const Matrix<double> w = tensor_values(checkpoint_, checkpoint_.at(name + ".weight"));
  expect_near(run<double>(name + ".weight"), block_right(block_left(w, r1.matrix()), r2.matrix()), 1e-12);
}

TEST_F(Execute, FillAndCenterDoWhatTheySay) {
  plan_.edit_weight(*model_.find("model.norm"), Fill{1});
  plan_.edit_weight(*model_.find("model.embed_tokens"), CenterRows{});
  for (const double v : run<double>("model.norm.weight").data) EXPECT_EQ(v, 1);
  const Matrix<double> e = run<double>("model.embed_tokens.weight");
  for (int64_t i = 0; i < e.rows; ++i) {
    double sum = 0;
    for (int64_t j = 0; j < e.cols; ++j) sum += e(i, j);
    EXPECT_NEAR(sum, 0, 1e-14);  // 32 terms of order 0.3 in double
  }
}

TEST_F(Execute, ARotationThatDoesNotFitNamesTheTensor) {
  plan_.edit_weight(*model_.find("model.layers.0.mlp.down_proj"), MultiplyLeft{random_rotation(7, 1), "R1"});
  EXPECT_EQ(testing::message_of([&] { tensor_cut(planned("model.layers.0.mlp.down_proj.weight"), DType::F32); }),
            "model.layers.0.mlp.down_proj.weight: R1 has size 7, which does not divide 32");
}

TEST_F(Execute, ValuesThatAreNotFiniteAreNamed) {
  const CheckpointTensor& tensor = checkpoint_.at("model.layers.1.mlp.up_proj.weight");
  const float bad = NAN;
  File file = File::create(directory_ / "model" / "model.safetensors", checkpoint_.shards()[0].bytes());
  file.write(tensor.info.begin + (5 * 32 + 3) * 4, std::as_bytes(std::span(&bad, 1)));
  EXPECT_EQ(testing::message_of([&] { run<double>("model.layers.1.mlp.up_proj.weight"); }),
            "model.layers.1.mlp.up_proj.weight: is not finite: nan at row 5, column 3; the checkpoint is damaged");
}

TEST_F(Execute, AnOverflowOfTheOutputTypeIsAnError) {
  Matrix<double> huge(32, 32);
  for (int64_t i = 0; i < 32; ++i) huge(i, i) = 1e30;
  plan_.edit_weight(*model_.find("model.layers.0.mlp.up_proj"), MultiplyRight{Rotation::dense(huge, false), "big"});
  const TensorProgram<double> program(plan_, planned("model.layers.0.mlp.up_proj.weight"), DType::F16);
  TensorProgram<double>::Workspace work;
  EXPECT_EQ(
      testing::message_of([&] { program.compute(program.cut().block(0), work); }),
      "model.layers.0.mlp.up_proj.weight: an edited value is too large for F16; ask for a wider type with --dtype "
      "bfloat16 or float32");
}

}  // namespace
}  // namespace spinor::execute_test
