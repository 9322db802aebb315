// The commands that write a checkpoint: rotate, quantize and dequantize. They differ in what they plan.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <chrono>
#include <memory>
#include <utility>

#include "cli/calibration.h"
#include "cli/command.h"
#include "cli/ranks.h"
#include "cli/recipe.h"
#include "spinor/base/error.h"
#include "spinor/io/file.h"
#include "spinor/io/output_directory.h"
#include "spinor/io/rank_board.h"
#include "spinor/job/job.h"
#include "spinor/modifier/learnable.h"
#include "spinor/modifier/model_for.h"

namespace spinor::cli {
namespace {

// Below OUT, where loaders of weights do not look.
constexpr const char* kLearnedFile = "learned/rotations.safetensors";

struct WriteCommand {
  std::string name;  // "rotate"
  std::string model, out;
  RecipeOptions recipe;
  OutputOptions output;
  CalibrationFlags calibration;
  CommonOptions common;
  RankOptions ranks;
  std::vector<std::string> clients;  // --for
  bool force = false, discard_partial = false, inverse = false;
  Learning learned;

  void add_to(CLI::App& app) {
    app.add_option("MODEL", model, "A checkpoint directory, or org/name in the local Hugging Face cache")->required();
    app.add_option("OUT", out, "The directory to write")->required();
    if (name != "dequantize") recipe.add_rotation_to(app);
    if (name == "rotate")
      app.add_flag("--inverse", inverse, "Undo the rotations that MODEL's recipe.yaml or config.json names");
    if (name == "quantize") recipe.add_quantization_to(app);
    if (name != "dequantize") recipe.add_learning_to(app);
    if (name != "dequantize") calibration.add_to(app);
    output.add_to(app);
    ranks.add_to(app, "write OUT", RankWork::waits);
    common.add_to(app);
    if (name != "dequantize")
      app.add_option("--for", clients,
                     "transformers, vllm, sglang, llama.cpp: refuse what one of these would load wrongly")
          ->delimiter(',');
    app.add_flag("--force", force, "Replace an existing OUT, once the new one is complete");
    app.add_flag("--discard-partial", discard_partial, "Start again where an OUT.partial is another job's");
  }

  Job job(const Context& context, const Rank& rank) {
    if (name == "quantize" && recipe.recipe.empty() && recipe.scheme.empty())
      throw Error("quantize", "needs to know how", "give --scheme W4A16 (or another preset), or --recipe FILE");
    RecipeOptions others = recipe;
    others.rotation.clear();
    if (inverse && others.given())
      throw Error("--inverse", "takes the rotation from MODEL",
                  "leave the other options of a rotation out, but for --rotation");
    const Model source = Model::open(model);
    if (name == "dequantize") return Job::dequantize(source);
    if (inverse) return Job::undo(source, recipe.rotation);
    for (const std::string& client : clients) client_from(client);  // errors before the work, not after
    (void)output.save_options();
    recipe.learning_context = calibration.asked_context();
    Recipe steps = recipe.make();
    if (calibration.given() && find_to_learn(steps, model_for(steps, source))) {
      if (!rank.alone())
        throw Error("--learn", "learns in one process, and there are several ranks",
                    "learn first: spinor learn MODEL FILE, then give all ranks --rotation FILE");
      check_output(out, source.checkpoint().directory(), force);
      learned = learn(steps, source, calibration, common, context, learned_file(), kLearnedFile);
    }
    Job job(source, std::move(steps));
    for (const std::string& warning : learned.warnings) job.warn(warning);
    return job;
  }

  // Beside OUT, as OUT.partial is: a run that was killed finds there what it had learned.
  std::filesystem::path learned_file() const { return partial_of(out).string() + ".learned.safetensors"; }

  // What was learned belongs to the output.
  void add_learned(SaveOptions& files) const {
    if (!learned.record.is_null()) files.record["learning"] = learned.record;
    if (!learned.file.empty()) files.texts[kLearnedFile] = read_text(learned.file, int64_t{1} << 40);
  }

