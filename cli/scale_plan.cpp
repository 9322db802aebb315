#include "cli/scale_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "spinor/base/error.h"
#include "spinor/io/file.h"
#include "spinor/io/shard_layout.h"

namespace spinor::cli {

namespace {

std::optional<double> parse(const std::string& text, const std::string& option, const std::string& unit,
                            const char* hint) {
  if (text.empty()) return std::nullopt;
  const std::string number = text.ends_with("/s") ? text.substr(0, text.size() - 2) : text;
  try {
    return static_cast<double>(parse_size(number + unit));
  } catch (const Error&) {  // said below, with the option
  }
  throw Error(option, fmt::format("'{}' is not a rate", text), hint);
}

}  // namespace

std::optional<double> parse_rate(const std::string& text, const std::string& option) {
  return parse(text, option, "", "give bytes a second, e.g. 2GB/s or 500MB/s");
}
std::optional<double> parse_flops(const std::string& text, const std::string& option) {
  return parse(text, option, "B", "give floating point operations a second, e.g. 100G/s or 1.5T/s");
}

ScalePlan::ScalePlan(const RewritePlan& plan, const SaveOptions& options, const SaveSize& size,
                     std::optional<double> bandwidth, std::optional<double> throughput)
    : shares_(save_shares(plan, options)), memory_(size.memory), rate_(bandwidth ? bandwidth : throughput) {
  if (bandwidth && throughput) rate_ = std::min(*bandwidth, *throughput);
}

std::optional<double> ScalePlan::seconds(const SaveShare& share) const {
  if (!rate_) return std::nullopt;
  return static_cast<double>(share.read + share.written) / *rate_;
}

Json ScalePlan::json() const {
  Json ranks = Json::array();
  for (const SaveShare& share : shares_) {
    Json rank = {{"tensors", share.tensors}, {"read", share.read}, {"written", share.written}, {"memory", memory_}};
    if (const std::optional<double> time = seconds(share)) rank["seconds"] = *time;
    ranks.push_back(std::move(rank));
  }
  return ranks;
}

std::string ScalePlan::line(size_t rank) const {
  const SaveShare& share = shares_[rank];
  const std::optional<double> time = seconds(share);
  return fmt::format("{:>6} {:>8} {:>11} {:>11} {:>11}{}\n", rank, share.tensors, describe_bytes(share.read),
                     describe_bytes(share.written), describe_bytes(memory_),
                     time ? fmt::format(" {:>9.1f} s", *time) : "");
}

std::string ScalePlan::text(bool full) const {
  std::string text = fmt::format("\n{:>6} {:>8} {:>11} {:>11} {:>11}{}\n", "rank", "tensors", "reads", "writes",
                                 "memory", rate_ ? fmt::format(" {:>11}", "time") : "");
  const auto bytes = [](const SaveShare& share) { return share.read + share.written; };
  const auto [least, most] = std::ranges::minmax_element(shares_, {}, bytes);
  constexpr size_t kShown = 8;
  for (size_t rank = 0; rank < shares_.size(); ++rank)
    if (full || shares_.size() <= kShown || rank == 0 || shares_.begin() + static_cast<std::ptrdiff_t>(rank) == most)
      text += line(rank);
  if (shares_.size() == 1) return text;
  int64_t all = 0;
  for (const SaveShare& share : shares_) all += bytes(share);
  const double even = static_cast<double>(all) / static_cast<double>(shares_.size());
  const double ratio = even > 0 ? static_cast<double>(bytes(*most)) / even : 1;
  text += fmt::format("{} ranks read and write {} to {} each; the largest share is {:.2f} times an even one\n",
                      shares_.size(), describe_bytes(bytes(*least)), describe_bytes(bytes(*most)), ratio);
  if (rate_) text += fmt::format("done in about {:.1f} s, as the largest share is\n", *seconds(*most));
  return text;
}

}  // namespace spinor::cli
