// Many requests in one run, for programs that evaluate models: likelihoods of continuations, and texts.
#include "spinor/runtime/answer.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "cli/torch/model_flags.h"
#include "cli/torch/requests.h"
#include "cli/torch/stopping_text.h"

namespace spinor::cli {
namespace {

// What is written, as text: nothing for a model without a tokenizer.
class WrittenTexts {
 public:
  // Error for a stop text without a tokenizer, which alone can find it.
  WrittenTexts(const std::vector<AskedRequest>& requests, const std::filesystem::path& model) : requests_(requests) {
    const auto writes = [](const AskedRequest& asked) { return asked.max_new_tokens.has_value(); };
    const bool stops = std::ranges::any_of(requests, [](const AskedRequest& asked) { return !asked.stop.empty(); });
    if (!stops && (std::ranges::none_of(requests, writes) || !std::filesystem::exists(model / "tokenizer.json")))
      return;
    tokenizer_ = tokenizer::Tokenizer::load(model);
    for (const AskedRequest& asked : requests) texts_.emplace_back(*tokenizer_, asked.stop);
  }

  bool push(size_t request, int32_t token) {
    const bool goes_on = texts_.empty() || texts_[request].push(token);
    return goes_on && std::ranges::find(requests_[request].stop_tokens, token) == requests_[request].stop_tokens.end();
  }

  Json json(size_t request, const runtime::Answer& answer) {
    if (requests_[request].continuation) return {{"log_likelihood", answer.log_likelihood}, {"greedy", answer.greedy}};
    Json json = {{"tokens", answer.tokens}};
    if (!texts_.empty()) json["text"] = texts_[request].finish();
    return json;
  }

 private:
  const std::vector<AskedRequest>& requests_;
  std::optional<tokenizer::Tokenizer> tokenizer_;
  std::vector<StoppingText> texts_;
};

std::string text_of(const Json& answers) {
  std::string text;
  for (const Json& answer : answers) {
    if (answer.contains("log_likelihood"))
      text += fmt::format("log-likelihood {:.4f}{}\n", answer["log_likelihood"].get<double>(),
                          answer["greedy"].get<bool>() ? "   greedy" : "");
    else
      text += (answer.contains("text") ? answer["text"] : answer["tokens"]).dump() + "\n";
  }
  return text;
}

struct AnswerCommand : ModelFlags {
  std::string requests;
  runtime::AnswerOptions options;

  Result run(const Context& context) {
    const auto start = std::chrono::steady_clock::now();
    const std::vector<AskedRequest> asked = read_requests(requests);
    Job job = planned(context);
    WrittenTexts texts(asked, job.model().checkpoint().directory());
    std::vector<runtime::Request> all;
    for (const AskedRequest& one : asked) all.push_back(one.request());
    options.progress = [&](int64_t done, int64_t count) { context.progress("answer", done, count); };
    options.visit = [&](size_t request, int32_t token) { return texts.push(request, token); };
    const std::vector<runtime::Answer> answers =
        runtime::answer(job.finished_plan(), all, options, runtime.options(common));
    Json list = Json::array();
    for (size_t i = 0; i < answers.size(); ++i) list.push_back(texts.json(i, answers[i]));
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    const Json json = {{"answers", list}, {"seconds", seconds.count()}};
    return {json, common.json ? json_text(json) : text_of(list), ""};
  }
};

}  // namespace

Runner answer_command(CLI::App& app) {
  const auto command = std::make_shared<AnswerCommand>();
  command->add_model_to(app);
  app.add_option("REQUESTS", command->requests,
                 "A JSON list: {\"context\": tokens, \"continuation\": tokens} asks how likely that is, {\"context\": "
                 "tokens, \"max_new_tokens\": 64, \"stop\": texts} for a text")
      ->required();
  app.add_option("--context", command->options.window,
                 "Most tokens that the model sees at once: of a longer context the first are left out; 0: any number")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_recipe_to(app);
  return [command](const Context& context) { return command->run(context); };
}

}  // namespace spinor::cli
