#include <fmt/format.h>

#include "cli/command.h"
#include "cli/discovery.h"
#include "spinor/io/file.h"

namespace spinor::cli {
namespace {

struct DiscoverCommand {
  std::string model, out;
  bool trust_remote_code = false, json = false;

  Result run(const Context& context) const {
    Json found = discover_row(model, trust_remote_code, context);
    const std::string row = found.at("row").get<std::string>();
    if (!out.empty()) write_text(out, row);
    return {found, json ? json_text(found) : out.empty() ? row : said(found), ""};
  }

  std::string said(const Json& found) const {
    std::string text = fmt::format("wrote {}\n", out);
    for (const auto& [rotation, error] : found.at("errors").items())
      text += fmt::format("{}: exact; logits differ by {:.0e} of their deviation\n", rotation, error.get<double>());
    for (const auto& [rotation, reason] : found.at("refused").items())
      text += fmt::format("{}: {}\n", rotation, reason.get<std::string>());
    return text;
  }
};

}  // namespace

Runner discover_command(CLI::App& app) {
  const auto command = std::make_shared<DiscoverCommand>();
  app.add_option("MODEL", command->model, "A checkpoint directory, or org/name in the local Hugging Face cache")
      ->required();
  app.add_option("--out", command->out, "Write the row into this file, instead of to stdout");
  app.add_flag("--trust-remote-code", command->trust_remote_code, "Run the code that the model brings with it");
  app.add_flag("--json", command->json, "One JSON object on stdout instead of text");
  return [command](const Context& context) { return command->run(context); };
}

}  // namespace spinor::cli
