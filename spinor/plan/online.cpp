#include "spinor/plan/online.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "spinor/base/error.h"
#include "spinor/linalg/convert.h"

namespace spinor {
namespace {

// Where torch's named_modules() has the transforms of a module: after everything in it, as they were added last. Of
// modules that end together the inner one comes first.
std::pair<size_t, size_t> place_of(const std::vector<Module>& modules, std::string_view name) {
  const auto found = std::ranges::find(modules, name, &Module::name);
  const std::string inside = found->name + ".";
  const auto last = std::find_if_not(
      found + 1, modules.end(), [&](const Module& m) { return found->name.empty() || m.name.starts_with(inside); });
  return {static_cast<size_t>(last - modules.begin()), static_cast<size_t>(modules.end() - found)};
}

// The transforms of one module stay in their order.
std::vector<const OnlineTransform*> in_module_order(const RewritePlan& plan) {
  std::map<std::string_view, std::pair<size_t, size_t>> places;
  std::vector<const OnlineTransform*> order;
  for (const OnlineTransform& online : plan.online()) {
    order.push_back(&online);
    if (!places.contains(online.module)) places.emplace(online.module, place_of(plan.model().modules(), online.module));
  }
  // By module, then in the order of the plan, which is that of the addresses.
  std::ranges::sort(order, {},
                    [&](const OnlineTransform* online) { return std::pair(places.at(online->module), online); });
  return order;
}

}  // namespace

DType online_tensor_dtype(bool dense, DType dtype) {
  return dense && info(dtype).bits < 32 ? DType::F32 : dtype;
}

std::vector<OnlineTensor> online_tensors(const RewritePlan& plan, DType dtype) {
  std::vector<OnlineTensor> tensors;
  std::map<std::string, std::vector<Rotation>> stored;  // by group
  for (const OnlineTransform* online : in_module_order(plan)) {
    std::vector<Rotation>& group = stored[online->group];
    if (std::ranges::any_of(group, [&](const Rotation& r) { return r.stores_the_same(online->r); })) continue;
    group.push_back(online->r);
    const int64_t n = online->r.size();
    const std::string name = online->module + "." + online->group + "_" + std::string(name_of(online->location));
    tensors.push_back(
        {{.name = name + ".weight", .dtype = online_tensor_dtype(online->r.is_dense(), dtype), .shape = {n, n}},
         online->r});
    if (!online->r.permutation().empty())
      tensors.push_back({{.name = name + ".perm", .dtype = DType::I64, .shape = {n}}, online->r, true});
  }
  return tensors;
}

std::vector<std::byte> online_rows(const OnlineTensor& tensor, int64_t first, int64_t rows) {
  if (tensor.permutation) {
    std::vector<std::byte> bytes(static_cast<size_t>(rows) * sizeof(int64_t));
    std::memcpy(bytes.data(), tensor.r.permutation().data() + first, bytes.size());
    return bytes;
  }
  const int64_t n = tensor.r.size(), width = n * info(tensor.info.dtype).bits / 8;
  std::vector<std::byte> bytes(static_cast<size_t>(rows * width));
  std::vector<double> row(static_cast<size_t>(n));
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < n; ++j) row[static_cast<size_t>(j)] = tensor.r.stored(first + i, j);
    if (!store(tensor.info.dtype, row.data(), bytes.data() + i * width, n))
      throw Error(tensor.info.name, "has a value that is too large for its dtype");
  }
  return bytes;
}

}  // namespace spinor
