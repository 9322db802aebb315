// The one place that starts threads. Nothing below a parallel_for starts threads of its own.
#pragma once

#include <cstdint>
#include <functional>

namespace spinor {

// The number of threads used when 0 is asked for: what the hardware, or the process's CPU affinity, offers.
int default_threads();

// Calls work(item, thread) once for each item of [0, items), items handed out in ascending order, thread in
// [0, threads). threads <= 0 means default_threads(). The first exception stops the handing out and is rethrown here
// after all threads have stopped. With one thread everything runs on the caller's.
void parallel_for(int64_t items, int threads, const std::function<void(int64_t item, int thread)>& work);

}  // namespace spinor
