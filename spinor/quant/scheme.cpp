#include "spinor/quant/scheme.h"

namespace spinor {
namespace {

constexpr EnumName<QuantizationType> kTypes[] = {{QuantizationType::integer, "int"},
                                                 {QuantizationType::floating, "float"}};
constexpr EnumName<QuantizationStrategy> kStrategies[] = {
    {QuantizationStrategy::tensor, "tensor"},       {QuantizationStrategy::channel, "channel"},
    {QuantizationStrategy::group, "group"},         {QuantizationStrategy::block, "block"},
    {QuantizationStrategy::token, "token"},         {QuantizationStrategy::tensor_group, "tensor_group"},
    {QuantizationStrategy::attn_head, "attn_head"},
};
constexpr EnumName<ActOrder> kActOrders[] = {{ActOrder::weight, "weight"}, {ActOrder::fixed, "static"}};

}  // namespace

std::span<const EnumName<QuantizationType>> enum_names(QuantizationType) {
  return kTypes;
}
std::span<const EnumName<QuantizationStrategy>> enum_names(QuantizationStrategy) {
  return kStrategies;
}
std::span<const EnumName<ActOrder>> enum_names(ActOrder) {
  return kActOrders;
}

}  // namespace spinor
