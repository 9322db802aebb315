#include "spinor/runtime/generate.h"

#include <fmt/format.h>

#include <chrono>

#include "cli/command.h"
#include "cli/recipe.h"
#include "cli/runtime_flags.h"
#include "spinor/base/error.h"
#include "spinor/tokenizer/tokenizer.h"
#include "spinor/transform/stored_online.h"

namespace spinor::cli {
namespace {

struct GenerateCommand {
  std::string model, prompt;
  bool bos = false;
  runtime::GenerateOptions options;
  RuntimeFlags runtime;
  CommonOptions common;

  Result run(const Context& context) const {
    const Model source = Model::open(model);
    const tokenizer::Tokenizer tokenizer = tokenizer::Tokenizer::load(source.checkpoint().directory());
    const std::vector<int32_t> start = prompt_tokens(tokenizer);
    tokenizer::TokenStream text(tokenizer);
    using Clock = std::chrono::steady_clock;
    const Clock::time_point begin = Clock::now();
    Clock::time_point first{};
    const auto show = [&](int32_t token) {
      if (first == Clock::time_point{}) first = Clock::now();
      return common.json || context.stream(text.push(token));
    };
    if (!common.json && !common.quiet) context.stream(prompt);
    const std::vector<int32_t> tokens =
        runtime::generate(as_stored(source), start, options, runtime.options(common), show);
    const auto seconds = [](Clock::duration time) { return std::chrono::duration<double>(time).count(); };
    const Json json = {{"prompt_tokens", start},
                       {"tokens", tokens},
                       {"text", tokenizer.decode(tokens)},
                       {"first_token_seconds", seconds(first - begin)},  // with the weights
                       {"seconds", seconds(Clock::now() - begin)}};
    return {json, common.json ? json_text(json) : text.finish() + "\n", ""};
  }

  std::vector<int32_t> prompt_tokens(const tokenizer::Tokenizer& tokenizer) const {
    std::vector<int32_t> tokens = tokenizer.encode(prompt);
    if (!bos) return tokens;
    if (!tokenizer.bos()) throw Error("--bos", "the model's tokenizer has no bos token");
    tokens.insert(tokens.begin(), *tokenizer.bos());
    return tokens;
  }
};

}  // namespace

Runner generate_command(CLI::App& app) {
  const auto command = std::make_shared<GenerateCommand>();
  runtime::GenerateOptions& options = command->options;
  app.add_option("MODEL", command->model, "A checkpoint directory, or org/name in the local Hugging Face cache")
      ->required();
  app.add_option("--prompt", command->prompt, "The text to continue; special tokens in it count as such")->required();
  app.add_flag("--bos", command->bos, "Begin with the tokenizer's bos token");
  app.add_option("--max-new-tokens", options.max_new_tokens, "At most so many")->capture_default_str();
  const auto option = [](CLI::Option* o) { return o->group("Sampling")->capture_default_str(); };
  option(app.add_option("--temperature", options.temperature, "0: always the most likely token"));
  option(app.add_option("--top-k", options.top_k, "Only the k most likely tokens; 0: all"));
  option(app.add_option("--top-p", options.top_p, "Only the most likely tokens that together have this probability"));
  option(app.add_option("--seed", options.seed, "One seed, one text"));
  command->common.add_to(app);
  command->runtime.add_to(app);
  command->runtime.add_low_bits_to(app);
  return [command](const Context& context) { return command->run(context); };
}

}  // namespace spinor::cli
