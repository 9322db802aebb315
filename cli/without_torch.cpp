// The commands that run models, in a program that cannot: they become the program that can, spinor-torch.
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "cli/calibration.h"
#include "cli/command.h"
#include "cli/verify_forward.h"
#include "spinor/base/error.h"

namespace spinor::cli {
namespace {

std::vector<std::string> own_arguments() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::vector<std::string> arguments;
  for (std::string argument; std::getline(file, argument, '\0');) arguments.push_back(argument);
  return arguments;
}

int become_torch_program() {
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "spinor-torch";
  std::vector<std::string> arguments = own_arguments();
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  execv(program.c_str(), pointers.data());
  throw Error(program.string(), std::string("cannot be started: ") + std::strerror(errno),
              errno == ENOENT ? "spinor was built without libtorch (-DSPINOR_TORCH=ON), so it cannot run models" : "");
}

// Takes whatever it is given: the other program reads it.
Runner pass_on(CLI::App& app) {
  app.set_help_flag();
  app.allow_extras();
  app.prefix_command();
  return become_torch_program;
}

}  // namespace

Runner compare_command(CLI::App& app) {
  return pass_on(app);
}
Runner eval_command(CLI::App& app) {
  return pass_on(app);
}
Runner generate_command(CLI::App& app) {
  return pass_on(app);
}
Runner learn_command(CLI::App& app) {
  return pass_on(app);
}

std::shared_ptr<Calibrator> make_calibrator(const CalibrationFlags&, const CommonOptions&, const Model&,
                                            const std::function<void(std::string)>&) {
  become_torch_program();
  throw Error("spinor", "cannot run models");  // never: it is another program by now
}

Learning learn(Recipe&, const Model&, const CalibrationFlags&, const CommonOptions&, const std::filesystem::path&,
               const std::string&) {
  become_torch_program();
  throw Error("spinor", "cannot run models");  // never: it is another program by now
}

void need_torch() {
  become_torch_program();
}

ForwardVerdict verify_forward(const Model&, const Model&, std::span<const int32_t>, std::optional<double>,
                              const runtime::RuntimeOptions&) {
  throw Error("spinor", "cannot run models");  // never: need_torch() comes first
}

}  // namespace spinor::cli
