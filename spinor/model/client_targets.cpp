#include "spinor/model/client_targets.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "spinor/model/module_name.h"
#include "spinor/model/read_layers.h"
#include "spinor/model/target_list.h"

namespace spinor {
namespace {

bool same_bits(const QuantizationScheme* a, const QuantizationScheme* b) {
  if (!a || !b) return a == b;
  return a->weights == b->weights && a->input_activations == b->input_activations &&
         a->output_activations == b->output_activations && a->format == b->format;
}

std::string list_parts(const ReadLayer& layer) {
  std::vector<std::string_view> names;
  for (const Module* part : layer.parts) names.push_back(last_component(part->name));
  return fmt::format("{}", fmt::join(names, ", "));
}

// The readers' classes. Their linears have several, which differ in nothing that a target could be a piece of.
std::string_view reader_class(const ReadLayer& layer, bool vllm) {
  if (layer.kind == ReadLayer::experts) return vllm ? "RoutedExperts" : "FusedMoE";
  return layer.kind == ReadLayer::head ? "ParallelLMHead" : "ColumnParallelLinear";
}

// Targets in the order of the file. One that several groups have keeps its place, and means the last of them, as in a
// Python dictionary.
struct Targets {
  std::vector<std::string> names = {};
  std::vector<const QuantizationScheme*> schemes = {};

  explicit Targets(const QuantizationConfig& config) {
    std::map<std::string_view, size_t> places;
    for (const auto& [group, scheme] : config.config_groups)
      for (const std::string& target : scheme.targets) {
        const auto [place, added] = places.emplace(target, names.size());
        if (added) names.push_back(target);
        schemes.resize(names.size());
        schemes[place->second] = &scheme;
      }
  }
};

struct SchemeReading {
  const QuantizationScheme* scheme = nullptr;
  std::string error = {};
};

class SchemeReader {
 public:
  SchemeReader(const QuantizationConfig& config, TargetReader reader)
      : vllm_(reader == TargetReader::vllm), all_(config), ignore_(config.ignore), targets_(all_.names) {}

  SchemeReading read(const ReadLayer& layer) const {
    const bool fused = layer.kind == ReadLayer::fused;
    bool ignored = ignores(layer.names, vllm_ || !fused);
    if (!ignored && fused) {
      const auto is_ignored = [&](const Module* part) { return ignores(stored_and_loaded(*part), true); };
      const auto count = static_cast<size_t>(std::ranges::count_if(layer.parts, is_ignored));
      if (count && count < layer.parts.size())
        return {.error = fmt::format("fuses {}, and fails where only some of them are in ignore", list_parts(layer))};
      ignored = count > 0;
    }
    return {ignored ? nullptr : scheme_of(layer)};
  }

  // vLLM's has no name in some families, so that only a class can mean it. SGLang has none that is quantized.
  bool knows_embeddings() const { return vllm_; }
  const QuantizationScheme* read_embedding(const Module& module) const {
    if (ignores(stored_and_loaded(module), true)) return nullptr;
    return scheme_at(targets_.first_of_class("VocabParallelEmbedding"));
  }

 private:
  const QuantizationScheme* scheme_at(size_t target) const {
    return target == TargetList::npos ? nullptr : all_.schemes[target];
  }

  bool ignores(const std::vector<std::string>& names, bool by_regex) const {
    return std::ranges::any_of(names, [&](const std::string& name) {
      return by_regex ? ignore_.first(name) != TargetList::npos : ignore_.has_name(name);
    });
  }

  size_t first_target(const std::vector<std::string>& names) const {
    size_t best = TargetList::npos;
    for (const std::string& name : names) best = std::min(best, targets_.first(name));
    return best;
  }

  // All parts must have a target; the first's counts.
  size_t target_of_parts(const ReadLayer& layer) const {
    if (layer.kind != ReadLayer::fused) return TargetList::npos;
    for (const Module* part : layer.parts)
      if (first_target(stored_and_loaded(*part)) == TargetList::npos) return TargetList::npos;
    return first_target(stored_and_loaded(*layer.parts.front()));
  }

  size_t target_of_class(const ReadLayer& layer) const {
    if (!vllm_ && layer.kind == ReadLayer::head) return TargetList::npos;
    const size_t found = targets_.first_of_class(reader_class(layer, vllm_));
    // Both add the class of experts behind the others, with what "Linear" has.
    return found == TargetList::npos && layer.kind == ReadLayer::experts ? targets_.first("Linear") : found;
  }

  const QuantizationScheme* scheme_of(const ReadLayer& layer) const {
    size_t target = first_target(layer.names);
    if (target == TargetList::npos && vllm_) target = target_of_parts(layer);
    if (target == TargetList::npos) target = target_of_class(layer);
    if (target == TargetList::npos) target = target_of_parts(layer);
    return scheme_at(target);
  }

  const bool vllm_;
  const Targets all_;
  const TargetList ignore_, targets_;
};

std::string misreading_of(const ReadLayer& layer, const SchemeReading& found) {
  if (layer.kind == ReadLayer::experts)
    return fmt::format("reads all experts of a layer as the first, {}", layer.names.front());
  if (layer.kind == ReadLayer::fused)
    return fmt::format("fuses {}, and reads all of them by one scheme", list_parts(layer));
  return found.scheme ? "takes the first target in config.json that matches, which is another one's"
                      : "finds no target in config.json for it, and reads it as not quantized";
}

}  // namespace

std::optional<Misreading> find_misreading(const QuantizationConfig& config,
                                          const std::vector<QuantizedModule>& quantized, const Model& model,
                                          TargetReader target_reader) {
  const SchemeReader reader(config, target_reader);
  std::map<const Module*, const QuantizationScheme*> schemes;
  for (const QuantizedModule& one : quantized) schemes.emplace(one.module, &one.group->second);
  const auto reads_as_planned = [&](const Module* module, const QuantizationScheme* found) {
    const auto planned = schemes.find(module);
    return same_bits(found, planned == schemes.end() ? nullptr : planned->second);
  };
  std::map<std::string, const QuantizationScheme*> experts;  // by the module of the first of a layer
  for (const ReadLayer& layer : read_layers(model)) {
    const SchemeReading found = reader.read(layer);
    if (!found.error.empty()) return Misreading{layer.parts.front(), found.error};
    if (layer.kind == ReadLayer::experts) {
      const auto other = experts.emplace(parent_of(layer.names.front()), found.scheme).first;
      if (!same_bits(other->second, found.scheme))
        return Misreading{layer.parts.front(), "reads the projections of an expert by one scheme"};
    }
    for (const Module* part : layer.parts)
      if (!reads_as_planned(part, found.scheme)) return Misreading{part, misreading_of(layer, found)};
  }
  const Module* embedding = model.embedding();
  if (embedding && reader.knows_embeddings() && !reads_as_planned(embedding, reader.read_embedding(*embedding)))
    return Misreading{embedding, "knows the embedding by its class alone in some families, and no target is that"};
  return {};
}

}  // namespace spinor
