// spinor, and spinor-torch: rotates and quantizes checkpoints.
#include <csignal>
#include <filesystem>

#include "cli/program.h"

int main(int argc, char** argv) {
  std::signal(SIGXFSZ, SIG_IGN);  // a file size limit becomes an error of write(), which says what to do
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe");
  return spinor::cli::run_program(argc, argv,
                                  {self.parent_path() / "spinor-torch",
                                   "spinor was built without libtorch (-DSPINOR_TORCH=ON), so it cannot run models"});
}
