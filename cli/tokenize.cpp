#include <fmt/format.h>
#include <fmt/ranges.h>

#include <vector>

#include "cli/command.h"
#include "cli/text.h"
#include "spinor/io/file.h"
#include "spinor/model/hub.h"
#include "spinor/tokenizer/tokenizer.h"

namespace spinor::cli {
namespace {

struct TokenizeCommand {
  std::string model, text, decode;
  bool json = false, skip_special = false;

  Result run() const {
    const tokenizer::Tokenizer tokenizer = tokenizer::Tokenizer::load(resolve_model(model));
    if (!decode.empty()) {
      const std::string decoded = tokenizer.decode(
          read_token_ids(decode), skip_special ? tokenizer::SpecialTokens::skip : tokenizer::SpecialTokens::keep);
      return {{{"text", decoded}}, decoded, ""};
    }
    const std::vector<int32_t> ids = tokenizer.encode(read_text(text));
    const std::string joined = fmt::format("{}", fmt::join(ids, json ? ", " : " "));
    return {{{"tokens", ids}}, (json ? "[" + joined + "]" : joined) + "\n", ""};
  }
};

}  // namespace

Runner tokenize_command(CLI::App& app) {
  const auto command = std::make_shared<TokenizeCommand>();
  app.add_option("MODEL", command->model,
                 "A directory with tokenizer.json, or org/name in the local Hugging Face cache")
      ->required();
  auto* what = app.add_option_group("what", "One of these");
  what->add_option("--text", command->text,
                   "A UTF-8 file: print its tokens; special tokens in it are found, none are added");
  what->add_option("--decode", command->decode,
                   "A JSON file with a list of tokens: print their text, and nothing else");
  what->require_option(1);
  app.add_flag("--json", command->json, "The tokens as a JSON list");
  app.add_flag("--skip-special", command->skip_special, "Leave special tokens out of the text");
  return [command](const Context&) { return command->run(); };
}

}  // namespace spinor::cli
