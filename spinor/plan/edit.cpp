#include "spinor/plan/edit.h"

#include <fmt/format.h>

namespace spinor {
namespace {

std::string_view last_component(std::string_view tensor) {
  if (tensor.ends_with(".weight")) tensor.remove_suffix(7);
  return tensor.substr(tensor.rfind('.') + 1);  // npos + 1 is 0
}

std::string blocks(int64_t side, int64_t size) {
  return side == size || size <= 0 ? "" : fmt::format(" ({} blocks of {})", side / size, size);
}

// One overload an edit: an edit that nobody can print does not compile.
struct Describe {
  int64_t rows, cols;
  char tensor() const { return rows == 1 ? 'b' : 'W'; }

  std::string operator()(const FoldNorm& edit) const {
    const std::string_view norm = last_component(edit.norm);
    return edit.offset == 0 ? fmt::format("fold {}", norm) : fmt::format("fold {} + {}", edit.offset, norm);
  }
  std::string operator()(const CenterRows&) const { return "center rows"; }
  std::string operator()(const MultiplyRight& edit) const {
    return fmt::format("{} {}{}", tensor(), edit.label, blocks(cols, edit.r.size()));
  }
  std::string operator()(const MultiplyLeft& edit) const {
    return fmt::format("{} {}{}", edit.label, tensor(), blocks(rows, edit.r.size()));
  }
  std::string operator()(const Fill& edit) const { return fmt::format("fill {}", edit.value); }
};

}  // namespace

std::string describe(const Edit& edit, int64_t rows, int64_t cols) {
  return std::visit(Describe{rows, cols}, edit);
}

}  // namespace spinor
