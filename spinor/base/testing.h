// What the tests of every folder share. Not for the library.
#pragma once

#include <filesystem>
#include <string>

#include "spinor/base/error.h"

namespace spinor::testing {

// The text of the Error that work() throws, with `root/` left out of it; "" if it throws none.
template <typename Work>
std::string message_of(Work&& work, const std::filesystem::path& root = {}) {
  try {
    work();
  } catch (const Error& error) {
    std::string message = error.what();
    const std::string prefix = root.string() + "/";
    for (size_t at; !root.empty() && (at = message.find(prefix)) != std::string::npos;)
      message.erase(at, prefix.size());
    return message;
  }
  return "";
}

}  // namespace spinor::testing
