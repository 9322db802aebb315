#include "cli/torch/stopping_text.h"

#include <algorithm>

namespace spinor::cli {

void StoppingText::add(const std::string& more) {
  const size_t before = text_.size();
  text_ += more;
  for (const std::string& stop : stop_)  // which may have begun in what was there
    end_ = std::min(end_, text_.find(stop, before - std::min(before, stop.size() - 1)));
}

bool StoppingText::push(int32_t token) {
  add(stream_.push(token));
  return end_ == std::string::npos;
}

std::string StoppingText::finish() {
  add(stream_.finish());
  return text_.substr(0, end_);
}

}  // namespace spinor::cli
