#include "spinor/io/shard_layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <map>

#include "spinor/base/error.h"
#include "spinor/base/json.h"

namespace spinor {
namespace {

struct SizeUnit {
  std::string_view name;  // upper case
  double bytes;
};

constexpr std::array kSizeUnits = {
    SizeUnit{"", 1},         SizeUnit{"B", 1},        SizeUnit{"KB", 1e3},     SizeUnit{"MB", 1e6},
    SizeUnit{"GB", 1e9},     SizeUnit{"TB", 1e12},    SizeUnit{"KIB", 0x1p10}, SizeUnit{"MIB", 0x1p20},
    SizeUnit{"GIB", 0x1p30}, SizeUnit{"TIB", 0x1p40},
};

using Group = std::vector<TensorInfo>;

std::vector<Group> split(const std::vector<TensorInfo>& tensors, int64_t max_shard_bytes) {
  std::vector<Group> groups;
  Group filling;
  int64_t filled = 0;
  for (const TensorInfo& tensor : tensors) {
    const int64_t bytes = checked_bytes(tensor.dtype, tensor.shape, tensor.name);
    if (bytes > max_shard_bytes) {
      groups.push_back({tensor});
      continue;
    }
    if (bytes > max_shard_bytes - filled) {
      groups.push_back(std::exchange(filling, {}));
      filled = 0;
    }
    filling.push_back(tensor);
    filled += bytes;
  }
  if (!filling.empty()) groups.push_back(std::move(filling));
  return groups;
}

std::string index_of(const OutputLayout& layout) {
  int64_t parameters = 0;
  std::map<std::string_view, std::string_view> weight_map;  // Python sorts by code point, which is the order of UTF-8
  for (const OutputLayout::Shard& shard : layout.shards)
    for (const TensorInfo& tensor : shard.tensors) {
      parameters += tensor.elements();
      if (!weight_map.emplace(tensor.name, shard.file).second)
        throw Error(tensor.name, "two tensors would have this name");
    }
  Json files = Json::object();
  for (const auto& [tensor, file] : weight_map) files.get_ref<Json::object_t&>().emplace_back(tensor, file);
  const Json metadata = {{"total_parameters", parameters}, {"total_size", layout.bytes}};
  return Json{{"metadata", metadata}, {"weight_map", std::move(files)}}.dump(2, ' ', true) + "\n";
}

std::string_view trim(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

}  // namespace

OutputLayout layout_shards(const std::vector<TensorInfo>& tensors, int64_t max_shard_bytes) {
  if (tensors.empty()) throw Error("output", "has no tensors");
  if (max_shard_bytes < 1) throw Error("max_shard_size", fmt::format("{} bytes hold no tensor", max_shard_bytes));
  std::vector<Group> groups = split(tensors, max_shard_bytes);
  OutputLayout layout;
  for (size_t i = 0; i < groups.size(); ++i) {
    OutputLayout::Shard shard;
    shard.file = groups.size() == 1 ? "model.safetensors"
                                    : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, groups.size());
    shard.header = make_safetensors_header(groups[i], {{"format", "pt"}});
    shard.tensors = std::move(groups[i]);
    shard.bytes = shard.tensors.back().end;
    layout.bytes += shard.bytes - std::ssize(shard.header);
    layout.shards.push_back(std::move(shard));
  }
  if (layout.shards.size() > 1) layout.index = index_of(layout);
  return layout;
}

int64_t parse_size(std::string_view text) {
  const std::string_view size = trim(text);
  double number = 0;
  const auto [end, status] = std::from_chars(size.data(), size.data() + size.size(), number);
  std::string unit(trim(size.substr(static_cast<size_t>(end - size.data()))));
  for (char& c : unit) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  const auto* row = std::ranges::find(kSizeUnits, unit, &SizeUnit::name);
  const double bytes = row == kSizeUnits.end() ? 0 : number * row->bytes;
  if (status != std::errc() || !(bytes >= 1 && bytes < 0x1p62))
    throw Error(fmt::format("size '{}'", text), "is not a number of bytes", "write 5GB, 500MB, 2GiB or 5000000000");
  return static_cast<int64_t>(bytes);
}

}  // namespace spinor
