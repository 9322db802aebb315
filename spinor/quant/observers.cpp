#include "spinor/quant/observers.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <vector>

#include "spinor/base/nearest.h"

namespace spinor {
namespace {

// The peer's names, and where its search begins and ends unless arguments say so.
struct ObserverRow {
  std::string_view name;
  Averaging averaging;
  ObserverOptions options;
};
constexpr ObserverOptions kNoSearch, kSearch{.mse = true};
constexpr ObserverOptions kExpanded{
    .mse = true, .expand = 1.8, .maxshrink = 1 - 0.8 / 1.8, .patience = 1000, .grid = 200};
constexpr ObserverRow kObservers[] = {
    {"memoryless_minmax", Averaging::last, kNoSearch},
    {"minmax", Averaging::moving, kNoSearch},
    {"static_minmax", Averaging::all, kNoSearch},
    {"memoryless_mse", Averaging::last, kSearch},
    {"mse", Averaging::moving, kSearch},
    {"nvfp4_expanded_mse", Averaging::last, kExpanded},
    {"fouroversix", Averaging::last, kExpanded},  // that is what the peer makes of it
};
constexpr auto kNotSupported = std::to_array<std::string_view>({"imatrix_mse", "nvfp4_expanded_imatrix"});

// llm-compressor looks names up so: "MSE" and "memoryless-minmax" are names too.
std::string lookup_name(std::string name) {
  for (char& c : name) c = c == '-' || c == ' ' ? '_' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return name;
}

struct ObserverArguments {
  ObserverOptions search;
  double grid = search.grid;
  double averaging_constant = 0.01;
  double triton_error_buffer = 0;  // of the peer's search on a GPU alone

  template <class Visitor>
  void fields(Visitor& v) {
    v("averaging_constant", averaging_constant);
    v("maxshrink", search.maxshrink);
    v("patience", search.patience);
    v("grid", grid);
    v("norm", search.norm);
    v("expand", search.expand);
    v("triton_error_buffer", triton_error_buffer);
  }
};

const ObserverRow& find_row(const std::string& given, const Place& place) {
  const std::string name = lookup_name(given);
  if (std::ranges::find(kNotSupported, name) != kNotSupported.end())
    place.fail("the observer " + given + " is not supported yet", "use minmax or mse");
  const auto* row = std::ranges::find(kObservers, name, &ObserverRow::name);
  if (row != std::end(kObservers)) return *row;
  std::vector<std::string_view> names;
  for (const ObserverRow& observer : kObservers) names.push_back(observer.name);
  place.fail("no observer is called '" + given + "'", suggest_name(given, names));
}

void check(const ObserverArguments& arguments, const Place& place) {
  const ObserverOptions& search = arguments.search;
  if (search.maxshrink < 0 || search.maxshrink > 1 || search.patience < 1 || search.norm <= 0)
    place.fail("0 <= maxshrink <= 1, 1 <= patience and 0 < norm must hold");
  if (arguments.grid < 1 || arguments.grid > 1e6 || arguments.grid != std::floor(arguments.grid))
    place.key("grid").fail("grid is a number of steps", "use an integer from 1 on");
  if (!(search.expand >= 1 && search.expand < 1e6))
    place.key("expand").fail("expand is below 1: the range shrinks by maxshrink", "use 1 or more");
  if (!(arguments.averaging_constant > 0 && arguments.averaging_constant <= 1))
    place.key("averaging_constant").fail("averaging_constant lies between 0 and 1", "use 0.01");
}

ActivationObserver observer(const QuantizationArgs& args, const char* otherwise, const Place& place) {
  const ObserverRow& row = find_row(args.observer.value_or(otherwise), place);
  const Place here = place.key("observer_kwargs");
  ObserverArguments arguments{.search = row.options};
  fields_detail::read_any(args.observer_kwargs, arguments, here);
  check(arguments, here);
  ActivationObserver result{arguments.search, row.averaging, arguments.averaging_constant};
  result.search.grid = static_cast<int>(arguments.grid);
  return result;
}

}  // namespace

ObserverOptions weight_observer(const QuantizationArgs& args, const Place& place) {
  return observer(args, "memoryless_minmax", place).search;
}

ActivationObserver activation_observer(const QuantizationArgs& args, const Place& place) {
  return observer(args, "minmax", place);
}

}  // namespace spinor
