#include "cli/terminal.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iostream>

#include "spinor/base/error.h"

namespace spinor::cli {

Context Terminal::context() {
  Context context;
  context.warn = [](const std::string& text) { fmt::print(stderr, "warning: {}\n", text); };
  context.stream = [](const std::string& text) {
    write_output(text);
    return std::fflush(stdout) == 0;
  };
  if (!details_) return context;
  context.progress = [this](const std::string& what, int64_t done, int64_t all) { bars_.show(what, done, all); };
  context.log = [](const std::string& text) { fmt::print(stderr, "{}", text); };
  return context;
}

void write_output(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);  // finish_output() says if it failed
}

// A buffer that was written before it was full leaves no more than the stream's error behind.
void finish_output() {
  errno = 0;
  std::cout.flush();  // CLI11 prints help and version there
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0 && std::cout.good()) return;
  throw Error("standard output", errno ? std::strerror(errno) : "could not be written");
}

}  // namespace spinor::cli
