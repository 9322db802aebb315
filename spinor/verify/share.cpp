#include "spinor/verify/share.h"

#include <string>
#include <vector>

#include "spinor/plan/share.h"

namespace spinor::verify {

ModuleShare::ModuleShare(const Model& model, const Rank& rank) {
  if (rank.alone()) return;
  std::vector<ShareItem> items;
  for (const Module& module : model.modules()) {
    int64_t bytes = 0;
    for (const CheckpointTensor* tensor : {module.weight, module.bias}) bytes += tensor ? tensor->info.bytes() : 0;
    items.push_back({bytes, module.layer < 0 ? "" : std::to_string(module.layer)});
  }
  const std::vector<int> owners = share_owners(items, rank.ranks);
  for (size_t i = 0; i < owners.size(); ++i)
    if (owners[i] != rank.rank) elsewhere_.insert(&model.modules()[i]);
}

void ModuleShare::cut(Stream& stream) const {
  const Module* first = stream.writers.empty() ? nullptr : stream.writers.front();
  std::erase_if(stream.writers, [&](const Module* writer) { return writer != first && !has(*writer); });
  std::erase_if(stream.raw_readers, [&](const Module* reader) { return !has(*reader); });
  std::erase_if(stream.norm_reads, [&](const NormReads& reads) {
    return !has(reads.linears.empty() ? *reads.norm : *reads.linears.front());
  });
}

}  // namespace spinor::verify
