// For tests: files of tests/golden, and what a plan makes of a tensor.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <sstream>
#include <string>

#include "spinor/base/error.h"
#include "spinor/base/json.h"
#include "spinor/io/safetensors.h"
#include "spinor/plan/plan.h"

namespace spinor::golden {

inline std::string path(const std::string& name) {
  return std::string(SPINOR_SOURCE_DIR) + "/tests/golden/" + name;
}

inline Json json(const std::string& name) {
  std::ostringstream text;
  text << std::ifstream(path(name)).rdbuf();
  return parse_json(text.str(), name);
}

inline Model model(const std::string& name, ModelOptions options = {}) {
  return Model::describe(Checkpoint::open(path(name)), options);
}

// The same tensors under the name of an architecture that nobody knows.
inline Model unknown_model(const std::string& name) {
  const std::filesystem::path directory =
      ::testing::TempDir() + fmt::format("/unknown_{}_{}", std::filesystem::path(name).filename().string(), getpid());
  std::filesystem::create_directories(directory);
  std::filesystem::copy(path(name), directory,
                        std::filesystem::copy_options::recursive | std::filesystem::copy_options::overwrite_existing);
  Json config = json(name + "/config.json");
  config["architectures"] = {"UnheardOfForCausalLM"};
  std::ofstream(directory / "config.json") << config;
  return Model::describe(Checkpoint::open(directory), {.accept_unknown = true});
}

// An F64 tensor as a matrix; a vector is one row.
inline Matrix<double> matrix(const Checkpoint& checkpoint, const CheckpointTensor& tensor) {
  const std::vector<std::byte> bytes = checkpoint.read(tensor);
  Matrix<double> m(tensor.info.rows(), tensor.info.cols());
  if (tensor.info.dtype != DType::F64 || bytes.size() != m.data.size() * sizeof(double))
    throw Error(tensor.info.name, "is not F64");
  std::memcpy(m.data.data(), bytes.data(), bytes.size());
  return m;
}

// All tensors of a safetensors file of F64.
inline std::map<std::string, Matrix<double>> matrices(const std::string& name) {
  std::ostringstream text;
  text << std::ifstream(path(name), std::ios::binary).rdbuf();
  const std::string bytes = text.str();
  const SafetensorsHeader header = parse_safetensors_header(std::as_bytes(std::span(bytes)), std::ssize(bytes), name);
  std::map<std::string, Matrix<double>> found;
  for (const TensorInfo& info : header.tensors) {
    Matrix<double> m(info.rows(), info.cols());
    if (info.dtype != DType::F64) throw Error(info.name, "is not F64");
    std::memcpy(m.data.data(), bytes.data() + info.begin, m.data.size() * sizeof(double));
    found.emplace(info.name, std::move(m));
  }
  return found;
}

// The largest difference of two matrices of one shape; infinite for others.
inline double distance(const Matrix<double>& a, const Matrix<double>& b) {
  if (a.rows != b.rows || a.cols != b.cols) return std::numeric_limits<double>::infinity();
  double largest = 0;
  for (size_t i = 0; i < a.data.size(); ++i) largest = std::max(largest, std::abs(a.data[i] - b.data[i]));
  return largest;
}

inline double largest(const Matrix<double>& a) {
  return distance(a, Matrix<double>(a.rows, a.cols));
}

// Edits one after the other, on the whole tensor, in double.
struct Evaluate {
  const Checkpoint& checkpoint;
  Matrix<double>& w;
  std::vector<double> scratch = {};

  void operator()(const FoldNorm& edit) {
    const Matrix<double> g = matrix(checkpoint, checkpoint.at(edit.norm));
    for (int64_t i = 0; i < w.rows; ++i)
      for (int64_t j = 0; j < w.cols; ++j) w(i, j) *= edit.offset + g(0, j);
  }
  void operator()(const FoldNormBias&) { throw Error("FoldNormBias", "no peer folds biases of norms"); }
  void operator()(const FoldNormWithBias&) { throw Error("FoldNormWithBias", "no peer folds biases of norms"); }
  void operator()(const FillLevel&) { throw Error("FillLevel", "no peer folds biases of norms"); }
  void operator()(const CenterRows&) {
    for (int64_t i = 0; i < w.rows; ++i) {
      double mean = 0;
      for (int64_t j = 0; j < w.cols; ++j) mean += w(i, j) / static_cast<double>(w.cols);
      for (int64_t j = 0; j < w.cols; ++j) w(i, j) -= mean;
    }
  }
  void operator()(const MultiplyRight& edit) { edit.r.multiply_right(w.view(), scratch); }
  void operator()(const MultiplyLeft& edit) { edit.r.multiply_left(w.view(), scratch); }
  void operator()(const Scale&) { throw Error("Scale", "no peer has exact scales"); }
  void operator()(const Fill& edit) { w.data.assign(w.data.size(), edit.value); }
  void operator()(const Quantize&) { throw Error("Quantize", "makes codes, no matrix"); }
  void operator()(const QuantizeDequantize&) { throw Error("QuantizeDequantize", "is not evaluated in double"); }
};

inline Matrix<double> evaluate(const RewritePlan& plan, const TensorPlan& tensor) {
  const Checkpoint& checkpoint = plan.model().checkpoint();
  Matrix<double> w = matrix(checkpoint, *tensor.source);
  Evaluate step{checkpoint, w};
  for (const Edit& edit : tensor.edits) std::visit(step, edit);
  return w;
}

inline const TensorPlan& tensor(const RewritePlan& plan, std::string_view name) {
  for (const TensorPlan& one : plan.tensors())
    if (one.name == name) return one;
  throw Error(std::string(name), "is not in the plan");
}

}  // namespace spinor::golden
