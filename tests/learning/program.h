// How a program of this folder begins and ends.
#pragma once

#include <cstdio>
#include <exception>

namespace spinor::learning {

// What main() returns: 2 for another number of arguments, 1 for an error, which is printed.
inline int run_program(int argc, char** argv, int expected, void (*run)(char** arguments)) {
  if (argc != expected) return 2;
  try {
    run(argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
  return 0;
}

}  // namespace spinor::learning
