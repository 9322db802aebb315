#include <cstdint>
#include <string_view>

#include "spinor/base/error.h"
#include "spinor/family/model_config.h"

// Any config.json is read with every row of the table, or refused with an Error; its sizes never overflow.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace spinor;
  try {
    const Json config = parse_json({reinterpret_cast<const char*>(data), size}, "config.json");
    find_architecture(read_architecture_name(config, "config.json"));
    read_model_config(config, nullptr, "config.json");
    for (const Architecture& row : architectures()) {
      const ModelConfig read = read_model_config(config, &row, "config.json");
      for (const LinearRow& linear : row.linears)
        for (const std::string& size : {linear.out, linear.in})
          if (size != kAny && size_of(size, read) < 1) __builtin_trap();
    }
  } catch (const Error&) {
  }
  return 0;
}
