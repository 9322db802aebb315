// A tiny model whose norms stand for LayerNorms with biases. For tests only.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "spinor/linalg/convert.h"
#include "spinor/plan/execute.h"
#include "spinor/plan/testing.h"

namespace spinor::testing {

// No tiny model has norms with biases; any vector of the right length may stand for one.
inline const std::string kNorm = "model.layers.0.input_layernorm", kBeta = "model.layers.0.post_attention_layernorm";
inline const std::string kFinalBeta = "model.layers.1.input_layernorm";
inline const std::string kUp = "model.layers.0.mlp.gate_proj", kDown = "model.layers.0.mlp.down_proj";

class NormBiasTest : public ::testing::Test {
 protected:
  testing::TemporaryDirectory directory_;
  Checkpoint checkpoint_ = Checkpoint::open(testing::write_model(directory_ / "model", {.biases = true}));
  Model model_ = Model::describe(checkpoint_);
  RewritePlan plan_{model_};

  const Module& module(const std::string& name) const { return *model_.find(name); }

  const TensorPlan& planned(const std::string& name) const {
    for (const TensorPlan& tensor : plan_.tensors())
      if (tensor.name == name) return tensor;
    throw std::out_of_range(name);
  }

  // The tensor as the checkpoint has it.
  Matrix<double> values(const std::string& name) const {
    const CheckpointTensor& tensor = checkpoint_.at(name);
    Matrix<double> m(tensor.info.rows(), tensor.info.cols());
    load(tensor.info.dtype, checkpoint_.read(tensor).data(), m.data.data(), tensor.info.elements());
    return m;
  }

  // The tensor as the plan makes it.
  template <typename T = double>
  Matrix<double> computed(const std::string& name) const {
    const TensorProgram<T> program(plan_, planned(name), DType::F64);
    typename TensorProgram<T>::Workspace work;
    Matrix<double> result(program.cut().rows, program.cut().cols);
    for (int64_t b = 0; b < program.cut().blocks(); ++b) {
      const Block block = program.cut().block(b);
      program.compute(block, work);
      for (int64_t i = 0; i < block.rows; ++i)
        load(DType::F64, work.output.data() + i * block.cols * 8, &result(block.row + i, block.col), block.cols);
    }
    return result;
  }

  void overwrite(const std::string& name, const std::vector<float>& with) {
    const CheckpointTensor& tensor = checkpoint_.at(name);
    File file = File::create(directory_ / "model" / "model.safetensors", checkpoint_.shards()[0].bytes());
    file.write(tensor.info.begin, std::as_bytes(std::span(with)));
  }

  template <typename T>
  void expect_near(const std::string& name, const Matrix<double>& expected, double tolerance) const {
    const Matrix<double> got = computed<T>(name);
    ASSERT_EQ(got.data.size(), expected.data.size());
    for (size_t i = 0; i < got.data.size(); ++i) ASSERT_NEAR(got.data[i], expected.data[i], tolerance) << i;
  }
};

// x W^T + b, b one row or nothing.
inline Matrix<double> linear(const Matrix<double>& x, const Matrix<double>& w, const Matrix<double>& b = {}) {
  Matrix<double> y(x.rows, w.rows);
  for (int64_t i = 0; i < x.rows; ++i)
    for (int64_t o = 0; o < w.rows; ++o) {
      y(i, o) = b.data.empty() ? 0 : b(0, o);
      for (int64_t j = 0; j < x.cols; ++j) y(i, o) += x(i, j) * w(o, j);
    }
  return y;
}

}  // namespace spinor::testing
