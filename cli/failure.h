// Why a command ended without a result, for callers that are programs.
#pragma once

#include <exception>
#include <string>

namespace spinor::cli {

struct Failure {
  std::string kind;  // "usage": of the options; "input": what was asked for, or a file; "system": neither;
                     // "torch": NeedsTorch
  std::string subject, problem, hint;
};

// Of what CommandLine::app().parse() and run() throw. `out_of_memory`: what to say of a std::bad_alloc.
Failure failure_of(const std::exception_ptr& error, const std::string& out_of_memory);

}  // namespace spinor::cli
