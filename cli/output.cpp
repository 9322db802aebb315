#include "cli/output.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iostream>

#include "spinor/base/error.h"

namespace spinor::cli {

void print_json(const Json& json) {
  fmt::print("{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
}

void print_warning(const std::string& text) {
  fmt::print(stderr, "warning: {}\n", text);
}

// A buffer that was written before it was full leaves no more than the stream's error behind.
void finish_output() {
  errno = 0;
  std::cout.flush();  // CLI11 prints help and version there
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0 && std::cout.good()) return;
  throw Error("standard output", errno ? std::strerror(errno) : "could not be written");
}

}  // namespace spinor::cli
