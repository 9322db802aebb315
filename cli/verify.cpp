#include "spinor/verify/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <map>
#include <optional>
#include <random>
#include <vector>

#include "cli/command.h"
#include "cli/ranks.h"
#include "cli/recipe.h"
#include "cli/runtime_flags.h"
#include "cli/text.h"
#include "cli/verify_forward.h"
#include "spinor/base/error.h"
#include "spinor/io/checkpoint.h"
#include "spinor/job/job.h"
#include "spinor/model/hub.h"
#include "spinor/model/quantized_source.h"
#include "spinor/plan/deviation.h"
#include "spinor/verify/config.h"

namespace spinor::cli {
namespace {

std::string joined(const std::vector<std::string>& words, const char* separator) {
  return fmt::format("{}", fmt::join(words, separator));
}

// How far two exact models may be apart, in units of the roundoff of their weights: rounding adds up over the layers.
// A model that is wrong in one tensor of one layer is further off by two orders of magnitude.
constexpr double kForwardBound = 64;

struct VerifyCommand {
  std::string source, out;
  CommonOptions common;
  verify::Options options;
  TextOptions text;
  RuntimeFlags runtime{.dtype = "float64"};
  RankOptions ranks;
  int64_t random = 0;

  bool runs_models() const { return text.given() || random > 0; }

  Result run(const Context& context) {
    if (runs_models()) need_torch();
    options.threads = common.threads;
    options.stop = context.stop;
    options.rank = ranks.make();
    if (runs_models() && !options.rank.alone())
      throw Error("--text", "runs both models in one process, and there are several ranks", "give --ranks 1");
    const Model before = Model::describe(Checkpoint::open(resolve_model(source)));
    const Model after = Model::describe(Checkpoint::open(resolve_model(out)));
    verify::Report report;
    if (can_be_checked(before, after))
      report = verify::verify_weights(before, after, options);
    else
      verify::check_config(before, after, report);
    if (!report.passed()) blame(before, after, report);
    ForwardVerdict forward;
    if (runs_models()) forward = run_models(before, after);
    const Json json = this->json(report, forward);
    return {json, common.json ? json_text(json) : printed(report, forward), problem(report, forward)};
  }

  std::string problem(const verify::Report& report, const ForwardVerdict& forward) const {
    if (report.passed()) return forward.problem.empty() ? "" : fmt::format("{}: {}", out, forward.problem);
    const verify::Check& first = *report.failures().front();
    return fmt::format("{}: {} of {} checks failed, the first for {} ({}): {}", out, report.failures().size(),
                       report.checks.size(), joined(first.tensors, " with "), first.role, first.hint);
  }

  // Rounding to fewer bits is a change of function: of such an output only config.json can be compared, and it can be
  // run. What runs online is checked unless it is run.
  bool can_be_checked(const Model& before, const Model& after) const {
    if (runs_models()) return !is_approximation(after) && !runs_online(before) && !runs_online(after);
    if (!is_approximation(after)) return true;
    throw Error(out, "is quantized: its weights are not the function of the source, only near to it",
                "give --text FILE or --random-tokens 64: then both are run");
  }

  static bool runs_online(const Model& model) {
    return model.quantized_source() && !model.quantized_source()->transform_config.empty();
  }

  // Weights or activations of fewer bits; online transforms alone are exact.
  static bool is_approximation(const Model& model) {
    if (!model.quantized_source()) return false;
    const Json& quantization = model.quantized_source()->quantization;
    return !quantization.value("config_groups", Json::object()).empty() || !quantization.contains("transform_config");
  }

  std::vector<int32_t> random_ids(int64_t vocabulary) const {
    std::mt19937_64 draw(options.seed);
    std::vector<int32_t> ids(static_cast<size_t>(random));
    for (int32_t& id : ids) id = static_cast<int32_t>(draw() % static_cast<uint64_t>(vocabulary));
    return ids;
  }

  ForwardVerdict run_models(const Model& before, const Model& after) const {
    const std::vector<int32_t> tokens = random > 0 ? random_ids(before.vocabulary_size()) : text.tokens(before);
    std::optional<double> bound;
    if (!is_approximation(after))
      bound = kForwardBound *
              std::max(verify::unit_roundoff(before.checkpoint()), verify::unit_roundoff(after.checkpoint()));
    return verify_forward(before, after, tokens, bound, runtime.options(common));
  }

