// Exact scales whose factors are given: checked, and put into a plan.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "spinor/plan/plan.h"
#include "spinor/transform/scales.h"

namespace spinor {

// Factors by LegalScale::names().
using GivenScales = std::map<std::string, std::shared_ptr<const std::vector<double>>>;

// Adds all the factors of a scale, those of a stack by its names.
void give(const LegalScale& scale, std::span<const double> factors, GivenScales& scales);

// The scale of this name. Error at `subject`, with the reason, if the model has none.
const LegalScale& find_scale(const std::vector<ScaleLegality>& legality, const Model& model, const std::string& name,
                             const std::string& subject);
// Of one of its names. Error at `subject`: another number of factors, one that is not positive and finite, two for a
// pair that RoPE turns.
void check_factors(const LegalScale& scale, std::span<const double> factors, const std::string& subject);

// Writers times the factors, readers over them, biases with their rows; `inverse`: the way back. After norms are folded
// and before rotations. Errors as of the two above.
void apply_scales(const GivenScales& scales, const Model& model, RewritePlan& plan, bool inverse = false);

}  // namespace spinor
