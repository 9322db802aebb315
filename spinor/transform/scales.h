// Exact scales: vectors of positive factors that go into the rows of one linear, and out of those that read what it
// makes, so that the model stays the same function. Which a model has, and why it has no others.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "spinor/model/model.h"
#include "spinor/transform/linear_part.h"

namespace spinor {

enum class ScaleKind {
  m,  // what an MLP multiplies by its activation, or activates by a function that commutes with positive factors
  k,  // keys, against queries; one factor for both channels that RoPE turns into each other
  v   // values, against what reads them
};
std::span<const EnumName<ScaleKind>> enum_names(ScaleKind);

// One vector of factors, those of `writer` in the order of its rows: key-value heads one after the other. Of a stack
// there is one for each expert, one after the other.
struct LegalScale {
  ScaleKind kind = ScaleKind::m;
  std::string name;        // "model.layers.0.mlp.up_proj"; of a part "...qkv_proj.k_proj"
  LinearPart writer = {};  // its rows, and its bias, take the factors
  // Columns (m, v) or rows (k: those of the queries) that divide by them, each head of the writer as many times as it
  // is read.
  std::vector<LinearPart> readers = {};
  // Of a stack, the names of its experts' vectors, which they have as single linears, too: "...experts.3.up_proj".
  // None where spinor has no such names: then `name` is that of all.
  std::vector<std::string> experts = {};
  int64_t stack = 1;         // matrices in the linears of an MLP
  int64_t head_dim = 0;      // of k and v: entries of a key-value head
  int64_t turning = 0;       // of k: so many of them turn, the first of each head
  bool interleaved = false;  // in neighbours; else half of `turning` apart

  std::vector<std::string> names() const;  // of its vectors, which are equally long
  // The other entry with the same factor; the entry itself if there is none.
  int64_t partner(int64_t entry) const;
  // Which entry divides the columns (m, v) or rows (k) of a reader.
  int64_t entry_read(const LinearPart& reader, int64_t index) const;
};

struct ScaleLegality {
  ScaleKind kind = ScaleKind::m;
  std::vector<LegalScale> scales;  // layer by layer; none of multi-token prediction, none of vision towers
  std::string reason;              // why there are none; empty: there are some
};

// m, k and v in this order. The modules are the model's.
std::vector<ScaleLegality> scale_legality(const Model& model);
// All of them.
std::vector<LegalScale> legal_scales(const Model& model);

}  // namespace spinor
