#include "spinor/transform/inverse.h"

#include <gtest/gtest.h>

#include "spinor/linalg/convert.h"
#include "spinor/plan/execute.h"
#include "spinor/plan/save.h"
#include "spinor/plan/testing.h"
#include "spinor/transform/apply.h"
#include "spinor/transform/fold.h"
#include "spinor/transform/spinquant.h"

namespace spinor::inverse_test {
namespace {

std::vector<double> numbers(const Checkpoint& checkpoint, const std::string& name) {
  const CheckpointTensor& tensor = checkpoint.at(name);
  std::vector<double> x(static_cast<size_t>(tensor.info.elements()));
  load(tensor.info.dtype, checkpoint.read(tensor).data(), x.data(), std::ssize(x));
  return x;
}

TEST(Inverse, ARotatedModelBecomesTheOneWithFoldedNorms) {
  testing::TemporaryDirectory directory;
  const Model source = Model::describe(Checkpoint::open(testing::write_model(directory / "source", {.biases = true})));
  for (const char* type : {"hadamard", "random-hadamard", "random-orthogonal"}) {
    const TransformConfig config = spinquant(source, {.transform_type = type, .seed = 3});
    RewritePlan folded(source), rotated(source);
    fold_norms(source, folded);
    fold_norms(source, rotated);
    apply(config, source, rotated);
    save(folded, directory / "folded", {.dtype = DType::F64, .force = true});
    save(rotated, directory / "rotated", {.dtype = DType::F64, .force = true});

    const Model model = Model::describe(Checkpoint::open(directory / "rotated"));
    RewritePlan back(model);
    undo({{.config = config}}, model, back);
    save(back, directory / "back", {.force = true});
    const Checkpoint expected = Checkpoint::open(directory / "folded"), found = Checkpoint::open(directory / "back");
    for (const CheckpointTensor& tensor : expected.tensors()) {
      const std::vector<double> x = numbers(expected, tensor.info.name), y = numbers(found, tensor.info.name);
      ASSERT_EQ(x.size(), y.size());
      for (size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(x[i], y[i], 1e-13) << tensor.info.name << " " << type;
    }
  }
}

TEST(Inverse, LeavesOutGroupsThatRunOnline) {
  TransformConfig config;
  config.config_groups = {
      {"R1", {.type = "hadamard", .apply = {{{"a"}, TransformLocation::weight_output}}}},
      {"R4",
       {.type = "hadamard",
        .apply = {{{"b"}, TransformLocation::input}, {{"b"}, TransformLocation::weight_input, true}}}},
      {"R2", {.type = "hadamard", .apply = {{{"c"}, TransformLocation::weight_input, true}}}}};
  const TransformConfig inverse = inverse_of(config);
  ASSERT_EQ(inverse.config_groups.size(), 2u);
  EXPECT_EQ(inverse.config_groups[0].first, "R2");
  EXPECT_FALSE(inverse.config_groups[0].second.apply[0].inverse);
  EXPECT_EQ(inverse.config_groups[1].first, "R1");
  EXPECT_TRUE(inverse.config_groups[1].second.apply[0].inverse);
}

}  // namespace
}  // namespace spinor::inverse_test
