#include "spinor/family/module_rows.h"

namespace spinor {
namespace {

constexpr EnumName<Layout> kLayouts[] = {{Layout::matrix, "matrix"},
                                         {Layout::transposed, "transposed"},
                                         {Layout::experts, "experts"},
                                         {Layout::experts_transposed, "experts_transposed"},
                                         {Layout::filter, "filter"}};

}  // namespace

std::span<const EnumName<Layout>> enum_names(Layout) {
  return kLayouts;
}

bool is_stacked(const LinearRow& row) {
  return row.layout == Layout::experts || row.layout == Layout::experts_transposed;
}

}  // namespace spinor
