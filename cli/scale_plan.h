// What each of several ranks would read, write and hold, and how long that takes, on paper.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "spinor/plan/save.h"

namespace spinor::cli {

// Bytes a second of "2GB/s" or "2GB"; nothing if the text is empty. Errors name the option.
std::optional<double> parse_rate(const std::string& text, const std::string& option);
// Floating point operations a second of "100G/s" or "1.5T/s".
std::optional<double> parse_flops(const std::string& text, const std::string& option);

class ScalePlan {
 public:
  // `options`: with the number of ranks. Rates of one rank, in bytes that it reads and writes in a second; what is
  // slower counts.
  ScalePlan(const RewritePlan& plan, const SaveOptions& options, const SaveSize& size, std::optional<double> bandwidth,
            std::optional<double> throughput);

  bool asked() const { return shares_.size() > 1 || rate_; }
  Json json() const;
  // One line a rank, or for ranks that differ little the extremes.
  std::string text(bool full) const;

 private:
  std::optional<double> seconds(const SaveShare& share) const;
  std::string line(size_t rank) const;

  std::vector<SaveShare> shares_;
  int64_t memory_;
  std::optional<double> rate_;
};

}  // namespace spinor::cli
