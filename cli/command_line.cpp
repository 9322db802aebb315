#include "cli/command_line.h"

#include <fmt/format.h>

#include <memory>
#include <mutex>
#include <set>

#include "cli/discovery.h"
#include "spinor/base/version.h"
#include "spinor/base/yaml.h"
#include "spinor/family/architecture_file.h"
#include "spinor/family/model_config.h"
#include "spinor/io/checkpoint.h"
#include "spinor/io/file.h"
#include "spinor/model/hub.h"

namespace spinor::cli {
namespace {

struct Command {
  const char* name;
  const char* about;
  Runner (*setup)(CLI::App&);
};

constexpr Command kCommands[] = {
    {"answer", "Many requests of a model in one run: how likely continuations are, and texts", answer_command},
    {"compare", "Should this model be rotated? A recipe with and without rotations, over several seeds",
     compare_command},
    {"dequantize", "Write a quantized checkpoint as plain numbers, its online transforms in the weights",
     dequantize_command},
    {"discover", "Find out from a model's own code how it may be rotated, prove it, and write its row",
     discover_command},
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

// Without "Excludes: ...": CLI11 lists those in the order of their addresses, another one in every process; the
// descriptions say what goes with what.
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_option_opts(const CLI::Option* option) const override {
    const std::string all = CLI::Formatter::make_option_opts(option);
    return all.substr(0, all.find(" " + get_label("Excludes") + ":"));
  }
};

// A process that runs many commands may be given one row many times.
void learn_row(const std::string& text, const std::string& file) {
  static std::mutex mutex;
  static std::set<std::string> known;
  const std::lock_guard lock(mutex);
  if (known.contains(text)) return;
  register_architecture(read_architecture(parse_yaml(text, file)), file);
  known.insert(text);
}

}  // namespace

CommandLine::CommandLine()
    : app_("Rotation-based quantization of language models: any checkpoint, in bounded memory, exact.", "spinor") {
  app_.set_version_flag("--version", std::string(kVersion));
  app_.require_subcommand(1);
  app_.formatter(std::make_shared<HelpFormatter>());
  for (const Command& command : kCommands) {
    CLI::App* sub = app_.add_subcommand(command.name, command.about);
    if (command.setup != discover_command) add_model_options(*sub);
    sub->callback([this, runner = command.setup(*sub)] { chosen_ = runner; });
  }
}

void CommandLine::add_model_options(CLI::App& app) {
  const auto option = [](CLI::Option* one) { one->group("Model"); };
  option(app.add_option("--architecture", rows_, "A row (YAML) for an architecture that spinor does not know"));
  option(app.add_flag("--discover", discover_,
                      "Of an architecture that spinor does not know: find its row out from the model's own code"));
  option(app.add_flag("--trust-remote-code", trust_remote_code_,
                      "Run the code that the model brings with it, to discover its row"));
}

bool CommandLine::has_flag(const std::string& name) const {
  for (const CLI::App* command : app_.get_subcommands())
    if (const CLI::Option* option = command->get_option_no_throw(name)) return option->count() > 0;
  return false;
}

Result CommandLine::run(const Context& context) {
  for (const std::string& row : rows_) learn_row(read_text(row), row);
  if (discover_) discover(context);
  return chosen_(context);
}

void CommandLine::discover(const Context& context) const {
  const std::string model = app_.get_subcommands().front()->get_option("MODEL")->as<std::string>();
  const std::string name = read_architecture_name(Checkpoint::open(resolve_model(model)).config(), model);
  if (find_architecture(name) == nullptr)
    learn_row(discover_row(model, trust_remote_code_, context).at("row").get<std::string>(), model);
}

std::string CommandLine::out_of_memory() const {
  bool blocks = false;
  for (const CLI::App* command : app_.get_subcommands())
    blocks |= command->get_option_no_throw("--block-size") != nullptr;
  return fmt::format("out of memory; use fewer --threads{}", blocks ? ", or --block-size for a smaller rotation" : "");
}

std::string json_text(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

void CommonOptions::add_to(CLI::App& app) {
  app.add_option("--threads", threads, "Threads (0: all); the result does not depend on it")
      ->check(CLI::Range(0, 1024))
      ->default_str("0");
  app.add_flag("--json", json, "One JSON object on stdout instead of text");
  app.add_flag("--quiet", quiet, "No progress and no summary");
}

}  // namespace spinor::cli
