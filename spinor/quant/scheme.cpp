#include "spinor/quant/scheme.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace spinor {
namespace {

using enum QuantizationStrategy;

constexpr EnumName<QuantizationType> kTypes[] = {{QuantizationType::integer, "int"},
                                                 {QuantizationType::floating, "float"}};
constexpr EnumName<QuantizationStrategy> kStrategies[] = {
    {tensor, "tensor"}, {channel, "channel"},           {group, "group"},         {block, "block"},
    {token, "token"},   {tensor_group, "tensor_group"}, {attn_head, "attn_head"},
};
constexpr EnumName<ActOrder> kActOrders[] = {{ActOrder::weight, "weight"}, {ActOrder::fixed, "static"}};

int parse_side(std::string_view text, const Place& place) {
  int side = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), side);
  if (error != std::errc{} || end != text.data() + text.size())
    place.fail(fmt::format("'{}' is not a number of rows or columns", text), "write [128, 128]");
  return side;
}

bool one_of(std::optional<QuantizationStrategy> strategy, std::initializer_list<QuantizationStrategy> list) {
  return strategy && std::ranges::find(list, *strategy) != list.end();
}

void infer_strategy(QuantizationArgs& args) {
  if (args.strategy) return;
  args.strategy = !args.group_size ? tensor : *args.group_size == -1 ? channel : group;
}

void check_bits(const QuantizationArgs& args, const Place& place) {
  const bool integer = args.type == QuantizationType::integer;
  const bool known = integer ? args.num_bits >= 1 && args.num_bits <= 8
                             : args.num_bits == 4 || args.num_bits == 6 || args.num_bits == 8;
  if (!known)
    place.key("num_bits")
        .fail(fmt::format("{} bits are not possible for {}", args.num_bits, integer ? "int" : "float"),
              integer ? "use 1 to 8" : "use 4, 6 or 8");
}

void check_groups(const QuantizationArgs& args, const Place& place) {
  const bool groups = one_of(args.strategy, {group, tensor_group});
  const int64_t size = args.group_size.value_or(0);
  if (size < -1 || (args.group_size && size == 0))
    place.key("group_size").fail(fmt::format("{} is not a group size", size), "use a positive one, or -1 for channel");
  if (groups && size <= 0)
    place.fail(fmt::format("strategy {} needs a positive group_size", name_in_table(*args.strategy)));
  if (!groups && size > 0) place.key("group_size").fail("group_size needs the strategy group", "remove one of the two");
  if ((args.strategy == block) != args.block_structure.has_value())
    place.fail("the strategy block and a block_structure need each other", "give both: block_structure: [128, 128]");
}

void check_dynamic(const QuantizationArgs& args, const Place& place) {
  if (args.strategy == token && args.dynamic == QuantizationDynamic::no)
    place.fail("the strategy token needs dynamic: true");
  if (args.dynamic != QuantizationDynamic::no && !one_of(args.strategy, {token, tensor, tensor_group, group}))
    place.key("dynamic").fail(fmt::format("{} cannot be quantized dynamically", name_in_table(*args.strategy)),
                              "use token, tensor, tensor_group or group");
  if (args.dynamic == QuantizationDynamic::local && args.strategy != tensor_group)
    place.key("dynamic").fail("local is for the strategy tensor_group");
}

void check_activations(const char* what, const std::optional<QuantizationArgs>& args, const Place& place) {
  if (!args) return;
  if (args->actorder) place.key(what).key("actorder").fail("activations have no actorder");
  if (std::string_view(what) == "input_activations" && one_of(args->strategy, {channel, block}))
    place.key(what)
        .key("strategy")
        .fail(fmt::format("activations cannot be quantized per {}", name_in_table(*args->strategy)),
              "use token, tensor, group or tensor_group");
}

}  // namespace

