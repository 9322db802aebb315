// The files of rows/, as cmake/spinor_rows.cmake compiles them in.
#pragma once

#include <span>
#include <string_view>
#include <vector>

namespace spinor {

struct RowFile {
  std::string_view name, text;  // "rows/llama.yaml"
};

std::span<const RowFile> row_files();  // sorted by name
// Of its first line that is no comment, `names: [A, B]`: what a row is found by without reading it. Error if it is
// another line.
std::vector<std::string_view> names_of_row(const RowFile& file);
// It is no row but a list of classes that are refused: by us, or by discovery (tools/rows.py).
bool holds_refusals(const RowFile& file);

}  // namespace spinor
