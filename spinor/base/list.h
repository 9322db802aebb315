// What lists do not have before C++23: contains() and append_range().
#pragma once

#include <algorithm>
#include <ranges>

namespace spinor {

template <std::ranges::input_range List, typename T>
bool contains(const List& list, const T& value) {
  return std::ranges::find(list, value) != std::ranges::end(list);
}

template <typename List, std::ranges::input_range More>
void append(List& list, const More& more) {
  list.insert(list.end(), std::ranges::begin(more), std::ranges::end(more));
}

}  // namespace spinor
