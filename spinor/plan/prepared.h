// What calibration puts into the output before save() computes the rest.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "spinor/io/checkpoint_writer.h"
#include "spinor/plan/plan.h"

namespace spinor {

// From one thread.
class PreparedTensors {
 public:
  PreparedTensors(const RewritePlan& plan, CheckpointWriter& writer, std::optional<DType> asked, DType model_dtype)
      : plan_(plan), writer_(writer), asked_(asked), model_dtype_(model_dtype) {}

  // The type that a weight's numbers, and its scales, are stored in; and that of scales of activations.
  DType dtype(const TensorPlan& tensor) const;
  DType model_dtype() const { return model_dtype_; }

  // The bytes of each of output_tensors(tensor).
  using Bytes = std::vector<std::vector<std::byte>>;
  // What was noted when the weight was written, by this run or an earlier one that was cut off; nothing: it was not.
  std::optional<Json> finished(const TensorPlan& tensor) const;
  Bytes read(const TensorPlan& tensor) const;  // of a finished one
  void write(const TensorPlan& tensor, const Bytes& bytes, Json note);

  // The same for the tensors that calibrated_tensors(activation) lists.
  std::optional<Json> finished(const CalibratedActivation& activation) const;
  void write(const CalibratedActivation& activation, const Bytes& bytes, Json note);

  // Of several ranks: what this one has written is there for the others to read. What any of them has written so, and
  // finished, is finished here, too. Error if another one has failed, of any thread.
  void share() { writer_.share(); }
  void take_over() { writer_.take_over(); }
  void check() const { writer_.check(); }  // before each write(), too

  int64_t bytes_written() const { return bytes_written_; }  // of weights, by this run

  // A small file of the output directory.
  void add_text(std::string_view relative, std::string_view text);

 private:
  std::optional<Json> finished(const std::vector<TensorInfo>& tensors) const;
  void write(const std::vector<TensorInfo>& tensors, const Bytes& bytes, const Json& entry);

  const RewritePlan& plan_;
  CheckpointWriter& writer_;
  std::optional<DType> asked_;
  DType model_dtype_;
  int64_t bytes_written_ = 0;
};

}  // namespace spinor
