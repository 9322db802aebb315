// The one exception type of spinor. A message says on which tensor, key or file, what is wrong, and what to do instead.
#pragma once

#include <stdexcept>
#include <string>

namespace spinor {

// what() is "subject: problem; hint" (without "; hint" when there is none). The library neither prints nor exits; it
// throws this.
class Error : public std::runtime_error {
 public:
  Error(std::string subject, std::string problem, std::string hint = {})
      : std::runtime_error(subject + ": " + problem + (hint.empty() ? "" : "; " + hint)),
        subject_(std::move(subject)),
        problem_(std::move(problem)),
        hint_(std::move(hint)) {}

  const std::string& subject() const noexcept { return subject_; }
  const std::string& problem() const noexcept { return problem_; }
  const std::string& hint() const noexcept { return hint_; }

 private:
  std::string subject_, problem_, hint_;
};

// The system refused: no file of that name, no space, no right. The rest is about what was asked for, or about what is
// in files.
class SystemError : public Error {
 public:
  SystemError(std::string subject, std::string problem, std::string hint, int number)
      : Error(std::move(subject), std::move(problem), std::move(hint)), number_(number) {}

  int number() const noexcept { return number_; }  // errno

 private:
  int number_;
};

// Work ended because somebody asked it to, through a std::stop_token of its options.
class Stopped : public Error {
 public:
  Stopped() : Error("stopped", "as was asked for", "do the same again to go on from here") {}
};

}  // namespace spinor
