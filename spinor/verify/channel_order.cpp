#include "spinor/verify/channel_order.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "spinor/verify/part_outputs.h"
#include "spinor/verify/readers.h"

namespace spinor::verify {
namespace {

// Two vectors of 16 bits leave about one pair in a thousand of 10^4 channels alike; eight do not.
constexpr int kDraws = 4;

// What the rows make of one draw of vectors.
struct ChannelOutputs {
  BothOutputs rows;               // without factors
  std::optional<BothOutputs> up;  // of an MLP with a gate
};

// Rows of one model that may have a factor each, as if none had: all that they make has length 1.
void take_factors_away(std::vector<ChannelOutputs>& drawn, PartOutputs BothOutputs::* side) {
  for (size_t i = 0; i < (drawn.front().rows.*side).rows(); ++i) {
    double squares = 0;
    for (const ChannelOutputs& outputs : drawn)
      for (size_t p = 0; p < (outputs.rows.*side).vectors(); ++p) {
        const double y = (outputs.rows.*side)[p][i].y;
        squares += y * y;
      }
    if (squares > 0 && std::isfinite(squares))
      for (ChannelOutputs& outputs : drawn) (outputs.rows.*side).multiply(i, 1 / std::sqrt(squares));
  }
}

class OrderSearch {
 public:
  OrderSearch(std::vector<ChannelOutputs> drawn, double u) : drawn_(std::move(drawn)), u_(u) {
    by_first_.resize(first().source.rows());
    std::iota(by_first_.begin(), by_first_.end(), 0);
    const auto& keys = first().source[0];
    std::ranges::sort(by_first_, {}, [&](size_t i) { return keys[i].y; });
    for (const Term& term : keys) largest_ = std::max(largest_, term.size);
    for (const Term& term : first().output[0]) largest_ = std::max(largest_, term.size);
  }

  std::vector<int64_t> find() const {
    const size_t n = by_first_.size();
    std::vector<bool> used(n);
    std::vector<int64_t> order(n);
    for (size_t i = 0; i < n; ++i) {
      const std::optional<size_t> source = best(i, used);
      if (!source) return {};
      used[*source] = true;
      order[i] = static_cast<int64_t>(*source);
    }
    return order;
  }

 private:
  std::vector<ChannelOutputs> drawn_;
  double u_, largest_ = 0;
  std::vector<size_t> by_first_;  // rows of the source, by their first product

  const BothOutputs& first() const { return drawn_.front().rows; }

  // Of the output's row, among the source's that are within rounding.
  std::optional<size_t> best(size_t row, const std::vector<bool>& used) const {
    const double y = first().output[0][row].y, reach = kBoundFactor * u_ * largest_ * std::sqrt(2.0);
    const auto& keys = first().source[0];
    auto at = std::ranges::lower_bound(by_first_, y - reach, {}, [&](size_t i) { return keys[i].y; });
    std::optional<size_t> found;
    double least = kBoundFactor;
    for (; at != by_first_.end() && keys[*at].y <= y + reach; ++at)
      if (const double error = used[*at] ? INFINITY : distance(*at, row); error <= least) {
        found = *at;
        least = error;
      }
    return found;
  }

  // In roundoffs.
  double distance(size_t source, size_t output) const {
    double worst = 0;
    for (const auto& [rows, up] : drawn_) {
      for (size_t p = 0; p < rows.source.vectors(); ++p)
        worst = std::max(worst, difference(rows.source[p][source], rows.output[p][output], u_));
      if (!up || worst > kBoundFactor) continue;
      for (size_t p = 1; p < up->source.vectors(); ++p)
        worst = std::max(worst, product_error(up->source[p][source], up->output[0][output], up->output[p][output],
                                              up->source[0][source], u_));
    }
    return worst;
  }
};

}  // namespace

std::vector<int64_t> find_order(Context& context, const HiddenChannels& channels) {
  std::vector<ChannelOutputs> drawn;
  for (int i = 0; i < kDraws; ++i) {
    draw_stream(context, context.mtp.streams().back());
    ChannelOutputs outputs{.rows = outputs_of(context, channels.gate ? *channels.gate : channels.up), .up = {}};
    if (channels.gate) outputs.up = outputs_of(context, channels.up);
    drawn.push_back(std::move(outputs));
  }
  if (!channels.gate)
    for (PartOutputs BothOutputs::* side : {&BothOutputs::source, &BothOutputs::output}) take_factors_away(drawn, side);
  return OrderSearch(std::move(drawn), context.u()).find();
}

}  // namespace spinor::verify
