#include "spinor/plan/share.h"

#include <algorithm>
#include <map>

namespace spinor {

// Fused items count where the first of them is. An item belongs to the rank in whose part of all bytes its middle lies.
std::vector<int> share_owners(std::span<const ShareItem> items, int ranks) {
  std::vector<int64_t> bytes(items.size());
  std::vector<size_t> first(items.size());
  std::map<std::string, size_t> fused;
  int64_t all = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    first[i] = items[i].fused.empty() ? i : fused.try_emplace(items[i].fused, i).first->second;
    bytes[first[i]] += items[i].bytes;
    all += items[i].bytes;
  }
  std::vector<int> owners(items.size());
  double before = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    const double middle = before + static_cast<double>(bytes[i]) / 2;
    const double part = all > 0 ? middle / static_cast<double>(all) : 0;
    owners[i] = std::min(ranks - 1, static_cast<int>(part * ranks));
    before += static_cast<double>(bytes[i]);
  }
  for (size_t i = 0; i < items.size(); ++i) owners[i] = owners[first[i]];
  return owners;
}

}  // namespace spinor
