#include "spinor/transform/auto_operation.h"

#include <gtest/gtest.h>

#include "spinor/io/testing.h"
#include "spinor/transform/factory.h"
#include "tests/golden/golden.h"

namespace spinor::auto_operation_test {
namespace {

// Not orthogonal, so that a matrix taken for its transpose or inverse is noticed.
Rotation some_matrix(int64_t n) {
  Random random(7);
  return find_transform_type("random-matrix").make({.size = n}, random);
}

Matrix<double> times(const Matrix<double>& a, const Matrix<double>& b) {
  Matrix<double> c(a.rows, b.cols);
  for (int64_t i = 0; i < a.rows; ++i)
    for (int64_t k = 0; k < a.cols; ++k)
      for (int64_t j = 0; j < b.cols; ++j) c(i, j) += a(i, k) * b(k, j);
  return c;
}

Matrix<double> transposed(const Matrix<double>& a) {
  Matrix<double> t(a.cols, a.rows);
  for (int64_t i = 0; i < a.rows; ++i)
    for (int64_t j = 0; j < a.cols; ++j) t(j, i) = a(i, j);
  return t;
}

Matrix<double> repeated(const Matrix<double>& r, int64_t side) {
  Matrix<double> blocks(side, side);
  for (int64_t i = 0; i < side; ++i)
    for (int64_t j = i / r.rows * r.rows; j < (i / r.rows + 1) * r.rows; ++j) blocks(i, j) = r(i % r.rows, j % r.cols);
  return blocks;
}

Matrix<double> some_rows(int64_t cols) {
  Matrix<double> x(3, cols);
  for (size_t i = 0; i < x.data.size(); ++i) x.data[i] = static_cast<double>(i * i % 17) - 8;
  return x;
}

class Sides : public ::testing::Test {
 protected:
  const Model model = golden::model("transforms/llama");
  RewritePlan plan{model};

