// The edits of a tensor carried out, block by block, in float or double, without holding the tensor.
#pragma once

#include <cstddef>
#include <vector>

#include "spinor/plan/blocks.h"
#include "spinor/plan/plan.h"

namespace spinor {

// How a tensor of a plan is cut when it is stored as `output`. Checks its edits without reading anything: an edit of a
// type spinor does not compute with, or a rotation whose size does not divide the side, is an Error naming the tensor.
Cut tensor_cut(const TensorPlan& tensor, DType output);

// One tensor of a plan, ready to be computed: its cut, and the norm vectors its edits need. T: float or double.
// Everything but construction is const and may run on several threads, each with a Workspace of its own.
template <typename T>
class TensorProgram {
 public:
  struct Workspace {
    std::vector<std::byte> source, output;  // a block as stored
    std::vector<T> tile, scratch;
  };

  // output: the dtype the tensor will be stored in (F64 to only compute). Reads the norms; one of another length is an
  // Error.
  TensorProgram(const RewritePlan& plan, const TensorPlan& tensor, DType output);

  const TensorPlan& tensor() const { return *tensor_; }
  const Cut& cut() const { return cut_; }
  DType output() const { return output_; }
  int64_t output_bytes() const { return output_bytes_; }  // of an element of the output (1 for types only copied)
  // Reads a block, edits it, and rounds it once into work.output (block.rows x block.cols elements, row-major, dtype
  // `output`). A value that is not finite is an Error that says where it was and whether the source had it.
  void compute(const Block& block, Workspace& work) const;
  // The same, stopping before the rounding: visit(tile, view) sees each tile of the block. For statistics and probes.
  template <typename Visit>
  void compute_tiles(const Block& block, Workspace& work, const Visit& visit) const {
    read(block, work);
    for (const Block& tile : cut_.tiles(block)) visit(tile, edit(block, tile, work));
  }

 private:
  void read(const Block& block, Workspace& work) const;
  MatrixView<T> edit(const Block& block, const Block& tile, Workspace& work) const;
  [[noreturn]] void fail_not_finite(const Block& block, const Block& tile, Workspace& work) const;

  const Checkpoint* checkpoint_;
  const TensorPlan* tensor_;
  DType output_;
  int64_t source_bytes_ = 1, output_bytes_ = 1;  // of an element
  Cut cut_;
  std::vector<std::vector<T>> norms_;  // per edit: offset + g for FoldNorm, else empty
};

extern template class TensorProgram<float>;
extern template class TensorProgram<double>;

}  // namespace spinor
