// What can be asked of each command, for those who offer it in another form.
#pragma once

#include "cli/command_line.h"

namespace spinor::cli {

// {command: {"about": text, "options": [...]}}, an option as {"name": "--seed" or "MODEL", "group", "help", "kind":
// "flag", "text", "int" or "float", "list", "required", "default": as text, or null}. The core knows no options of the
// commands that run models.
Json options_json(const CommandLine& line);

}  // namespace spinor::cli
