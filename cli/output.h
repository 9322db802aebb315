// What commands print on stdout.
#pragma once

#include <string>

#include "spinor/base/json.h"

namespace spinor::cli {

// One object, and a line's end. Text that is not UTF-8, as a path may be, has U+FFFD where it is not.
void print_json(const Json& json);

// "warning: ..." on stderr.
void print_warning(const std::string& text);

// Writes what is still in the buffers. Error if some of it could not be written: a full disk, a closed pipe.
void finish_output();

}  // namespace spinor::cli
