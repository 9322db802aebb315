#include "spinor/base/dtype.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace spinor {
namespace {

constexpr std::array<DTypeInfo, 22> kDTypes = {{
    {DType::BOOL, "BOOL", "bool", 8, false},
    {DType::U8, "U8", "uint8", 8, false},
    {DType::I8, "I8", "int8", 8, false},
    {DType::F8_E5M2, "F8_E5M2", "float8_e5m2", 8, false},
    {DType::F8_E4M3, "F8_E4M3", "float8_e4m3fn", 8, false},
    {DType::F8_E8M0, "F8_E8M0", "float8_e8m0fnu", 8, false},
    {DType::F8_E4M3FNUZ, "F8_E4M3FNUZ", "float8_e4m3fnuz", 8, false},
    {DType::F8_E5M2FNUZ, "F8_E5M2FNUZ", "float8_e5m2fnuz", 8, false},
    {DType::F4, "F4", "float4_e2m1fn_x2", 4, false},
    {DType::F6_E2M3, "F6_E2M3", "", 6, false},
    {DType::F6_E3M2, "F6_E3M2", "", 6, false},
    {DType::I16, "I16", "int16", 16, false},
    {DType::U16, "U16", "uint16", 16, false},
    {DType::F16, "F16", "float16", 16, true},
    {DType::BF16, "BF16", "bfloat16", 16, true},
    {DType::I32, "I32", "int32", 32, false},
    {DType::U32, "U32", "uint32", 32, false},
    {DType::F32, "F32", "float32", 32, true},
    {DType::F64, "F64", "float64", 64, true},
    {DType::I64, "I64", "int64", 64, false},
    {DType::U64, "U64", "uint64", 64, false},
    {DType::C64, "C64", "complex64", 64, false},
}};

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

}  // namespace

std::span<const DTypeInfo> dtypes() {
  return kDTypes;
}

const DTypeInfo& info(DType dtype) {
  return kDTypes[static_cast<size_t>(dtype)];
}

const DTypeInfo* find_dtype(std::string_view spelling) {
  if (spelling.starts_with("torch.")) spelling.remove_prefix(6);
  for (const DTypeInfo& row : kDTypes)
    if (equal_ignoring_case(row.name, spelling) || (!row.torch.empty() && row.torch == spelling)) return &row;
  return nullptr;
}

}  // namespace spinor
