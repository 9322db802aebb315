// What the program makes of what commands say: text on stdout; warnings, progress and a log on stderr.
#pragma once

#include <string>

#include "cli/command.h"
#include "cli/progress.h"

namespace spinor::cli {

class Terminal {
 public:
  // Without details only warnings, and text, are shown.
  explicit Terminal(bool details) : details_(details), bars_(details) {}
  Context context();  // as long as the terminal lives

 private:
  bool details_;
  Bars bars_;
};

void write_output(const std::string& text);  // any bytes

// Writes what is still in the buffers. Error if some of it could not be written: a full disk, a closed pipe.
void finish_output();

}  // namespace spinor::cli
