#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "cli/calibration_report.h"
#include "cli/command.h"
#include "cli/recipe.h"
#include "spinor/base/error.h"
#include "spinor/family/forward_row.h"
#include "spinor/family/model_config.h"
#include "spinor/io/checkpoint.h"
#include "spinor/io/file.h"
#include "spinor/job/job.h"
#include "spinor/linalg/hadamard.h"
#include "spinor/model/draft.h"
#include "spinor/model/hub.h"
#include "spinor/model/quantized_source.h"
#include "spinor/plan/statistics.h"
#include "spinor/transform/legality.h"
#include "spinor/transform/mtp.h"
#include "spinor/transform/stored_online.h"

namespace spinor::cli {
namespace {

// Which rotation a model can take, and with which matrices.
struct RotationLine {
  std::string rotation;
  int64_t size = 0;
  std::string verdict;
};

std::string hadamard_kinds(int64_t n) {
  const bool power_of_two = n > 0 && (n & (n - 1)) == 0;
  const std::string plain = power_of_two ? "hadamard yes" : fmt::format("hadamard no ({} is not a power of two)", n);
  try {
    const Hadamard h = Hadamard::of_order(n);
    return fmt::format("{}; random-hadamard yes ({} x {}{}); random-orthogonal yes", plain, h.base(), n / h.base(),
                       h.from_peer_table() ? "" : ", a base other tools do not have");
  } catch (const Error& error) {
    return fmt::format("{}; random-hadamard no ({}); random-orthogonal yes", plain, error.problem());
  }
}

// What keeps the mean exists in every size.
std::string kinds(const Stream& stream) {
  return stream.centred ? "hadamard, random-hadamard, random-orthogonal yes, each keeping the mean"
                        : hadamard_kinds(stream.size());
}

// What R1 does to multi-token prediction; empty where there is none.
std::string mtp_verdict(const Model& model) {
  if (model.mtp().empty()) return "";
  const MtpFolding folding = mtp_folding(model);
  const bool unknown =
      std::ranges::any_of(model.mtp(), [&](const CheckpointTensor* tensor) { return !model.owner(tensor->info.name); });
  if (unknown) return "--mtp drop: its row does not say how these layers compute";
  switch (folding.fit) {
    case MtpFit::approximate:
      return "--mtp drop or approximate: " + folding.reason;
    case MtpFit::impossible:
      return "--mtp drop: " + folding.reason;
    default:
      return "exact, with R1";
  }
}

// One line for each size of each rotation.
std::vector<RotationLine> rotation_lines(const Model& model) {
  std::vector<RotationLine> lines;
  for (const Legality& one : legality(model)) {
    const std::string name(name_in_table(one.rotation));
    const std::string prefix = one.rotation == Spin::R3   ? "online, for a quantized KV cache: "
                               : one.rotation == Spin::R4 ? "online: "
                                                          : "";
    if (!one.reason.empty()) {
      lines.push_back({name, one.sizes.empty() ? 0 : one.sizes.front(), "no: " + one.reason});
      continue;
    }
    for (const int64_t size : one.sizes)
      lines.push_back({name, size, one.rotation == Spin::R1 ? kinds(model.stream()) : prefix + hadamard_kinds(size)});
  }
  for (const Stream* tower : model.streams())
    if (tower != &model.stream())
      lines.push_back({"R1_vision", tower->size(),
                       tower->no_rotation.empty() ? "--vision: " + kinds(*tower) : "no: " + tower->no_rotation});
  if (const std::string verdict = mtp_verdict(model); !verdict.empty())
    lines.push_back({"R1_mtp", model.hidden_size(), verdict});
  return lines;
}

std::string shape_text(const TensorInfo& info) {
  return fmt::format("({})", fmt::join(info.shape, ", "));
}

struct InspectCommand {
  std::string path;
  RecipeOptions recipe;
  CommonOptions common;
  bool outliers = false;

  Result run(const Context& context) const {
    const Checkpoint checkpoint = Checkpoint::open(resolve_model(path));
    std::string refusal;
    const Model model = describe(checkpoint, refusal);
    std::vector<OutlierStatistics> before, after;
    if (outliers || recipe.given()) before = outlier_statistics(as_stored(model), {}, common.threads, context.stop);
    if (recipe.given()) {
      if (!refusal.empty() && recipe.recipe.empty()) throw Error(path, refusal);
      after =
          outlier_statistics(Job(Model::open(path), recipe.make()).finished_plan(), {}, common.threads, context.stop);
    }
    Result result{json(model, refusal, before, after), "", ""};
    if (common.json) {
      result.text = json_text(result.json);
    } else {
      print(result.text, model, refusal);
      if (!before.empty()) print_outliers(result.text, model, before, after);
    }
    return result;
  }

  // A model that may not be rotated can still be looked at: then the refusal says why not.
  static Model describe(const Checkpoint& checkpoint, std::string& refusal) {
    try {
      return Model::describe(checkpoint);
    } catch (const UnsupportedArchitecture& error) {
      refusal = error.what();
      return Model::describe(checkpoint, {.accept_unknown = true, .accept_refused = true});
    }
  }

