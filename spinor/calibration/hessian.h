// The Hessian of a linear layer's squared output error in a row of its weight, 2 X'X, or its diagonal alone, and its
// Cholesky factor.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace spinor::calibration {

enum class HessianPart { whole, diagonal };

// Sums of X'X are made in pieces, each by one thread: panels of columns, each down to the diagonal; or the diagonal.
struct HessianPiece {
  int64_t first = 0, cols = 0, rows = 0;  // rows 0: of a diagonal
  int64_t values() const { return rows > 0 ? rows * cols : cols; }
};
std::vector<HessianPiece> hessian_pieces(int64_t size, HessianPart part);
int64_t hessian_values(int64_t size, HessianPart part);  // of all of them
// The products of the rows of several x (..., size), in float32, summed up x by x: 2 rows `values` floating point
// operations.
at::Tensor sum_products(const HessianPiece& piece, std::span<const at::Tensor> inputs);

class Hessian {
 public:
  // Of inputs with `size` columns, on their device: size^2 floats, or `size` of them.
  Hessian(int64_t size, const at::Device& device, HessianPart part = HessianPart::whole);

  // What sum_products() gave for each piece of some inputs. Pieces may be added side by side, each once.
  void add(const HessianPiece& piece, const at::Tensor& products);
  void count(int64_t inputs, int64_t tokens);  // that were added
  HessianPart part() const { return part_; }
  int64_t tokens() const { return tokens_; }
  bool finite() const;
  at::Device device() const { return sum_.device(); }
  // 2 X'X / the number of inputs that were added, as llm-compressor scales it. Rows and columns in their own order, or
  // in that of these indices, on its device. Of a whole one alone.
  at::Tensor matrix() const;
  at::Tensor matrix(const at::Tensor& order, int threads) const;
  at::Tensor diagonal() const;

 private:
  double scale() const;

  HessianPart part_;
  at::Tensor sum_;  // its upper part, or its diagonal
  int64_t tokens_ = 0, added_ = 0;
};

// H[order][order] + damping = L L', see spinor/quant/gptq.h.
struct HessianFactor {
  at::Tensor lower;            // L, float32 on the CPU, zeros right of its diagonal
  std::vector<int64_t> order;  // the column that each row of L is about
  std::vector<int64_t> dead;   // columns whose inputs are always 0
  double damping = 0;          // that was added to the diagonal
  double dampening_frac = 0;   // the same in the mean of the diagonal: more than asked for where that was not enough
};

// By activity: columns with the largest inputs are quantized first (actorder), else from the left. Tries up to 1000
// times the dampening; nothing: the matrix has no factor even then. Takes little beyond the result. Its bits do not
// depend on threads. Within OneThreadEach (on_each.h).
std::optional<HessianFactor> factor(const Hessian& hessian, double dampening_frac, bool by_activity, int threads);

}  // namespace spinor::calibration
