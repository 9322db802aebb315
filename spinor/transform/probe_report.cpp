#include "spinor/transform/probe_report.h"

#include <algorithm>
#include <utility>

namespace spinor {

void ProbeReport::add(ProbeCheck check) {
  if (check.passed()) check.hint.clear();
  checks.push_back(std::move(check));
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

double unit_roundoff(const Checkpoint& output) {
  double largest = 0x1p-48;
  for (const CheckpointTensor& tensor : output.tensors()) {
    if (tensor.info.dtype == DType::BF16) largest = std::max(largest, 0x1p-9);
    if (tensor.info.dtype == DType::F16) largest = std::max(largest, 0x1p-11);
    if (tensor.info.dtype == DType::F32) largest = std::max(largest, 0x1p-24);
  }
  return largest;
}

}  // namespace spinor
