// Many names and regexes, asked for the first that matches.
#pragma once

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "spinor/base/pattern.h"

namespace spinor {

class TargetList {
 public:
  static constexpr size_t npos = std::numeric_limits<size_t>::max();

  explicit TargetList(std::vector<std::string> targets) : targets_(std::move(targets)) {
    for (size_t i = 0; i < targets_.size(); ++i) {
      if (targets_[i].starts_with("re:"))
        regexes_.emplace_back(i, Pattern(targets_[i]));
      else
        names_.emplace(targets_[i], i);
    }
  }

  bool has_name(std::string_view name) const { return names_.contains(name); }

  // The index of the first that is the name, or a regex that matches it.
  size_t first(std::string_view name) const {
    const auto exact = names_.find(name);
    const size_t best = exact == names_.end() ? npos : exact->second;
    for (const auto& [i, pattern] : regexes_)
      if (i < best && pattern.matches(name)) return i;
    return best;
  }

  // The same for the name of a class, of which a target may be a piece in any case: "Linear" of "QKVParallelLinear".
  size_t first_of_class(std::string_view name) const {
    for (size_t i = 0; i < targets_.size(); ++i)
      if (!targets_[i].starts_with("re:") && contains(name, targets_[i])) return std::min(i, first(name));
    return first(name);
  }

 private:
  static bool contains(std::string_view text, std::string_view piece) {
    const auto alike = [](char a, char b) {
      return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b));
    };
    return std::search(text.begin(), text.end(), piece.begin(), piece.end(), alike) != text.end();
  }

  std::vector<std::string> targets_;
  std::map<std::string, size_t, std::less<>> names_;
  std::vector<std::pair<size_t, Pattern>> regexes_;
};

}  // namespace spinor
