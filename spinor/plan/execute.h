// The edits of a tensor carried out, block by block, in float or double, without holding the tensor.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "spinor/model/weight_reader.h"
#include "spinor/plan/blocks.h"
#include "spinor/plan/outputs.h"
#include "spinor/plan/plan.h"

namespace spinor {

// How a tensor of a plan is cut when it is stored as `output`. Checks its edits without reading anything: an edit of a
// type spinor does not compute with, a rotation whose size does not divide the side, or an edit after the weight has
// become codes is an Error naming the tensor.
Cut tensor_cut(const TensorPlan& tensor, DType output);

// How often every block must be observed before one can be computed; see WeightEncoder::passes.
int observing_passes(const TensorPlan& tensor, DType output);

// What a program keeps of a weight that is observed before it is computed: its edited values, so that it is read and
// edited once. 0 for a weight that is not, or whose values take more than 64 MiB: it is read and edited every time.
int64_t kept_bytes(const TensorPlan& tensor, DType output);

// One tensor of a plan, ready to be computed: its cut, and the norm vectors its edits need. T: float or double.
// observe, compute and compute_tiles may run on several threads, each with a Workspace of its own.
template <typename T>
class TensorProgram {
 public:
  struct Workspace {
    std::vector<std::byte> source, output;  // a block as stored
    std::vector<T> tile, scratch;
    std::vector<float> values;  // a tile on its way to codes
  };

  // output: the dtype the tensor will be stored in (F64 to only compute). Reads the norms; one of another length is an
  // Error.
  TensorProgram(const RewritePlan& plan, const TensorPlan& tensor, DType output);

  const TensorPlan& tensor() const { return *tensor_; }
  const Cut& cut() const { return cut_; }
  int64_t output_row_bytes(int64_t cols) const;  // of a row of the first output tensor that is so wide

  // The weight's encoder, if an edit quantizes it; else null.
  WeightEncoder* encoder() const { return encoder_.get(); }
  // A pass: every block of it, then, from one thread, its end. The first one leaves the block in work.source, and so
  // does compute() if there was none.
  void observe(int pass, const Block& block, Workspace& work) const;
  void end_pass(int pass);
  // Reads a block, edits it, and rounds it once, or quantizes it, into work.output: block.rows rows of
  // output_row_bytes(block.cols). A value that is not finite is an Error that says where it was and whether the source
  // had it.
  void compute(const Block& block, Workspace& work) const;
  // The same, stopping before the rounding: visit(tile, view) sees each tile of the block. For statistics and probes.
  template <typename Visit>
  void compute_tiles(const Block& block, Workspace& work, const Visit& visit) const {
    if (!observed_) read(block, work);
    for (const Block& tile : cut_.tiles(block)) visit(tile, edit(block, tile, work, tensor_->edits.size()));
  }

 private:
  void read(const Block& block, Workspace& work) const;
  MatrixView<float> kept(const Block& tile) const;
  MatrixView<T> edit(const Block& block, const Block& tile, Workspace& work, size_t edits) const;
  bool makes_codes() const;
  std::byte* place(const Block& block, const Block& tile, Workspace& work) const;
  bool round(const Block& block, const Block& tile, MatrixView<T> x, Workspace& work) const;
  MatrixView<float> values(const Block& tile, MatrixView<T> x, Workspace& work) const;
  [[noreturn]] void fail_not_finite(const Block& block, const Block& tile, Workspace& work) const;

  const Checkpoint* checkpoint_;
  const TensorPlan* tensor_;
  std::vector<Edit> edits_;  // of the stored matrix
  DType output_;
  Cut cut_;
  std::optional<WeightReader> reader_;  // none: the bytes are only copied
  std::vector<std::vector<T>> norms_;   // per edit: of FoldNorm and Scale the factors, else norm_bias_vector()
  std::unique_ptr<WeightEncoder> encoder_;
  size_t quantizing_ = 0;  // the edit that does, or their number
  mutable std::once_flag keeping_;
  mutable std::unique_ptr<float[]> kept_;  // the values before it, of the whole weight
  bool observed_ = false;                  // they are all there
};

extern template class TensorProgram<float>;
extern template class TensorProgram<double>;

}  // namespace spinor
