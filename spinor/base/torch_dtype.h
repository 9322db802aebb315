// Fields that are torch dtypes: "bfloat16" and "torch.double" are read as "torch.bfloat16" and "torch.float64". Error
// at the place for a name that torch does not have.
#pragma once

#include <optional>
#include <string>

#include "spinor/base/fields.h"

namespace spinor {

struct TorchDtype {
  std::string& name;
};
void read_value(const Json& json, TorchDtype out, const Place& place);
void to_json(Json& json, const TorchDtype& dtype);

struct OptionalTorchDtype {
  std::optional<std::string>& name;
};
void read_value(const Json& json, OptionalTorchDtype out, const Place& place);
void to_json(Json& json, const OptionalTorchDtype& dtype);

}  // namespace spinor