std::span<const EnumName<QuantizationType>> enum_names(QuantizationType) {
  return kTypes;
}
std::span<const EnumName<QuantizationStrategy>> enum_names(QuantizationStrategy) {
  return kStrategies;
}
std::span<const EnumName<ActOrder>> enum_names(ActOrder) {
  return kActOrders;
}

Json lower_case(const Json& json) {
  if (!json.is_string()) return json;
  std::string text = json.get<std::string>();
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

void read_value(const Json& json, DynamicField out, const Place& place) {
  if (json.is_boolean())
    out.dynamic = json.get<bool>() ? QuantizationDynamic::yes : QuantizationDynamic::no;
  else if (lower_case(json) == "local")
    out.dynamic = QuantizationDynamic::local;
  else
    place.fail(place.name + " must be true, false or local, not " + json.dump());
}

void to_json(Json& json, const DynamicField& field) {
  if (field.dynamic == QuantizationDynamic::local)
    json = "local";
  else
    json = field.dynamic == QuantizationDynamic::yes;
}

void read_value(const Json& json, ActOrderField out, const Place& place) {
  out.actorder.reset();
  if (json.is_null() || json == false) return;
  const Json name = lower_case(json);
  if (name == true || name == "group" || name == "dynamic")
    place.fail(fmt::format("actorder {} is no longer part of the formats", json.dump()), "use static");
  out.actorder = read_fields<ActOrder>(json, place);
}

void to_json(Json& json, const ActOrderField& field) {
  json = field.actorder ? Json(name_in_table(*field.actorder)) : Json();
}

void read_value(const Json& json, BlockStructureField out, const Place& place) {
  out.blocks.reset();
  if (json.is_null()) return;
  if (json.is_string()) {
    const std::string_view text = json.get_ref<const std::string&>();
    const size_t x = text.find('x');
    if (x == std::string_view::npos) place.fail("'" + std::string(text) + "' is not RxC", "write [128, 128]");
    out.blocks = {parse_side(text.substr(0, x), place), parse_side(text.substr(x + 1), place)};
  } else {
    const auto sides = read_fields<std::vector<int64_t>>(json, place);
    if (sides.size() != 2) place.fail("block_structure is not [rows, columns]", "write [128, 128]");
    out.blocks = {sides[0], sides[1]};
  }
  if (out.blocks->first < 1 || out.blocks->second < 1) place.fail("block_structure must be positive");
}

void to_json(Json& json, const BlockStructureField& field) {
  json = field.blocks ? Json{field.blocks->first, field.blocks->second} : Json();
}

void read_value(const Json& json, ArgsField out, const Place& place) {
  out.args.reset();
  if (json.is_null()) return;
  QuantizationArgs args = read_fields<QuantizationArgs>(json, place);
  fields_detail::expect_object(args.observer_kwargs, place.key("observer_kwargs"));
  infer_strategy(args);
  check_bits(args, place);
  check_groups(args, place);
  check_dynamic(args, place);
  out.args = std::move(args);
}

void to_json(Json& json, const ArgsField& field) {
  json = field.args ? to_json(*field.args) : Json();
}

Json to_json(const QuantizationArgs& args) {
  Json json = write_fields(args);
  for (const char* key : {"actorder", "block_structure", "scale_dtype", "observer", "zp_dtype"})
    if (json[key].is_null() || (args.symmetric && std::string_view(key) == "zp_dtype")) json.erase(key);
  if (json["observer_kwargs"].empty()) json.erase("observer_kwargs");
  return json;
}

void check_scheme(const QuantizationScheme& scheme, const Place& place) {
  if (scheme.targets.empty() && (scheme.weights || scheme.input_activations || scheme.output_activations))
    place.fail("targets is an empty list: " + place.name + " quantizes nothing",
               "name modules or classes, as targets: [Linear], or leave it out");
  check_activations("input_activations", scheme.input_activations, place);
  check_activations("output_activations", scheme.output_activations, place);
}

}  // namespace spinor