  static Json record(const Checkpoint& checkpoint) {
    const std::filesystem::path file = checkpoint.directory() / "spinor.json";
    return std::filesystem::exists(file) ? parse_json(read_text(file), file.string()) : Json();
  }

  // The modifiers with what was said of them, without what follows from it.
  static std::string summary(const Json& recipe) {
    std::vector<std::string> modifiers;
    for (const auto& stage : recipe.items())
      for (const auto& group : stage.value().items())
        for (const auto& modifier : group.value().items()) {
          Json arguments = modifier.value();
          for (const char* key : {"transform_config", "mappings", "norm_mappings", "requires_calibration_data"})
            arguments.erase(key);
          modifiers.push_back(modifier.key() + " " + arguments.dump());
        }
    return fmt::format("{}", fmt::join(modifiers, ", "));
  }

  static Json json(const Model& model, const std::string& refusal, const std::vector<OutlierStatistics>& before,
                   const std::vector<OutlierStatistics>& after) {
    Json tensors = Json::object();
    auto& members = tensors.get_ref<Json::object_t&>();  // emplace_back: operator[] would search all names before it
    for (const CheckpointTensor& tensor : model.checkpoint().tensors())
      members.emplace_back(tensor.info.name, Json{{"role", name_of(model.role(tensor.info.name))},
                                                  {"shape", tensor.info.shape},
                                                  {"dtype", info(tensor.info.dtype).name}});
    Json rotations = Json::array();  // MLPs of several widths have several R4
    if (refusal.empty())
      for (const RotationLine& row : rotation_lines(model))
        rotations.push_back({{"rotation", row.rotation}, {"size", row.size}, {"verdict", row.verdict}});
    Json result = {{"architecture", model.architecture_name()},
                   {"refusal", refusal.empty() ? Json() : Json(refusal)},
                   {"rotations", rotations},
                   {"runs", why_not_run(model).empty()},
                   {"why_not_run", why_not_run(model)},
                   {"runs_on_text_only", text_only(model)},
                   {"draft", draft(model)},
                   {"record", record(model.checkpoint())},
                   {"calibration", read_calibration(model.checkpoint())},
                   {"tensors", tensors}};
    const auto add = [&](const char* key, const std::vector<OutlierStatistics>& statistics) {
      for (const OutlierStatistics& s : statistics)
        result["outliers"][key][s.tensor] = {{"max_over_rms", s.max_over_rms},
                                             {"kurtosis", s.kurtosis},
                                             {"worst_channel", s.worst_channel},
                                             {"worst_channel_rms", s.worst_channel_rms}};
    };
    add("before", before);
    add("after", after);
    return result;
  }

  static std::string sizes(const Model& model) {
    const std::optional<int64_t> of_head = model.config().head_dim, of_mlp = model.config().intermediate_size;
    return fmt::format("{} layers, hidden {}, {} heads{} ({} key-value),{} vocabulary {}, {} head\n",
                       model.num_layers(), model.hidden_size(), model.num_heads(),
                       of_head ? fmt::format(" of {}", *of_head) : "", model.num_key_value_heads(),
                       of_mlp ? fmt::format(" intermediate {},", *of_mlp) : "", model.vocabulary_size(),
                       model.tied_head() ? "tied" : "own");
  }

  void print(std::string& text, const Model& model, const std::string& refusal) const {
    const Checkpoint& checkpoint = model.checkpoint();
    int64_t bytes = 0;
    for (const CheckpointTensor& tensor : checkpoint.tensors()) bytes += tensor.info.bytes();
    text += fmt::format("{}: {}, {} tensors, {} in {} file{}\n", path, model.architecture_name(),
                        checkpoint.tensors().size(), describe_bytes(bytes), checkpoint.shards().size(),
                        checkpoint.shards().size() == 1 ? "" : "s");
    if (refusal.empty()) text += sizes(model);
    if (const Json made = record(checkpoint); !made.is_null())
      text += fmt::format("made by spinor {} ({}): {}\n", made.value("spinor_version", "?"), made.value("command", "?"),
                          summary(made.value("recipe", Json())));
    if (const QuantizedSource* source = model.quantized_source())
      text += fmt::format("stored quantized ({}); shown as the numbers it stands for\n", source->method);
    for (const std::string& warning : model.warnings()) text += fmt::format("{}\n", warning);
    print_tensors(text, model);
    text += calibration_text(read_calibration(checkpoint));
    text += fmt::format("\nrotations\n");
    if (!refusal.empty()) text += fmt::format("  none: {}\n", refusal);
    if (const std::string row = draft(model); !row.empty())
      text += fmt::format("\na row for --architecture, see docs/adding_an_architecture.md\n\n{}", row);
    if (refusal.empty())
      for (const RotationLine& row : rotation_lines(model))
        text += fmt::format("  {:<2}  {:>6}  {}\n", row.rotation, row.size, row.verdict);
    if (const std::string reason = why_not_run(model); refusal.empty() && !reason.empty())
      text += fmt::format("eval, generate and verify --text do not run it: {}\n", reason);
    if (refusal.empty() && text_only(model))
      text += fmt::format("eval, generate and verify --text run it on text, not images\n");
  }

