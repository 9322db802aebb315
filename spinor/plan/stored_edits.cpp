#include "spinor/plan/stored_edits.h"

namespace spinor {

std::vector<Edit> stored_edits(const TensorPlan& tensor) {
  std::vector<Edit> edits = tensor.edits;
  if (!tensor.shape.transposed) return edits;
  for (Edit& edit : edits) {
    if (auto* right = std::get_if<MultiplyRight>(&edit))
      edit = MultiplyLeft{right->r.transposed(), std::move(right->label), right->part};
    else if (auto* left = std::get_if<MultiplyLeft>(&edit))
      edit = MultiplyRight{left->r.transposed(), std::move(left->label), left->part};
    else if (auto* fold = std::get_if<FoldNormWithBias>(&edit))
      fold->transposed = true;
  }
  return edits;
}

}  // namespace spinor
