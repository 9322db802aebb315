#include <cstdint>
#include <span>
#include <string_view>

#include "spinor/base/error.h"
#include "spinor/tokenizer/tokenizer.h"
#include "spinor/tokenizer/utf8.h"

// A tokenizer.json, a NUL, and a text: read or refused with an Error; tokens come back, and a stream says what decode()
// says.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace spinor;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t end = input.find('\0');
  const std::string_view text = end == input.npos ? "" : input.substr(end + 1);
  try {
    const Tokenizer tokenizer = Tokenizer::parse(input.substr(0, end), R"({"bos_token": "<s>"})");
    const std::vector<int32_t> ids = tokenizer.encode(text);
    for (const int32_t id : ids)
      if (id < 0 || id >= tokenizer.size()) __builtin_trap();
    if (find_invalid_utf8(tokenizer.decode(ids))) __builtin_trap();
  } catch (const Error&) {
  }
  return 0;
}
