#include "spinor/plan/plan_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <string_view>
#include <vector>

namespace spinor {
namespace {

// "model.layers.3.mlp.up_proj.weight": prefix "model.layers.", layer 3, suffix ".mlp.up_proj.weight". A name without a
// number among its components is all prefix, layer -1.
struct Line {
  int64_t layer = -1;
  std::string prefix, suffix;
  std::string type, edits;
};

// The layers first to last, whose lines differ in nothing but the layer; or one line outside the layers.
struct Layers {
  int64_t first, last;
  std::vector<Line> lines;
};

Line split(std::string_view name) {
  for (size_t begin = 0; begin < name.size();) {
    const size_t end = std::min(name.find('.', begin), name.size());
    int64_t layer = -1;
    const auto [stop, error] = std::from_chars(name.data() + begin, name.data() + end, layer);
    if (error == std::errc() && stop == name.data() + end && layer >= 0)
      return {layer, std::string(name.substr(0, begin)), std::string(name.substr(end)), "", ""};
    begin = end + 1;
  }
  return {-1, std::string(name), "", "", ""};
}

std::string type_of(const TensorInfo& tensor) {
  std::string dtype(info(tensor.dtype).name);
  std::transform(dtype.begin(), dtype.end(), dtype.begin(), [](unsigned char c) { return std::tolower(c); });
  return fmt::format("({}) {}", fmt::join(tensor.shape, ", "), dtype);
}

std::string edits_of(const TensorPlan& tensor) {
  const std::string& source = tensor.source->info.name;
  std::vector<std::string> phrases;
  if (tensor.name != source) phrases.push_back("from " + source);
  for (const Edit& edit : tensor.edits) phrases.push_back(text_of(edit, tensor.shape.out, tensor.shape.in));
  return phrases.empty() ? "copied" : fmt::format("{}", fmt::join(phrases, " | "));
}

bool alike(const Line& a, const Line& b) {
  return a.prefix == b.prefix && a.suffix == b.suffix && a.type == b.type && a.edits == b.edits;
}

std::vector<Layers> blocks_of(const std::vector<TensorPlan>& tensors) {
  std::vector<Layers> blocks;
  for (const TensorPlan& tensor : tensors) {
    Line line = split(tensor.name);
    line.type = type_of(tensor.source->info);
    line.edits = edits_of(tensor);
    if (blocks.empty() || line.layer < 0 || blocks.back().first != line.layer)
      blocks.push_back({line.layer, line.layer, {}});
    blocks.back().lines.push_back(std::move(line));
  }
  return blocks;
}

std::vector<Layers> merge_alike(const std::vector<Layers>& blocks) {
  std::vector<Layers> merged;
  for (const Layers& block : blocks) {
    const auto same = [&](const Layers& other) {
      return block.first >= 0 && block.first == other.last + 1 &&
             std::equal(block.lines.begin(), block.lines.end(), other.lines.begin(), other.lines.end(), alike);
    };
    if (!merged.empty() && same(merged.back()))
      merged.back().last = block.last;
    else
      merged.push_back(block);
  }
  return merged;
}

std::string name_of(const Layers& block, const Line& line) {
  if (block.first < 0) return line.prefix;
  if (block.first == block.last) return fmt::format("{}{}{}", line.prefix, block.first, line.suffix);
  return fmt::format("{}{{{}-{}}}{}", line.prefix, block.first, block.last, line.suffix);
}

}  // namespace

std::string plan_text(const RewritePlan& plan, bool full) {
  const std::vector<Layers> blocks = full ? blocks_of(plan.tensors()) : merge_alike(blocks_of(plan.tensors()));
  size_t name_width = 0, type_width = 0;
  for (const Layers& block : blocks)
    for (const Line& line : block.lines) {
      name_width = std::max(name_width, name_of(block, line).size());
      type_width = std::max(type_width, line.type.size());
    }
  std::string text;
  for (const Layers& block : blocks)
    for (const Line& line : block.lines)
      text += fmt::format("{:<{}}  {:<{}}  {}\n", name_of(block, line), name_width, line.type, type_width, line.edits);
  for (const OnlineTransform& transform : plan.online())
    text += fmt::format("{}  online {} {}\n", transform.module, transform.group, name_of(transform.location));
  if (const std::string types = plan.rotation_types(); !types.empty()) text += fmt::format("rotations  {}\n", types);
  if (plan.untied()) text += "config.json  tie_word_embeddings false\n";
  if (plan.dropped_mtp())
    text += fmt::format("{} tensors of multi-token prediction are left out\n", plan.model().mtp().size());
  return text;
}

}  // namespace spinor
