#include "spinor/transform/factory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "spinor/base/error.h"
#include "spinor/linalg/orthogonal.h"
#include "tests/golden/golden.h"

namespace spinor::factory_test {
namespace {

Rotation make(std::string_view type, TransformRequest request, uint64_t seed = 42) {
  Random random(seed);
  return find_transform_type(type).make(request, random);
}

std::string refusal(std::string_view type, TransformRequest request) {
  try {
    make(type, request);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(TransformTypes, SayRightlyWhetherTheyAreOrthogonal) {
  for (const char* name : {"hadamard", "random-hadamard", "random-matrix", "random-orthogonal"}) {
    const Rotation r = make(name, {.size = 16});
    EXPECT_EQ(r.size(), 16);
    EXPECT_EQ(r.orthogonal(), find_transform_type(name).orthogonal) << name;
    EXPECT_EQ(orthogonality_error(r.matrix().view()) < 1e-12, r.orthogonal()) << name;
  }
}

TEST(TransformTypes, DrawSignsBeforeThePermutation) {
  Random random(42);
  std::vector<int8_t> signs = random.signs(24);
  std::vector<int64_t> permutation = random.permutation(24);
  const Rotation expected = Rotation::hadamard(Hadamard::of_order(24), signs, permutation);
  EXPECT_EQ(golden::distance(make("random-hadamard", {.size = 24, .randomize = true}).matrix(), expected.matrix()), 0);
}

TEST(TransformTypes, HadamardDrawsNothingButAPermutation) {
  Random random(42);
  const Rotation expected = Rotation::hadamard(Hadamard::sylvester(8), {}, random.permutation(8));
  EXPECT_EQ(golden::distance(make("hadamard", {.size = 8, .randomize = true}).matrix(), expected.matrix()), 0);
  EXPECT_EQ(golden::distance(make("hadamard", {.size = 8}, 1).matrix(), make("hadamard", {.size = 8}, 2).matrix()), 0);
}

TEST(TransformTypes, RandomMatrixDrawsRowAfterRow) {
  Random wide(42), narrow(42);
  const Matrix<double> m = make("random-matrix", {.size = 4}).matrix();
  const Matrix<double> single = make("random-matrix", {.size = 4, .single_precision = true}).matrix();
  for (int64_t i = 0; i < 4; ++i) {
    for (int64_t j = 0; j < 4; ++j) {
      EXPECT_EQ(m(i, j), wide.uniform_double());
      EXPECT_EQ(single(i, j), narrow.uniform_float());
    }
  }
}

double distance_from_fixing_ones(const Rotation& r) {
  const Matrix<double> m = r.matrix();
  double worst = 0;
  for (int64_t i = 0; i < m.rows; ++i) {
    double sum = -1;
    for (int64_t j = 0; j < m.cols; ++j) sum += m(i, j);
    worst = std::max(worst, std::abs(sum));
  }
  return worst;
}

TEST(TransformTypes, FixTheOnesVectorWhereAsked) {
  for (const char* name : {"hadamard", "random-hadamard", "random-orthogonal"}) {
    for (const int64_t n : {1, 2, 7, 12, 60, 64, 128, 509, 768}) {
      const Rotation r = make(name, {.size = n, .fixes_ones = true});
      EXPECT_EQ(r.size(), n);
      EXPECT_TRUE(r.orthogonal());
      EXPECT_EQ(r.is_dense(), std::string_view(name) == "random-orthogonal" || n % 4 == 3 || n == 509) << name << n;
      EXPECT_LT(orthogonality_error(r.matrix().view()), 1e-13) << name << n;
      EXPECT_LT(distance_from_fixing_ones(r), 1e-13) << name << n;
    }
  }
  for (const char* name : {"hadamard", "random-hadamard"})  // a permutation moves nothing away from the ones vector
    EXPECT_LT(distance_from_fixing_ones(make(name, {.size = 48, .randomize = true, .fixes_ones = true})), 1e-13);
}

TEST(TransformTypes, FixTheOnesVectorBySeed) {
  const auto matrix = [](const char* name, bool randomize, uint64_t seed) {
    return make(name, {.size = 48, .randomize = randomize, .fixes_ones = true}, seed).matrix();
  };
  for (const char* name : {"random-hadamard", "random-orthogonal"}) {
    EXPECT_EQ(golden::distance(matrix(name, false, 1), matrix(name, false, 1)), 0);
    EXPECT_GT(golden::distance(matrix(name, false, 1), matrix(name, false, 2)), 0.1);
  }
  EXPECT_EQ(golden::distance(matrix("hadamard", false, 1), matrix("hadamard", false, 2)), 0);
  EXPECT_GT(golden::distance(matrix("hadamard", true, 1), matrix("hadamard", true, 2)), 0.1);
  EXPECT_EQ(refusal("random-matrix", {.size = 16, .fixes_ones = true}),
            "random-matrix: is not orthogonal, so it does not commute with a LayerNorm; "
            "use --transform-type auto by command, transform_type: auto in a recipe");
}

TEST(TransformTypes, AreFoundAsThePeerFindsThem) {
  EXPECT_EQ(find_transform_type("Random_Hadamard").name, "random-hadamard");
  EXPECT_EQ(find_transform_type("RANDOM MATRIX").name, "random-matrix");
  EXPECT_THROW(find_transform_type("randomhadamards-"), Error);
}

TEST(TransformTypes, SayWhatToUseInstead) {
  EXPECT_EQ(refusal("hadamard", {.size = 576}),
            "hadamard: has no matrix of size 576, which is not a power of two; "
            "use --transform-type auto by command, transform_type: auto in a recipe; or blocks: --block-size 64, "
            "transform_block_size: 64");
  EXPECT_EQ(refusal("hadamard", {.size = 9}),
            "hadamard: has no matrix of size 9, which is not a power of two; "
            "use --transform-type auto by command, transform_type: auto in a recipe");
  EXPECT_EQ(refusal("random-hadamard", {.size = 94}),
            "random-hadamard: has no matrix of size 94: no Hadamard matrix of that order is known; "
            "use --transform-type auto by command, transform_type: auto in a recipe");
  EXPECT_EQ(refusal("random-hadamrd", {.size = 16}),
            "random-hadamrd: is not a transform type; did you mean 'random-hadamard'?");
  EXPECT_EQ(refusal("random-orthogonal", {.size = 16, .randomize = true}),
            "random-orthogonal: randomize has no meaning for a matrix that is random in every direction; leave out "
            "--randomize by command, randomize in a recipe");
}

TEST(TransformTypes, CanBeAdded) {
  const auto identity = [](const TransformRequest& request, Random&) {
    Matrix<double> m(request.size, request.size);
    for (int64_t i = 0; i < request.size; ++i) m(i, i) = 1;
    return Rotation::dense(std::move(m), true);
  };
  register_transform_type({"Test_Identity", true, identity});
  EXPECT_EQ(make("test-identity", {.size = 3}).matrix()(2, 2), 1);
  EXPECT_THROW(register_transform_type({"test identity", true, identity}), Error);
  EXPECT_THROW(register_transform_type({"hadamard", true, identity}), Error);
  EXPECT_THROW(register_transform_type({"nothing", true, nullptr}), Error);
}

}  // namespace
}  // namespace spinor::factory_test
