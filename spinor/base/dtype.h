// The element types of safetensors files, as one table.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace spinor {

enum class DType : uint8_t {
  BOOL,
  U8,
  I8,
  F8_E5M2,
  F8_E4M3,
  F8_E8M0,
  F8_E4M3FNUZ,
  F8_E5M2FNUZ,
  F4,
  F6_E2M3,
  F6_E3M2,
  I16,
  U16,
  F16,
  BF16,
  I32,
  U32,
  F32,
  F64,
  I64,
  U64,
  C64
};

struct DTypeInfo {
  DType dtype;
  std::string_view name;   // as safetensors spells it: "BF16"
  std::string_view torch;  // as config.json spells it: "bfloat16"; empty if torch has none
  int bits;
  bool editable;  // F64, F32, F16, BF16: spinor computes with it; every other type only passes through
};

std::span<const DTypeInfo> dtypes();
const DTypeInfo& info(DType dtype);
// The row with this safetensors or torch spelling ("BF16", "bf16", "bfloat16", "torch.bfloat16"); null if there is
// none.
const DTypeInfo* find_dtype(std::string_view spelling);

}  // namespace spinor
