// What names of modules and sizes most likely mean, for draft_architecture().
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "spinor/base/json.h"

namespace spinor {

// A name is that of a module below its layer: "self_attn.q_proj".
bool names_attention(const std::string& name);
bool names_writer(const std::string& name);  // its output is added to the residual stream
bool names_router(const std::string& name);
bool names_mlp_norm(const std::string& name);                      // it stands before the MLP
std::vector<std::string> attention_keys(const std::string& name);  // of an AttentionRow: query, key, value

// The formula that has a size: a key of config.json, a product of two; else the number itself.
class SizeNames {
 public:
  explicit SizeNames(const Json& config);

  int64_t hidden() const { return hidden_; }  // 0: not known
  // `heads`: formulas with heads go before hidden_size.
  std::string name(int64_t size, bool heads = false) const;

 private:
  int64_t hidden_ = 0;
  std::vector<std::pair<int64_t, std::string>> of_heads_, others_;
};

}  // namespace spinor
