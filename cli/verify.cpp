#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iterator>
#include <map>

#include "cli/command.h"
#include "cli/progress.h"
#include "cli/recipe.h"
#include "spinor/base/error.h"
#include "spinor/io/checkpoint.h"
#include "spinor/model/hub.h"
#include "spinor/model/quantized_source.h"
#include "spinor/modifier/oneshot.h"
#include "spinor/plan/deviation.h"
#include "spinor/transform/probe.h"

namespace spinor::cli {
namespace {

std::string joined(const std::vector<std::string>& words, const char* separator) {
  return fmt::format("{}", fmt::join(words, separator));
}

struct VerifyCommand {
  std::string source, out;
  CommonOptions common;
  ProbeOptions options;

  int run() {
    options.threads = common.threads;
    const Model before = Model::describe(Checkpoint::open(resolve_model(source)));
    const Model after = Model::describe(Checkpoint::open(resolve_model(out)));
    require_plain(after);
    ProbeReport report = probe(before, after, options);
    if (!report.passed()) blame(before, after, report);
    common.json ? print_json(report) : print(report);
    if (report.passed()) return 0;
    const ProbeCheck& first = *report.failures().front();
    fmt::print(stderr, "error: {}: {} of {} checks failed, the first for {} ({}): {}\n", out, report.failures().size(),
               report.checks.size(), joined(first.tensors, " with "), first.role, first.hint);
    return 1;
  }

  // Rounding to fewer bits is a change of function, and what runs online is not in the weights.
  void require_plain(const Model& model) const {
    if (!model.quantized_source()) return;
    throw Error(
        out, "is quantized, or runs transforms online: its weights alone are not the function of the source",
        "spinor dequantize it; of online transforms without quantization the result is exact and can be verified");
  }

  // A value and its output projection disagree: the probe cannot say which is wrong, but the recipe in OUT can.
  static void blame(const Model& before, const Model& after, ProbeReport& report) {
    const std::filesystem::path file = after.checkpoint().directory() / "recipe.yaml";
    if (!std::filesystem::exists(file)) return;
    Recipe recipe = Recipe::load(file);
    RewritePlan plan(before);
    run_recipe(recipe, before, plan);
    const auto wrong = [&](const std::string& name) {
      const auto tensor = std::ranges::find(plan.tensors(), name, &TensorPlan::name);
      return tensor != plan.tensors().end() && deviation(plan, *tensor, after.checkpoint()) > 4 * report.unit_roundoff;
    };
    for (ProbeCheck& check : report.checks) {
      if (check.passed() || check.tensors.size() < 2) continue;
      std::vector<std::string> found;
      std::ranges::copy_if(check.tensors, std::back_inserter(found), wrong);
      if (found.empty()) continue;
      check.tensors = found;
      check.role = name_of(after.role(found.front()));
      check.hint += "; it is not what the recipe makes";
    }
  }

  void print_json(const ProbeReport& report) const {
    Json checks = Json::array();
    for (const ProbeCheck& check : report.checks)
      checks.push_back({{"what", check.what},
                        {"tensors", check.tensors},
                        {"role", check.role},
                        {"error", check.error},
                        {"bound", check.bound},
                        {"passed", check.passed()},
                        {"hint", check.hint}});
    const Json json = {{"passed", report.passed()}, {"unit_roundoff", report.unit_roundoff}, {"checks", checks}};
    fmt::print("{}\n", json.dump(2));
  }

  void print(const ProbeReport& report) const {
    struct Row {
      int count = 0, failed = 0;
      double error = 0, bound = 0;
      std::string worst;
    };
    std::map<std::pair<std::string, std::string>, Row> rows;
    for (const ProbeCheck& check : report.checks) {
      Row& row = rows[{check.what, check.role}];
      ++row.count;
      row.failed += !check.passed();
      if (check.error >= row.error) row.worst = joined(check.tensors, " with ");
      row.error = std::max(row.error, check.error);
      row.bound = check.bound;
    }
    if (!common.quiet) {
      fmt::print("{:<13} {:<11} {:>6} {:>6}  {:>9}  {:>9}  {}\n", "check", "role", "number", "failed", "largest",
                 "bound", "at");
      for (const auto& [key, row] : rows)
        fmt::print("{:<13} {:<11} {:>6} {:>6}  {:>9.2e}  {:>9.2e}  {}\n", key.first, key.second, row.count, row.failed,
                   row.error, row.bound, row.worst);
      fmt::print("relative errors of random products, in double; bounds are multiples of the unit roundoff {:.2e}\n",
                 report.unit_roundoff);
    }
    for (const ProbeCheck* check : report.failures())
      fmt::print("failed: {} ({}): {} (error {:.2e}, bound {:.2e})\n", joined(check->tensors, " with "), check->role,
                 check->hint, check->error, check->bound);
    if (report.passed() && !common.quiet) fmt::print("{} is the same function as {}\n", out, source);
  }
};

}  // namespace

Runner verify_command(CLI::App& app) {
  const auto command = std::make_shared<VerifyCommand>();
  app.add_option("MODEL", command->source, "The source checkpoint")->required();
  app.add_option("OUT", command->out, "The rotated checkpoint")->required();
  app.add_option("--probe-seed", command->options.seed, "Seed of the random probes")->capture_default_str();
  command->common.add_to(app);
  return [command] { return command->run(); };
}

}  // namespace spinor::cli
