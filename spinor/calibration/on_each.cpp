#include "spinor/calibration/on_each.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <atomic>
#include <memory>

namespace spinor::calibration {

OneThreadEach::OneThreadEach() : before_(at::get_num_threads()) {
  at::set_num_threads(1);
}
OneThreadEach::~OneThreadEach() {
  at::set_num_threads(before_);
}

// Threads of a parallel region start no regions of their own, but MKL would still cut its products for as many threads
// as it was told of.
void on_each(int64_t items, int threads, const std::function<void(int64_t item)>& work) {
  const int64_t together = std::min<int64_t>(items, threads);
  if (together <= 1) {
    for (int64_t item = 0; item < items; ++item) work(item);
    return;
  }
  std::atomic<int64_t> next = 0;
  std::atomic<bool> failed = false;
  at::set_num_threads(static_cast<int>(together));
  const auto back = [](void*) { at::set_num_threads(1); };
  const std::unique_ptr<void, decltype(back)> one_again(&next, back);
  at::parallel_for(0, together, 1, [&](int64_t begin, int64_t end) {
    const c10::InferenceMode inference;
    at::set_num_threads(1);
    for (int64_t runner = begin; runner < end; ++runner) try {
        for (int64_t item; !failed && (item = next++) < items;) work(item);
      } catch (...) {
        failed = true;
        throw;
      }
  });
}

}  // namespace spinor::calibration