  Matrix<double> source(const Module& m) const { return golden::matrix(model.checkpoint(), *m.weight); }
  Matrix<double> edited(const std::string& tensor) const {
    return golden::evaluate(plan, golden::tensor(plan, tensor));
  }
  // m(x), of the source or of the plan.
  Matrix<double> output(const Module& m, const Matrix<double>& x, bool rotated) const {
    Matrix<double> y = times(x, transposed(rotated ? edited(weight_name(m)) : source(m)));
    if (!m.bias) return y;
    const auto b = rotated ? edited(m.bias->info.name) : golden::matrix(model.checkpoint(), *m.bias);
    for (int64_t i = 0; i < y.rows; ++i)
      for (int64_t j = 0; j < y.cols; ++j) y(i, j) += b(0, j);
    return y;
  }
};

// m'(x) = m(x) R, with the bias.
TEST_F(Sides, RotatesTheOutputOfALinear) {
  const Module& m = *model.find("model.layers.0.self_attn.k_proj");
  ASSERT_NE(m.bias, nullptr);
  for (const int64_t n : {m.shape.out, m.shape.out / 2}) {
    plan = RewritePlan(model);
    const Rotation r = some_matrix(n);
    AutoOperation::rotate_output(plan, m, r, "R");
    const Matrix<double> x = some_rows(m.shape.in);
    EXPECT_LT(golden::distance(output(m, x, true), times(output(m, x, false), repeated(r.matrix(), m.shape.out))),
              1e-11);  // sums of a few dozen numbers below 100
  }
}

// m'(x) = m(x R); the bias stays.
TEST_F(Sides, RotatesTheInputOfALinear) {
  const Module& m = *model.find("model.layers.0.self_attn.k_proj");
  for (const int64_t n : {m.shape.in, m.shape.in / 2}) {
    plan = RewritePlan(model);
    const Rotation r = some_matrix(n);
    AutoOperation::rotate_input(plan, m, r, "R");
    const Matrix<double> x = some_rows(m.shape.in);
    EXPECT_LT(golden::distance(output(m, x, true), output(m, times(x, repeated(r.matrix(), m.shape.in)), false)),
              1e-11);
  }
}

// An embedding of the token t is row t of E: E R, and R E.
TEST_F(Sides, RotatesBothSidesOfAnEmbedding) {
  const Module& m = *model.embedding();
  const Rotation r = some_matrix(m.shape.in);
  AutoOperation::rotate_output(plan, m, r, "R");
  EXPECT_LT(golden::distance(edited(weight_name(m)), times(source(m), r.matrix())), 1e-11);

  plan = RewritePlan(model);
  const Rotation left = some_matrix(m.shape.out);
  AutoOperation::rotate_input(plan, m, left, "R");
  EXPECT_LT(golden::distance(edited(weight_name(m)), times(left.matrix(), source(m))), 1e-11);
}

TEST_F(Sides, AWriterAndAReaderCancel) {
  const Module &writer = *model.embedding(), &reader = *model.find("model.layers.0.mlp.up_proj");
  const Rotation r = some_matrix(model.hidden_size());
  AutoOperation::rotate_output(plan, writer, r, "R");
  AutoOperation::rotate_input(plan, reader, r.inverse(), "R^-1");
  const auto before = times(source(writer), transposed(source(reader)));
  const auto after = times(edited(weight_name(writer)), transposed(edited(weight_name(reader))));
  EXPECT_LT(golden::distance(before, after), 1e-8);  // 1e-16 times the condition of a random matrix
}

TEST_F(Sides, LabelsSayWhatIsTransposed) {
  const Module& m = *model.find("model.layers.0.self_attn.o_proj");
  const Rotation r = some_matrix(m.shape.out);
  AutoOperation::rotate_output(plan, m, r, "R1");
  const TensorPlan& tensor = golden::tensor(plan, weight_name(m));
  EXPECT_EQ(text_of(tensor.edits.back(), m.shape.out, m.shape.in), "R1' W");
  EXPECT_EQ(transposed_label("R1'"), "R1");
}

TEST_F(Sides, RefusesASizeThatDoesNotDivide) {
  const Module& m = *model.find("model.layers.0.self_attn.q_proj");
  const auto refusal =
      testing::message_of([&] { AutoOperation::rotate_input(plan, m, some_matrix(m.shape.in + 1), "R1"); });
  EXPECT_EQ(refusal,
            fmt::format("model.layers.0.self_attn.q_proj.weight: R1 of size {} does not divide its side of {}; "
                        "rotate it by a matrix of this size, or by blocks that divide it",
                        m.shape.in + 1, m.shape.in));
}

TEST_F(Sides, RefusesClassesThatNobodyKnows) {
  const Module& norm = *model.find("model.norm");
  EXPECT_EQ(testing::message_of([&] { AutoOperation::rotate_input(plan, norm, some_matrix(2), "R1"); }),
            "model.norm: nobody has said what rotate_input does to a LlamaRMSNorm; say it with "
            "AutoOperation::register_operation");
}

TEST_F(Sides, TakesTheNameOfAModule) {
  const Rotation r = some_matrix(model.hidden_size());
  AutoOperation::rotate_output(plan, "model.embed_tokens", r, "R");
  AutoOperation::rotate_input(plan, "lm_head", r.inverse(), "R^-1");
  EXPECT_EQ(golden::tensor(plan, "model.embed_tokens.weight").edits.size(), 1u);
  EXPECT_EQ(golden::tensor(plan, "lm_head.weight").edits.size(), 1u);
  EXPECT_EQ(testing::message_of([&] { AutoOperation::rotate_input(plan, "lm_heat", r, "R"); }),
            "lm_heat: is not a module of the model; spinor inspect lists the tensors of its modules");
}

// The class comes before its parents, and those before the kind.
TEST_F(Sides, UsersRegisterTheirClasses) {
  std::vector<std::string> called;
  const auto note = [&](std::string name) {
    return [&called, name](RewritePlan&, const Module& m, const Rotation&, const std::string&) {
      called.push_back(name + " " + m.name);
    };
  };
  AutoOperation::register_operation(ModuleSide::output, "ParentOfTheTest", note("parent"));
  AutoOperation::register_operation(ModuleSide::output, "ChildOfTheTest", note("child"));
  Module m = *model.find("lm_head");
  const Rotation r = some_matrix(2);
  m.classes = {"ChildOfTheTest", "ParentOfTheTest", "Linear", "Module"};
  AutoOperation::rotate_output(plan, m, r, "R");
  m.classes = {"Unheard", "ParentOfTheTest", "Module"};
  AutoOperation::rotate_output(plan, m, r, "R");
  EXPECT_EQ(called, (std::vector<std::string>{"child lm_head", "parent lm_head"}));
  EXPECT_THROW(AutoOperation::register_operation(ModuleSide::output, "Linear", note("x")), Error);
  EXPECT_THROW(AutoOperation::register_operation(ModuleSide::output, "", note("x")), Error);
}

}  // namespace
}  // namespace spinor::auto_operation_test
