// How an observer turns a weight's range into the range that codes cover.
#pragma once

namespace spinor {

struct ObserverOptions {
  bool mse = false;        // search for the shrunk or expanded range of least error; else the range itself
  bool imatrix = false;    // as llm-compressor's imatrix observers search: see GridSearch
  bool strict = false;     // of imatrix: where columns cannot weigh is an error
  double expand = 1;       // ranges p * expand * range are tried,
  double maxshrink = 0.2;  // for p = 1, 1 - 1/grid, ... down to 1 - maxshrink
  int patience = 5;        // steps in a row in which no group of the tensor improved end the search; 0: nothing does
  int grid = 100;
  double norm = 2.4;  // the error is the sum of |dequantized - x|^norm
};

}  // namespace spinor
