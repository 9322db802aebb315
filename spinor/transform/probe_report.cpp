#include <algorithm>

#include "spinor/transform/probe.h"

namespace spinor {

double unit_roundoff(const Checkpoint& output) {
  double largest = 0x1p-48;
  for (const CheckpointTensor& tensor : output.tensors()) {
    if (tensor.info.dtype == DType::BF16) largest = std::max(largest, 0x1p-9);
    if (tensor.info.dtype == DType::F16) largest = std::max(largest, 0x1p-11);
    if (tensor.info.dtype == DType::F32) largest = std::max(largest, 0x1p-24);
  }
  return largest;
}

bool ProbeReport::passed() const {
  return std::all_of(checks.begin(), checks.end(), [](const ProbeCheck& check) { return check.passed(); });
}

std::vector<const ProbeCheck*> ProbeReport::failures() const {
  std::vector<const ProbeCheck*> result;
  for (const ProbeCheck& check : checks)
    if (!check.passed()) result.push_back(&check);
  return result;
}

}  // namespace spinor
