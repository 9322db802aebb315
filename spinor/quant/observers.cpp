#include "spinor/quant/observers.h"

#include <fmt/format.h>

#include <algorithm>
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
constexpr ObserverOptions kImatrix{
    .mse = true, .imatrix = true, .maxshrink = 0.95, .patience = 5, .grid = 20, .norm = 3};
constexpr ObserverOptions kExpandedImatrix = [] {
  ObserverOptions options = kExpanded;
  options.imatrix = true;
  return options;
}();
constexpr ObserverRow kObservers[] = {
    {"memoryless_minmax", Averaging::last, kNoSearch},
    {"minmax", Averaging::moving, kNoSearch},
    {"static_minmax", Averaging::all, kNoSearch},
    {"memoryless_mse", Averaging::last, kSearch},
    {"mse", Averaging::moving, kSearch},
    {"nvfp4_expanded_mse", Averaging::last, kExpanded},
    {"fouroversix", Averaging::last, kExpanded},  // that is what the peer makes of it
    {"imatrix_mse", Averaging::last, kImatrix},
    {"nvfp4_expanded_imatrix", Averaging::last, kExpandedImatrix},
};

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
    v("strict", search.strict);
  }
};

const ObserverRow& find_row(const std::string& given, const Place& place) {
  const std::string name = lookup_name(given);
  const auto* row = std::ranges::find(kObservers, name, &ObserverRow::name);
  if (row != std::end(kObservers)) return *row;
  std::vector<std::string_view> names;
  for (const ObserverRow& observer : kObservers) names.push_back(observer.name);
  place.fail("no observer is called '" + given + "'", suggest_name(given, names));
}

void check(const ObserverArguments& arguments, const Place& place) {
  const ObserverOptions& search = arguments.search;
  const int patience = search.imatrix ? 0 : 1;
  if (search.maxshrink < 0 || search.maxshrink > 1 || search.patience < patience || search.norm <= 0)
    place.fail(fmt::format("0 <= maxshrink <= 1, {} <= patience and 0 < norm must hold", patience));
  if (arguments.grid < 1 || arguments.grid > 1e6 || arguments.grid != std::floor(arguments.grid))
    place.key("grid").fail("grid is a number of steps", "use an integer from 1 on");
  if (!(search.expand >= 1 && search.expand < 1e6))
    place.key("expand").fail("expand is below 1: the range shrinks by maxshrink", "use 1 or more");
  if (!(arguments.averaging_constant > 0 && arguments.averaging_constant <= 1))
    place.key("averaging_constant").fail("averaging_constant lies between 0 and 1", "use 0.01");
}

ActivationObserver observer(const QuantizationArgs& args, const char* otherwise, bool weight, const Place& place) {
  const ObserverRow& row = find_row(args.observer.value_or(otherwise), place);
  const Place here = place.key("observer_kwargs");
  ObserverArguments arguments{.search = row.options};
  fields_detail::read_any(args.observer_kwargs, arguments, here);
  check(arguments, here);
  if (arguments.search.strict && arguments.search.imatrix && !(weight && asks_for_importance(args, arguments.search)))
    here.key("strict").fail("only weights with a scale for each channel or group have inputs that weigh",
                            "leave strict out, or use another observer");
  ActivationObserver result{arguments.search, row.averaging, arguments.averaging_constant};
  result.search.grid = static_cast<int>(arguments.grid);
  return result;
}

}  // namespace

bool asks_for_importance(const QuantizationArgs& args, const ObserverOptions& observer) {
  using enum QuantizationStrategy;
  return observer.imatrix && (args.strategy == channel || args.strategy == group || args.strategy == tensor_group);
}

ObserverOptions weight_observer(const QuantizationArgs& args, const Place& place) {
  return observer(args, "memoryless_minmax", true, place).search;
}

ActivationObserver activation_observer(const QuantizationArgs& args, const Place& place) {
  return observer(args, "minmax", false, place);
}

}  // namespace spinor