  JobSaveOptions save_options(Job& job, const Context& context, const Rank& rank) const {
    JobSaveOptions options{.files = output.save_options()};
    options.files.threads = common.threads;
    options.files.force = force;
    options.files.discard_partial = discard_partial;
    options.files.rank = rank;
    if (!inverse) options.files.record = {{"command", name}};
    add_learned(options.files);
    for (const std::string& client : clients) options.clients.push_back(client_from(client));
    const bool calibrated = calibration.given() && !job.plan().needs_data().empty();
    if (calibration.given() && !calibrated && learned.record.is_null()) job.warn("--calibration: nothing needs data");
    const std::string left = calibration.left_by_learning();
    if (!calibrated && !learned.record.is_null() && !left.empty()) job.warn(left);
    if (calibrated) {
      Context of_job = context;
      of_job.warn = [&](const std::string& text) { job.warn(text); };
      options.calibrator =
          make_calibrator(calibration, common, job.model(), of_job, rank,
                          rank.alone() ? RankMeeting() : meeting_of(rank, partial_of(out), "--calibration"));
    }
    if (!common.quiet) options.warn = context.warn;
    return options;
  }

  Result run(const Context& context) {
    Rank rank = ranks.make();
    rank.launched = rank.launched || (calibration.given() && !rank.alone());  // then they work together, at one time
    try {
      return run(context, rank);
    } catch (const std::exception& error) {
      if (rank.launched && (force || !std::filesystem::exists(out))) note_failure(partial_of(out), rank, error.what());
      throw;
    }
  }

  Result run(const Context& context, const Rank& rank) {
    Job job = this->job(context, rank);
    if (name == "rotate" && job.quantizes())
      throw Error(recipe.recipe_name(), "quantizes, and rotate does not", "use spinor quantize");
    JobSaveOptions options = save_options(job, context, rank);
    options.files.progress = [&](const SaveProgress& p) { context.progress(name, p.bytes_done, p.bytes_total); };
    options.files.stop = context.stop;
    const auto start = std::chrono::steady_clock::now();
    const SaveReport report = job.save(out, options);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    std::error_code ignored;  // what was asked for is there
    if (!learned.record.is_null()) std::filesystem::remove(learned_file(), ignored);
    learned.held.reset();
    Json json = {{"out", out},
                 {"tensors", report.tensors},
                 {"bytes_written", report.bytes_written},
                 {"bytes_resumed", report.bytes_resumed},
                 {"seconds", seconds},
                 {"untied", job.plan().untied()},
                 {"rotations", job.plan().rotation_types()},
                 {"warnings", job.warnings()}};
    if (!rank.alone()) json.update({{"rank", rank.rank}, {"ranks", rank.ranks}, {"pending", report.pending}});
    if (!learned.record.is_null()) json["learning"] = learned.record;
    return {json, common.json ? json_text(json) : common.quiet ? "" : text(job, report, seconds, rank), ""};
  }

  std::string text(const Job& job, const SaveReport& report, double seconds, const Rank& rank) const {
    const std::string resumed =
        report.bytes_resumed ? fmt::format(", {} kept from an earlier run", describe_bytes(report.bytes_resumed)) : "";
    const std::string whose = rank.alone() ? "" : rank.text() + ": ";
    std::string text =
        fmt::format("{}{}: {} tensors, {} in {:.2f} s ({}/s){}{}\n", whose, out, report.tensors,
                    describe_bytes(report.bytes_written), seconds,
                    describe_bytes(static_cast<int64_t>(static_cast<double>(report.bytes_written) / seconds)), resumed,
                    job.plan().untied() ? "; the head is no longer tied to the embedding" : "");
    if (!report.pending.empty())
      return text + fmt::format("{}the output is complete when ranks {} are done, too\n", whose,
                                fmt::join(report.pending, ", "));
    if (rank.rank > 0) return text;
    if (const std::string types = job.plan().rotation_types(); !types.empty())
      text += fmt::format("rotations: {}\n", types);
    return text;
  }
};

Runner write_command(CLI::App& app, std::string name) {
  const auto command = std::make_shared<WriteCommand>();
  command->name = std::move(name);
  command->add_to(app);
  return [command](const Context& context) { return command->run(context); };
}

}  // namespace

Runner rotate_command(CLI::App& app) {
  return write_command(app, "rotate");
}
Runner quantize_command(CLI::App& app) {
  return write_command(app, "quantize");
}
Runner dequantize_command(CLI::App& app) {
  return write_command(app, "dequantize");
}

}  // namespace spinor::cli
