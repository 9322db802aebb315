#include "spinor/plan/prepared.h"

#include <utility>

#include "spinor/plan/calibrated.h"
#include "spinor/plan/outputs.h"
#include "spinor/plan/source_digest.h"

namespace spinor {

DType PreparedTensors::dtype(const TensorPlan& tensor) const {
  return output_dtype(tensor, asked_);
}

std::optional<Json> PreparedTensors::finished(const TensorPlan& tensor) const {
  return finished(output_tensors(tensor, dtype(tensor)));
}

// The first tensor is written last: where it is finished, all are.
std::optional<Json> PreparedTensors::finished(const std::vector<TensorInfo>& tensors) const {
  std::optional<Json> first;
  for (const TensorInfo& output : tensors) {
    std::optional<Json> entry = writer_.finished(output.name);
    if (!entry) return std::nullopt;
    if (!first) first = std::move(entry);
  }
  return first->value("note", Json());
}

PreparedTensors::Bytes PreparedTensors::read(const TensorPlan& tensor) const {
  Bytes bytes;
  for (const TensorInfo& output : output_tensors(tensor, dtype(tensor))) bytes.push_back(writer_.read(output.name));
  return bytes;
}

void PreparedTensors::write(const TensorPlan& tensor, const Bytes& bytes, Json note) {
  const Json entry = {{"source", digest_of(plan_.model().checkpoint(), *tensor.source)}, {"note", std::move(note)}};
  write(output_tensors(tensor, dtype(tensor)), bytes, entry);
  for (const std::vector<std::byte>& part : bytes) bytes_written_ += std::ssize(part);
}

std::optional<Json> PreparedTensors::finished(const CalibratedActivation& activation) const {
  return finished(calibrated_tensors(activation, plan_.model(), model_dtype_));
}

void PreparedTensors::write(const CalibratedActivation& activation, const Bytes& bytes, Json note) {
  write(calibrated_tensors(activation, plan_.model(), model_dtype_), bytes, {{"note", std::move(note)}});
}

void PreparedTensors::write(const std::vector<TensorInfo>& tensors, const Bytes& bytes, const Json& entry) {
  check();
  for (size_t i = tensors.size(); i-- > 0;) {
    writer_.write(tensors[i].name, 0, bytes.at(i));
    writer_.finish_tensor(tensors[i].name, i == 0 ? entry : Json::object());
  }
}

void PreparedTensors::add_text(std::string_view relative, std::string_view text) {
  writer_.add_text(relative, text);
}

}  // namespace spinor
