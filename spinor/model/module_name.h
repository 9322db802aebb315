// Names of modules and tensors: components with dots between them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace spinor {

std::string_view parent_of(std::string_view name);       // "a.b" of "a.b.c"; empty: there is none
std::string_view last_component(std::string_view name);  // "c"
bool is_number(std::string_view component);              // digits alone

// The name with {E} replaced; without {E} the name itself.
std::string numbered(std::string name, int64_t number);
// One for each number of {E}; without {E} the name itself.
std::vector<std::string> counted(const std::string& name, int64_t count);
// What stands for {E} in a name of the pattern; none: it is not of it, or the pattern has no {E}.
std::optional<int64_t> number_in(std::string_view name, std::string_view pattern);

// Of a layer, "model.layers.3.", the name of a module in the files: below it; or where the name in the row has {L}, the
// number of the layer, beside the list of the layers: "model.ffns.3.up" of "ffns.{L}.up".
std::string name_in_layer(std::string_view layer, const std::string& name);

// embed_tokens, tok_embeddings, embed_positions, wte, wpe; but embed_out and embed_proj are linears.
bool names_embedding(std::string_view name);

// A hint for who quantizes a module that cannot be: how to leave it out. By command --ignore replaces its default.
std::string leave_out_hint(std::string_view module);

}  // namespace spinor
