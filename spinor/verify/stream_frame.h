// Vectors of the residual stream as two checkpoints have them. If one is a rotation of the other, all inner products
// agree.
#pragma once

#include <vector>

namespace spinor::verify {

// What a writer puts into the stream for one random input: in the source's frame and in the output's. Sizes:
// hidden_size.
struct StreamVector {
  std::vector<double> source, output;
};

double length(const std::vector<double>& v);

// |<a, b> - <a', b'>| in units of what rounding each stored weight by a relative `roundoff` moves it by, about
// roundoff |a| |b| / sqrt(hidden). Infinity for NaN.
double gram_error(const StreamVector& a, const StreamVector& b, double roundoff);

struct Agreement {
  std::vector<char> good;     // per vector: it belongs to the largest set found whose inner products all agree
  std::vector<double> error;  // per vector: its largest gram_error against the good ones
};

// Takes out the vector that disagrees with most others until the rest agree. A vector that does not even keep its own
// length disagrees with itself. vectors^2 * hidden_size multiply-adds.
Agreement agreement(const std::vector<StreamVector>& vectors, double roundoff, double bound);

double dot(const std::vector<double>& a, const std::vector<double>& b);  // of one length

}  // namespace spinor::verify
