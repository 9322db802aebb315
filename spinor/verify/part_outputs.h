// What some rows of a linear make of the residual stream, in both models, and how far that is from what a scale or
// another order leaves alone.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "spinor/transform/linear_part.h"
#include "spinor/verify/context.h"

namespace spinor::verify {

// A sum, and how large the terms are whose rounding moves it.
struct Term {
  double y = 0, size = 0;
};

// Of kVectors random vectors, then what the rows add whatever they read.
class PartOutputs {
 public:
  PartOutputs(const Side& side, const Module& rows, const Module* norm, const Matrix<double>& x);

  size_t vectors() const { return terms_.size(); }
  size_t rows() const { return terms_.front().size(); }
  const std::vector<Term>& operator[](size_t vector) const { return terms_[vector]; }
  // Each entry times its weight, one vector a row.
  Matrix<double> weighed(const std::vector<double>& weights) const;
  // Row i becomes what row order[i] was.
  void reorder(std::span<const int64_t> order);
  void multiply(size_t row, double factor);

 private:
  std::vector<std::vector<Term>> terms_;

  void add(const std::vector<double>& y, const std::vector<double>& energy);
};

// The same rows in both models.
struct BothOutputs {
  PartOutputs source, output;
};
// Of the stream's vectors in the context.
BothOutputs outputs_of(const Context& context, const LinearPart& rows);

// All errors are in roundoffs, and infinite where something is not finite.

// |a b - c d|
double product_error(Term a, Term b, Term c, Term d, double u);
// |a - b|
double difference(Term a, Term b, double u);
// The largest difference of a row.
double largest_difference(const BothOutputs& both, size_t row, double u);
// How far a row is from a multiple of what it was.
double multiple_error(const BothOutputs& both, size_t row, double u);
// The largest of all rows; infinite for a negative multiple, as no scale is.
double multiple_error(const BothOutputs& both, double u);

}  // namespace spinor::verify
