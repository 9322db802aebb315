// Transform types: a table name -> maker. A program can add its own.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "spinor/linalg/random.h"
#include "spinor/linalg/rotation.h"

namespace spinor {

struct TransformRequest {
  int64_t size = 0;
  bool randomize = false;  // the hadamard types draw a permutation after their signs
  bool single_precision =
      false;                // random-matrix: draws are float32 draws (the first use is online, its precision float32)
  bool fixes_ones = false;  // R 1 = 1, so that a LayerNorm commutes with R; any size. random-matrix has none
};
using TransformMaker = std::function<Rotation(const TransformRequest&, Random&)>;

struct TransformType {
  std::string name;        // "random-hadamard"
  bool orthogonal = true;  // legal as R1
  TransformMaker make;
};

// hadamard, random-hadamard, random-matrix (as compressed-tensors), random-orthogonal (ours), then those added.
const std::vector<TransformType>& transform_types();
// For a program, before it applies anything; replacing a name is an Error. Not thread-safe.
void register_transform_type(TransformType type);
// Lookup as the peer: case, "_" and " " do not matter. Error listing the types, with the nearest name.
const TransformType& find_transform_type(std::string_view name);

}  // namespace spinor
