// What many requests give a model, where those that begin alike give what they have in common once.
#pragma once

#include <ATen/core/Tensor.h>

#include <deque>
#include <functional>
#include <map>
#include <span>
#include <vector>

#include "spinor/runtime/answer.h"
#include "spinor/runtime/decoder.h"

namespace spinor::runtime {

using TokenRow = std::vector<int64_t>;
// Long ones first: what takes the most memory fails at once.
struct LongestFirst {
  bool operator()(const TokenRow& a, const TokenRow& b) const {
    return a.size() != b.size() ? a.size() > b.size() : a < b;
  }
};
// What follows the same tokens, if anything does, with the requests that it is of: two whose continuations differ in
// the last token alone give a model the same.
using Leaves = std::map<TokenRow, std::vector<size_t>, LongestFirst>;
using Stems = std::map<TokenRow, Leaves, LongestFirst>;

// Of those that have a continuation: all tokens but the last, which is only predicted, and not those before the window.
// Requests share a context as a stem where it is the longer part of each, and where a model can be continued.
Stems stems_of(std::span<const Request> requests, int64_t window, bool can_continue);

// Some of the stems: those of one length go through the layers in batches, and behind each batch its leaves, the short
// ones with their last token repeated, which changes nothing before it.
class StemBatches {
 public:
  // Of falling length. They must outlive this.
  void add(const Stems::value_type& stem);
  int64_t tokens() const { return tokens_; }
  // Calls visit with the last states of each request, (count, hidden size), count being those of its continuation.
  void run(Decoder& decoder, std::span<const Request> requests,
           const std::function<void(size_t request, const at::Tensor& states)>& visit) const;

 private:
  struct Leaf {
    int64_t stem;  // its row
    const TokenRow* tokens;
    const std::vector<size_t>* requests;
  };
  struct Some {
    std::vector<const TokenRow*> stems;
    std::vector<Leaf> leaves;  // of falling length in the end
  };
  using Visit = std::function<void(const Leaf& leaf, const at::Tensor& states)>;
  // Those that go through the layers together; the empty ones are none.
  static std::vector<std::span<const Leaf>> leaf_batches(const Some& some);
  static Batch leaf_batch(std::span<const Leaf> leaves, int64_t stem_length, KeyValueCache& stem,
                          std::deque<KeyValueCache>& caches);
  // The states of each leaf, behind the last one of its stem or, of an empty one, all of the stem.
  void show(std::span<const at::Tensor> hidden, const Visit& visit) const;

  std::vector<Some> batches_;
  int64_t tokens_ = 0;
};

}  // namespace spinor::runtime
