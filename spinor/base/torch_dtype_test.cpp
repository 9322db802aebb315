#include "spinor/base/torch_dtype.h"

#include <gtest/gtest.h>

#include "spinor/base/error.h"

namespace spinor::torch_dtype_test {
namespace {

const Place kPlace{"precision", "recipe.yaml"};

std::string read(const char* spelling) {
  std::string name;
  read_value(Json(spelling), TorchDtype{name}, kPlace);
  return name;
}

TEST(TorchDtype, IsWrittenInOneSpelling) {
  EXPECT_EQ(read("float64"), "torch.float64");
  EXPECT_EQ(read("torch.float64"), "torch.float64");
  EXPECT_EQ(read("double"), "torch.float64");
  EXPECT_EQ(read("torch.half"), "torch.float16");
}

TEST(TorchDtype, IsRefusedWhereTorchHasNone) {
  try {
    read("float46");
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "recipe.yaml: precision: torch has no dtype 'float46'; did you mean 'float64'?");
  }
}

TEST(TorchDtype, MayBeAbsent) {
  std::optional<std::string> name = "torch.uint8";
  read_value(Json(), OptionalTorchDtype{name}, kPlace);
  EXPECT_EQ(name, std::nullopt);
  EXPECT_EQ(Json(OptionalTorchDtype{name}), Json());
  read_value(Json("uint8"), OptionalTorchDtype{name}, kPlace);
  EXPECT_EQ(Json(OptionalTorchDtype{name}), "torch.uint8");
}

}  // namespace
}  // namespace spinor::torch_dtype_test
