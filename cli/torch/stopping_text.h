// A text that ends before one of several others.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "spinor/tokenizer/tokenizer.h"

namespace spinor::cli {

// The tokenizer and the texts must outlive it.
class StoppingText {
 public:
  StoppingText(const tokenizer::Tokenizer& tokenizer, const std::vector<std::string>& stop)
      : stream_(tokenizer), stop_(stop) {}

  // False as soon as a stop text is there.
  bool push(int32_t token);
  // All of the text before the first stop text, after the last token.
  std::string finish();

 private:
  void add(const std::string& more);

  tokenizer::TokenStream stream_;
  const std::vector<std::string>& stop_;
  std::string text_;
  size_t end_ = std::string::npos;  // where the first stop text begins
};

}  // namespace spinor::cli
