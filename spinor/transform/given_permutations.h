// Orders of the hidden channels of MLPs that are given: checked, and put into a plan.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "spinor/plan/plan.h"
#include "spinor/transform/hidden_channels.h"

namespace spinor {

// By HiddenChannels::name: channel i becomes what channel order[i] was.
using GivenPermutations = std::map<std::string, std::shared_ptr<const std::vector<int64_t>>>;

// The channels of this name. Error at `subject`, with the reason, where the model has none, or keeps their order.
const HiddenChannels& find_channels(const std::vector<HiddenChannels>& channels, const std::string& name,
                                    const std::string& subject);
// Error at `subject` for what is no permutation of these channels.
void check_order(const HiddenChannels& channels, std::span<const int64_t> order, const std::string& subject);

// Rows of writers, with their biases, and columns of readers; `inverse`: the way back. After scales, before rotations.
// Errors as of the two above.
void apply_permutations(const GivenPermutations& permutations, const Model& model, RewritePlan& plan,
                        bool inverse = false);

}  // namespace spinor
