#include "cli/discovery.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "spinor/base/error.h"
#include "spinor/model/hub.h"

namespace spinor::cli {
namespace {

constexpr const char* kHow = "pip install 'spinor-llm[discover]', and say in SPINOR_PYTHON which Python has it";

std::string python() {
  const char* given = std::getenv("SPINOR_PYTHON");
  return given != nullptr && *given != '\0' ? given : "python3";
}

std::string read_all(int file) {
  std::string text;
  std::array<char, 4096> part;
  for (;;) {
    const ssize_t count = read(file, part.data(), part.size());
    if (count > 0) text.append(part.data(), static_cast<size_t>(count));
    if (count == 0 || (count < 0 && errno != EINTR)) return text;
  }
}

// What a program says on stdout, nothing of what it says on stderr. Its exit status is not asked for: what it says
// tells.
std::string output_of(std::vector<std::string> words) {
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  std::array<int, 2> ends;
  if (pipe2(ends.data(), O_CLOEXEC) != 0) throw Error(words[0], std::strerror(errno));
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t child = 0;
  std::vector<char*> variables;
  for (char** one = environ; *one != nullptr; ++one) variables.push_back(*one);
  std::string safe = "PYTHONSAFEPATH=1";  // a folder called spinor is not the package
  variables.insert(variables.end(), {safe.data(), nullptr});
  const int failed = posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), variables.data());
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  const std::string text = failed == 0 ? read_all(ends[0]) : "";
  close(ends[0]);
  if (failed != 0) throw Error(words[0], fmt::format("cannot be started: {}", std::strerror(failed)), kHow);
  while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) continue;
  return text;
}

}  // namespace

Json discover_row(const std::string& model, bool trust_remote_code, const Context& context) {
  const std::string directory = resolve_model(model).string();
  context.progress("discover", 0, 1);
  std::vector<std::string> words = {python(), "-m", "spinor.discovery", directory};
  if (trust_remote_code) words.emplace_back("--trust-remote-code");
  const Json said = Json::parse(output_of(words), nullptr, false);
  if (!said.is_object())
    throw Error(words[0], "has no package spinor with what discovers rows, or no transformers", kHow);
  if (const auto error = said.find("error"); error != said.end())
    throw Error(error->at(0).get<std::string>(), error->at(1).get<std::string>(), error->at(2).get<std::string>());
  return said;
}

}  // namespace spinor::cli
