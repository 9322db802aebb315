#include "spinor/plan/save_parts.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <span>
#include <utility>

#include "spinor/base/parallel.h"
#include "spinor/base/version.h"
#include "spinor/io/digest.h"
#include "spinor/linalg/cpu.h"
#include "spinor/plan/calibrated.h"
#include "spinor/plan/execute.h"
#include "spinor/plan/online.h"
#include "spinor/plan/outputs.h"

namespace spinor {

DType model_dtype(const RewritePlan& plan, const SaveOptions& options) {
  if (options.dtype) return *options.dtype;
  const auto editable = [](const TensorPlan& t) { return info(t.source->info.dtype).editable; };
  const auto first = std::ranges::find_if(plan.tensors(), editable);
  return first == plan.tensors().end() ? DType::F32 : first->source->info.dtype;
}

OutputLayout output_layout(const RewritePlan& plan, const SaveOptions& options) {
  std::vector<TensorInfo> tensors;
  for (const TensorPlan& tensor : plan.tensors())
    for (TensorInfo& output : output_tensors(tensor, output_dtype(tensor, options.dtype)))
      tensors.push_back(std::move(output));
  for (OnlineTensor& online : online_tensors(plan, model_dtype(plan, options)))
    tensors.push_back(std::move(online.info));
  for (const CalibratedActivation& activation : plan.calibrated())
    for (TensorInfo& scale : calibrated_tensors(activation, plan.model(), model_dtype(plan, options)))
      tensors.push_back(std::move(scale));
  return layout_shards(tensors, options.max_shard_bytes);
}

Json output_config(const RewritePlan& plan, const SaveOptions& options) {
  Json config = plan.config(model_dtype(plan, options));
  if (!options.dtype) return config;
  const std::string name(info(*options.dtype).torch);
  bool found = false;
  for (const char* key : {"dtype", "torch_dtype"}) {
    if (!config.contains(key)) continue;
    config[key] = name;
    found = true;
  }
  if (!found) config["torch_dtype"] = name;  // the spelling every version of transformers reads
  return config;
}

namespace {

// Shares are runs in the files, which are in another order than the plan: ranks write side by side only where their
// runs meet.
std::vector<int> owners_by_place(const OutputLayout& layout, const PlanShares& shares,
                                 const std::vector<std::string>& names, int ranks) {
  std::map<std::string, size_t> place;
  for (const OutputLayout::Shard& shard : layout.shards)
    for (const TensorInfo& tensor : shard.tensors) place.emplace(tensor.name, place.size());
  std::vector<size_t> order(names.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::sort(order, {}, [&](size_t item) { return place.at(names[item]); });
  std::vector<ShareItem> items;
  for (const size_t item : order) {
    items.push_back(shares.items[item]);
    items.back().bytes += shares.read[item];
  }
  const std::vector<int> owners = share_owners(items, ranks);
  std::vector<int> by_item(names.size());
  for (size_t i = 0; i < order.size(); ++i) by_item[order[i]] = owners[i];
  return by_item;
}

}  // namespace

PlanShares plan_shares(const RewritePlan& plan, const SaveOptions& options, const OutputLayout& layout) {
  PlanShares shares;
  std::vector<std::string> places;  // names of what is written
  const auto add = [&](int64_t read, std::span<const TensorInfo> outputs, std::string fused) {
    int64_t written = 0;
    for (const TensorInfo& output : outputs) written += checked_bytes(output.dtype, output.shape, output.name);
    shares.items.push_back({written, std::move(fused)});
    shares.read.push_back(read);
    places.push_back(outputs.front().name);
  };
  for (const TensorPlan& tensor : plan.tensors()) {
    const WeightQuantization* quantization = quantization_of(tensor.edits);
    add(tensor.source->info.bytes(), output_tensors(tensor, output_dtype(tensor, options.dtype)),
        quantization ? quantization->fused : std::string());
  }
  for (const OnlineTensor& online : online_tensors(plan, model_dtype(plan, options)))
    add(0, std::span(&online.info, 1), std::string());
  shares.owners = owners_by_place(layout, shares, places, options.rank.ranks);
  return shares;
}

Json save_job(const RewritePlan& plan, const SaveOptions& options) {
  const Checkpoint& source = plan.model().checkpoint();
  Json files = Json::object();
  for (const File& shard : source.shards())
    files[shard.path().filename().string()] = {
        {"bytes", shard.bytes()},
        {"modified", std::filesystem::last_write_time(shard.path()).time_since_epoch().count()}};
  Json texts = Json::object();  // digests: they may be long, and no UTF-8
  for (const auto& [name, text] : options.texts) texts[name] = digest(std::as_bytes(std::span(text)));
  return {{"spinor_version", kVersion},
          {"cpu", cpu_level()},
          {"source", files},
          {"config", output_config(plan, options)},
          {"precision", plan.precision() == Precision::float64 ? "float64" : "float32"},
          {"dtype", options.dtype ? Json(info(*options.dtype).name) : Json()},
          {"max_shard_bytes", options.max_shard_bytes},
          {"record", options.record},
          {"texts", texts}};
}

SaveSize save_size(const RewritePlan& plan, const SaveOptions& options) {
  const int64_t threads = options.threads > 0 ? options.threads : default_threads();
  const int64_t number = plan.precision() == Precision::float64 ? sizeof(double) : sizeof(float);
  SaveSize size;
  std::map<std::string, int64_t> kept;  // by weight, or by weights that are fused
  for (const OnlineTensor& online : online_tensors(plan, model_dtype(plan, options)))
    size.bytes += checked_bytes(online.info.dtype, online.info.shape, online.info.name);
  for (const TensorPlan& tensor : plan.tensors()) {
    const DType output = output_dtype(tensor, options.dtype);
    const int64_t source_bits = info(tensor.source->info.dtype).bits, output_bits = info(output).bits;
    const Cut cut = tensor_cut(tensor, output);
    for (const TensorInfo& info : output_tensors(tensor, output))
      size.bytes += checked_bytes(info.dtype, info.shape, info.name);
    const WeightQuantization* quantization = quantization_of(tensor.edits);
    kept[quantization && !quantization->fused.empty() ? quantization->fused : tensor.name] +=
        kept_bytes(tensor, output);
    const int64_t block = cut.block_rows * cut.block_cols, tile = cut.tile_rows * cut.tile_cols;
    const int64_t values = quantization ? sizeof(float) : 0;
    size.memory =
        std::max(size.memory, threads * (block * (source_bits + output_bits) / 8 + tile * (2 * number + values)));
  }
  int64_t most = 0;
  for (const auto& [name, bytes] : kept) most = std::max(most, bytes);
  size.memory += 3 * most;  // two are observed while another is written
  return size;
}

std::vector<SaveShare> save_shares(const RewritePlan& plan, const SaveOptions& options) {
  const PlanShares all = plan_shares(plan, options, output_layout(plan, options));
  std::vector<SaveShare> of_ranks(static_cast<size_t>(options.rank.ranks));
  for (size_t i = 0; i < all.items.size(); ++i) {
    SaveShare& share = of_ranks[static_cast<size_t>(all.owners[i])];
    ++share.tensors;
    share.read += all.read[i];
    share.written += all.items[i].bytes;
  }
  return of_ranks;
}

}  // namespace spinor
