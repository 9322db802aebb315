#include "cli/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <utility>

#include "spinor/io/file.h"

namespace spinor::cli {

Progress::Progress(std::string title, bool enabled)
    : title_(std::move(title)), draw_(enabled && isatty(STDERR_FILENO) != 0) {}

Progress::~Progress() {
  if (draw_ && first_ >= 0) fmt::print(stderr, "\r\033[K");
}

double Progress::seconds() const {
  return std::chrono::duration<double>(Clock::now() - start_).count();
}

void Progress::show(int64_t done, int64_t total) {
  constexpr auto kInterval = std::chrono::milliseconds(100);
  constexpr int kWidth = 30;
  if (!draw_ || Clock::now() - last_ < kInterval) return;
  if (first_ < 0) first_ = done;
  last_ = Clock::now();
  const double share = total > 0 ? static_cast<double>(done) / static_cast<double>(total) : 1;
  const double rate = static_cast<double>(done - first_) / seconds();
  const double left = rate > 0 ? static_cast<double>(total - done) / rate : 0;
  const int filled = static_cast<int>(share * kWidth);
  fmt::print(stderr, "\r{} [{:#<{}}{:{}}] {:3.0f} %  {} of {}  {}/s  {:.0f} s left\033[K", title_, "", filled, "",
             kWidth - filled, 100 * share, describe_bytes(done), describe_bytes(total),
             describe_bytes(static_cast<int64_t>(rate)), left);
  std::fflush(stderr);
}

void Bars::show(const std::string& what, int64_t done, int64_t total) {
  if (!bar_ || what != what_) bar_.emplace(what_ = what, enabled_);
  bar_->show(done, total);
}

}  // namespace spinor::cli
