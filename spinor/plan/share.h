// Which rank computes which tensors of a plan.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace spinor {

struct ShareItem {
  int64_t bytes = 0;       // read and written
  std::string fused = {};  // items with the same name here have one owner; empty: alone
};

// The owner of each item: each rank has a run of them, in their order, so that it reads and writes files from one place
// on, and runs are cut where their bytes are as equal as whole items allow. Depends on the arguments alone.
std::vector<int> share_owners(std::span<const ShareItem> items, int ranks);

}  // namespace spinor