  // A value and its output projection disagree: the check cannot say which is wrong, but the recipe in OUT can.
  static void blame(const Model& before, const Model& after, verify::Report& report) {
    const std::filesystem::path file = after.checkpoint().directory() / "recipe.yaml";
    if (!std::filesystem::exists(file)) return;
    Job job(before, Recipe::load(file));
    const RewritePlan& plan = job.finished_plan();
    const auto wrong = [&](const std::string& name) {
      const auto tensor = std::ranges::find(plan.tensors(), name, &TensorPlan::name);
      return tensor != plan.tensors().end() && deviation(plan, *tensor, after.checkpoint()) > 4 * report.unit_roundoff;
    };
    for (verify::Check& check : report.checks) {
      if (check.passed() || check.tensors.size() < 2) continue;
      std::vector<std::string> found;
      std::ranges::copy_if(check.tensors, std::back_inserter(found), wrong);
      if (found.empty()) continue;
      check.tensors = found;
      check.role = name_of(after.role(found.front()));
      check.hint += "; it is not what the recipe makes";
    }
  }

  Json json(const verify::Report& report, const ForwardVerdict& forward) const {
    Json checks = Json::array();
    for (const verify::Check& check : report.checks)
      checks.push_back({{"what", check.what},
                        {"tensors", check.tensors},
                        {"role", check.role},
                        {"error", check.error},
                        {"bound", check.bound},
                        {"passed", check.passed()},
                        {"hint", check.hint}});
    Json json = {{"passed", report.passed() && forward.problem.empty()},
                 {"unit_roundoff", report.unit_roundoff},
                 {"checks", checks}};
    if (!options.rank.alone()) json.update({{"rank", options.rank.rank}, {"ranks", options.rank.ranks}});
    if (!forward.json.is_null()) json["forward"] = forward.json;
    return json;
  }

  std::string printed(const verify::Report& report, const ForwardVerdict& forward) const {
    std::string lines;
    struct Row {
      int count = 0, failed = 0;
      double error = 0, bound = 0;
      std::string worst;
    };
    std::map<std::pair<std::string, std::string>, Row> rows;
    for (const verify::Check& check : report.checks) {
      Row& row = rows[{check.what, check.role}];
      ++row.count;
      row.failed += !check.passed();
      if (check.error >= row.error) row.worst = joined(check.tensors, " with ");
      row.error = std::max(row.error, check.error);
      row.bound = check.bound;
    }
    if (!common.quiet && !rows.empty()) {
      lines += fmt::format("{:<13} {:<11} {:>6} {:>6}  {:>9}  {:>9}  {}\n", "check", "role", "number", "failed",
                           "largest", "bound", "at");
      for (const auto& [key, row] : rows)
        lines += fmt::format("{:<13} {:<11} {:>6} {:>6}  {:>9.2e}  {:>9.2e}  {}\n", key.first, key.second, row.count,
                             row.failed, row.error, row.bound, row.worst);
      lines += fmt::format(
          "relative errors of random products, in double; bounds are multiples of the unit roundoff {:.2e}\n",
          report.unit_roundoff);
    }
    for (const verify::Check* check : report.failures())
      lines += fmt::format("failed: {} ({}): {} (error {:.2e}, bound {:.2e})\n", joined(check->tensors, " with "),
                           check->role, check->hint, check->error, check->bound);
    if (!common.quiet) lines += forward.text;
    const bool exact = forward.json.is_null() || forward.json.contains("bound");
    if (report.passed() && forward.problem.empty() && exact && !common.quiet)
      lines += options.rank.alone() ? fmt::format("{} is the same function as {}\n", out, source)
                                    : fmt::format("{}: its share of {} is the same function as in {}\n",
                                                  options.rank.text(), out, source);
    return lines;
  }
};

}  // namespace

Runner verify_command(CLI::App& app) {
  const auto command = std::make_shared<VerifyCommand>();
  app.add_option("MODEL", command->source, "The source checkpoint")->required();
  app.add_option("OUT", command->out, "The rotated checkpoint")->required();
  app.add_option("--probe-seed", command->options.seed, "Seed of the random probes")->capture_default_str();
  command->text.add_to(app, false);
  app.add_option("--random-tokens", command->random, "Run both models on so many random tokens")
      ->check(CLI::Range(2, 256));
  command->ranks.add_to(app, "check OUT", RankWork::shares);
  command->common.add_to(app);
  command->runtime.add_to(app);
  return [command](const Context& context) { return command->run(context); };
}

}  // namespace spinor::cli