  // Empty: eval, generate and verify --text run it.
  static std::string why_not_run(const Model& model) {
    const Architecture* row = model.architecture();
    return row && row->forward ? row->forward->unknown : "how it computes is not known";
  }

  static bool text_only(const Model& model) {
    return model.architecture() && why_not_run(model).empty() && !model.architecture()->towers.empty();
  }

  // Empty for an architecture that is known, or known and refused.
  static std::string draft(const Model& model) {
    const std::string name(model.architecture_name());
    if (model.architecture() || name.empty() || find_refused_architecture(name)) return "";
    return draft_architecture(model.checkpoint(), name);
  }

  // One line for tensors that differ only in the layer.
  static void print_tensors(std::string& text, const Model& model) {
    struct Line {
      std::string name, role, shape;
      int first, last;
    };
    std::vector<Line> lines;
    std::map<std::string, size_t> index;
    for (const CheckpointTensor& tensor : model.checkpoint().tensors()) {
      const Module* owner = model.owner(tensor.info.name);
      const int layer = owner ? owner->layer : -1;
      std::string name = tensor.info.name;
      const std::string number = fmt::format(".{}.", layer);
      if (const size_t at = name.find(number); layer >= 0 && at != std::string::npos)
        name.replace(at, number.size(), ".{L}.");
      const std::string shape = fmt::format("{} {}", shape_text(tensor.info), info(tensor.info.dtype).name);
      const auto [it, added] = index.emplace(name + shape, lines.size());
      if (added) lines.push_back({name, std::string(name_of(model.role(tensor.info.name))), shape, layer, layer});
      Line& line = lines[it->second];
      line.first = std::min(line.first, layer);
      line.last = std::max(line.last, layer);
    }
    text += fmt::format("\n{:<52} {:<12} {}\n", "tensor", "role", "shape");
    for (Line& line : lines) {
      if (const size_t at = line.name.find("{L}"); at != std::string::npos)
        line.name.replace(
            at, 3,
            line.first == line.last ? fmt::format("{}", line.first) : fmt::format("{{{}-{}}}", line.first, line.last));
      text += fmt::format("{:<52} {:<12} {}\n", line.name, line.role, line.shape);
    }
  }

  // Per role the median over its tensors, and the worst one by name.
  static void print_outliers(std::string& text, const Model& model, const std::vector<OutlierStatistics>& before,
                             const std::vector<OutlierStatistics>& after) {
    std::map<std::string, const OutlierStatistics*> rotated;
    for (const OutlierStatistics& s : after) rotated[s.tensor] = &s;
    std::map<std::string, std::vector<const OutlierStatistics*>> roles;
    for (const OutlierStatistics& s : before) roles[std::string(name_of(model.role(s.tensor)))].push_back(&s);
    text += fmt::format(
        "\noutliers: largest magnitude and largest column rms in units of the tensor's rms, kurtosis (Gaussian: "
        "3); medians over the tensors of a role\n{:<12} {:>9} {:>9} {:>9}   {}\n",
        "role", "max", "kurtosis", "column", "largest column in");
    const auto median = [](std::vector<double> v) {
      std::nth_element(v.begin(), v.begin() + static_cast<int64_t>(v.size() / 2), v.end());
      return v[v.size() / 2];
    };
    const auto print_row = [&](const std::string& title, const std::vector<const OutlierStatistics*>& rows) {
      const auto column = [&](double OutlierStatistics::* field) {
        std::vector<double> v;
        for (const OutlierStatistics* s : rows) v.push_back(s->*field);
        return median(std::move(v));
      };
      const OutlierStatistics& worst = **std::max_element(rows.begin(), rows.end(), [](const auto* a, const auto* b) {
        return a->worst_channel_rms < b->worst_channel_rms;
      });
      text += fmt::format("{:<12} {:>9.1f} {:>9.1f} {:>9.2f}   {} column {} ({:.2f})\n", title,
                          column(&OutlierStatistics::max_over_rms), column(&OutlierStatistics::kurtosis),
                          column(&OutlierStatistics::worst_channel_rms), worst.tensor, worst.worst_channel,
                          worst.worst_channel_rms);
    };
    for (const auto& [role, rows] : roles) {
      print_row(role, rows);
      std::vector<const OutlierStatistics*> after_rows;
      for (const OutlierStatistics* s : rows)
        if (rotated.contains(s->tensor)) after_rows.push_back(rotated.at(s->tensor));
      if (!after_rows.empty()) print_row("  rotated", after_rows);
    }
  }
};

}  // namespace

Runner inspect_command(CLI::App& app) {
  const auto command = std::make_shared<InspectCommand>();
  app.add_option("MODEL", command->path, "A checkpoint directory, or org/name in the local Hugging Face cache")
      ->required();
  app.add_flag("--outliers", command->outliers, "Outlier statistics of every weight (reads the whole checkpoint)");
  command->recipe.add_rotation_to(app);
  command->common.add_to(app);
  return [command](const Context& context) { return command->run(context); };
}

}  // namespace spinor::cli
