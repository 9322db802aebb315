// Formulas over the keys of config.json, in which rows of the architecture table write sizes and conditions:
// "num_attention_heads * head_dim", "L >= first_k_dense_replace", "layer_types[L] == 'full_attention'".
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "spinor/base/json.h"

namespace spinor {

// The value of a name; null: there is none.
using FormulaNames = std::function<Json(std::string_view name)>;

// Integers, decimals (0.5), sqrt(x), 'text', true, false, null and names; ( ) and list[index], object[key]; * / % + - ;
// < <= > >= == !=; `in` a list; ! && ||; a ?? b, which is b where a is null; and condition ? a : b. Binding as in C, ??
// between || and ?. null is false and in no list, and so is what no list or object holds; an integer is a key, too;
// dividing integers must leave no rest. Error with `formula` as its subject: a syntax error, a value of the wrong type,
// an overflow, division by zero.
Json evaluate(std::string_view formula, const FormulaNames& names);
// As a condition; an empty formula is `empty`.
bool holds(std::string_view formula, const FormulaNames& names, bool empty);
// Error if it is no formula, whatever its names stand for.
void check_formula(std::string_view formula);
// Whether it has a name in it.
bool mentions(std::string_view formula, std::string_view name);
// The formula for people, each name that has a value followed by it: "num_key_value_heads 2 x head_dim 8".
std::string explain(std::string_view formula, const FormulaNames& names);

}  // namespace spinor
