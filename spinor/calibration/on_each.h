// Work on libtorch's threads whose bits do not depend on how many there are.
#pragma once

#include <cstdint>
#include <functional>

namespace spinor::calibration {

// While it lives, libtorch's operations take one thread each, so that no sum is cut where threads meet. Then as before.
class OneThreadEach {
 public:
  OneThreadEach();
  ~OneThreadEach();
  OneThreadEach(const OneThreadEach&) = delete;
  OneThreadEach& operator=(const OneThreadEach&) = delete;

 private:
  int before_;
};

// Calls work(item) once for each item of [0, items), each on one of libtorch's threads, handed out in ascending order.
// Within OneThreadEach. The first exception is rethrown when all have stopped. (parallel_for's threads end with the
// loop, and what the products of libtorch keep for each thread would stay behind.)
void on_each(int64_t items, int threads, const std::function<void(int64_t item)>& work);

}  // namespace spinor::calibration
