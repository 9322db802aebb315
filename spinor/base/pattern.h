// Target strings of recipes and transform configs: an exact name, or "re:" and a Python regular expression.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace spinor {

// A value: cheap to copy, may be used from several threads at once.
class Pattern {
 public:
  // With the prefix "re:" the rest is a regular expression as Python's re module reads it; anything else is an exact
  // name. Throws Error(target, ...) with the offset for an expression that Python would refuse too, or that uses (?x)
  // or (?a).
  explicit Pattern(std::string_view target);

  // Equality, or re.match: anchored at the start, not at the end ("re:.*q_proj" matches "q_proj_x"; write $).
  // Throws Error(target, ...) when matching would take too long (nested repetitions), or the name is not UTF-8.
  bool matches(std::string_view name) const;
  const std::string& target() const { return target_; }
  bool is_regex() const { return code_ != nullptr; }

 private:
  std::string target_;
  std::shared_ptr<const void> code_;  // the compiled expression, shared by copies; null: an exact name
};

}  // namespace spinor
