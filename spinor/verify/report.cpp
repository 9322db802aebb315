#include "spinor/verify/report.h"

#include <algorithm>
#include <utility>

namespace spinor::verify {

void Report::add(Check check) {
  if (check.passed()) check.hint.clear();
  checks.push_back(std::move(check));
}

bool Report::passed() const {
  return std::all_of(checks.begin(), checks.end(), [](const Check& check) { return check.passed(); });
}

std::vector<const Check*> Report::failures() const {
  std::vector<const Check*> result;
  for (const Check& check : checks)
    if (!check.passed()) result.push_back(&check);
  return result;
}

double unit_roundoff(const Checkpoint& output) {
  double largest = 0x1p-47;  // of sums in double, whatever the weights are: 64 of its own
  for (const CheckpointTensor& tensor : output.tensors()) {
    if (tensor.info.dtype == DType::BF16) largest = std::max(largest, 0x1p-9);
    if (tensor.info.dtype == DType::F16) largest = std::max(largest, 0x1p-11);
    if (tensor.info.dtype == DType::F32) largest = std::max(largest, 0x1p-24);
  }
  return largest;
}

}  // namespace spinor::verify
