#include "spinor/base/nearest.h"

#include <algorithm>
#include <cctype>
#include <numeric>
#include <vector>

namespace spinor {
namespace {

bool same_letter(char a, char b) {
  return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b));
}

// Optimal string alignment; only the last two rows of the table are kept.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  std::iota(last.begin(), last.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + !same_letter(a[i - 1], b[j - 1])});
      const bool swapped = i > 1 && j > 1 && same_letter(a[i - 1], b[j - 2]) && same_letter(a[i - 2], b[j - 1]);
      if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before.swap(last);
    last.swap(row);
  }
  return last.back();
}

}  // namespace

std::string_view nearest_name(std::string_view unknown, std::span<const std::string_view> names) {
  std::string_view best;
  size_t best_distance = std::max<size_t>(1, unknown.size() / 3) + 1;
  if (unknown.size() > 200) return best;  // not a typing error, and the table is quadratic
  for (const std::string_view name : names) {
    const size_t distance = edit_distance(unknown, name);
    if (distance < std::min(best_distance, std::max(unknown.size(), name.size())))
      best = name, best_distance = distance;
  }
  return best;
}

std::string suggest_name(std::string_view unknown, std::span<const std::string_view> names) {
  const std::string_view nearest = nearest_name(unknown, names);
  if (!nearest.empty()) return "did you mean '" + std::string(nearest) + "'?";
  std::string known = "known:";
  for (const std::string_view name : names) known += (name == names.front() ? " " : ", ") + std::string(name);
  return names.empty() ? "" : known;
}

}  // namespace spinor
