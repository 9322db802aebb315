#include "spinor/plan/scale_vector.h"

#include <fmt/format.h>

#include <cmath>

#include "spinor/base/error.h"
#include "spinor/plan/stored_edits.h"

namespace spinor {

std::vector<double> scale_vector(const TensorPlan& tensor, const Scale& edit) {
  const std::vector<double>& by = *edit.by;
  const WeightShape& shape = tensor.shape;
  const int64_t all = (edit.columns ? shape.in : shape.out) * shape.count;
  const Slice part = edit.part.value_or(Slice{0, all, all});
  if (part.period < 1 || all % part.period != 0 || all / part.period * part.size != std::ssize(by))
    throw Error(tensor.name, fmt::format("scale {} has {} factors, which do not fit its {} {}", edit.label, by.size(),
                                         all, edit.columns ? "columns" : "rows"));
  std::vector<double> factors(static_cast<size_t>(all), 1.0);
  auto next = by.begin();
  for_runs(part, 0, all, [&](int64_t begin, int64_t end) {
    for (; begin < end; ++begin) {
      const double factor = edit.inverse ? 1 / *next++ : *next++;
      if (!(factor > 0) || !std::isfinite(factor))
        throw Error(tensor.name, fmt::format("scale {} has a factor that is not positive and finite", edit.label));
      factors[static_cast<size_t>(begin)] = factor;
    }
  });
  return factors;
}

}  // namespace spinor
