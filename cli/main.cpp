// spinor: rotates and quantizes checkpoints. Exit codes: 0, 1 (it failed: one "error:" line), 2 (wrong usage).
#include <fmt/format.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/output.h"
#include "spinor/base/version.h"
#include "spinor/base/yaml.h"
#include "spinor/family/architecture_file.h"
#include "spinor/io/file.h"
#include "spinor/tokenizer/utf8.h"

namespace spinor::cli {
namespace {

struct Command {
  const char* name;
  const char* about;
  Runner (*setup)(CLI::App&);
};

constexpr Command kCommands[] = {
    {"compare", "Should this model be rotated? A recipe with and without rotations, over several seeds",
     compare_command},
    {"dequantize", "Write a quantized checkpoint as plain numbers, its online transforms in the weights",
     dequantize_command},
    {"eval", "Perplexity of a model on a text, as it is or as a recipe would make it", eval_command},
    {"generate", "Continue a prompt", generate_command},
    {"inspect", "Show a checkpoint: roles of its tensors, what is legal and why not, outliers", inspect_command},
    {"learn", "Learn rotations from a text and write them to a file, for --rotation", learn_command},
    {"plan", "Show what rotate or quantize would do to every tensor, its memory and its size; writes nothing",
     plan_command},
    {"quantize", "Rotate and quantize a checkpoint and write it to a new directory", quantize_command},
    {"rotate", "Rotate a checkpoint and write it to a new directory", rotate_command},
    {"tokenize", "Turn a text into the tokens of a model's tokenizer.json, or back", tokenize_command},
    {"verify", "Check that a rotated checkpoint is the same function as its source", verify_command},
};

int run(int argc, char** argv) {
  CLI::App app("Rotation-based quantization of language models: any checkpoint, in bounded memory, exact.", "spinor");
  app.set_version_flag("--version", std::string(kVersion));
  app.require_subcommand(1);
  Runner chosen;
  std::vector<std::string> rows;
  for (const Command& command : kCommands) {
    CLI::App* sub = app.add_subcommand(command.name, command.about);
    sub->add_option("--architecture", rows, "A row (YAML) for an architecture that spinor does not know")
        ->group("Model");
    const Runner runner = command.setup(*sub);
    sub->callback([&chosen, runner] { chosen = runner; });
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (app.exit(error) != 0) return 2;
    chosen = [] { return 0; };  // help, or the version
  }
  try {
    for (const std::string& row : rows) register_architecture(read_architecture(parse_yaml(read_text(row), row)), row);
    const int code = chosen();
    finish_output();
    return code;
  } catch (const std::bad_alloc&) {
    const bool blocks = app.get_subcommands().front()->get_option_no_throw("--block-size") != nullptr;
    fmt::print(stderr, "error: out of memory; use fewer --threads{}\n",
               blocks ? ", or --block-size for a smaller rotation" : "");
  } catch (const std::exception& error) {
    fmt::print(stderr, "error: {}\n",
               tokenizer::repair_utf8(error.what()));  // a message may quote a file that is not text
  }
  return 1;
}

}  // namespace

void CommonOptions::add_to(CLI::App& app) {
  app.add_option("--threads", threads, "Threads (0: all); the result does not depend on it")
      ->check(CLI::Range(0, 1024))
      ->default_str("0");
  app.add_flag("--json", json, "One JSON object on stdout instead of text");
  app.add_flag("--quiet", quiet, "No progress and no summary");
}

}  // namespace spinor::cli

int main(int argc, char** argv) {
  std::signal(SIGXFSZ, SIG_IGN);  // a file size limit becomes an error of write(), which says what to do
  return spinor::cli::run(argc, argv);
}
