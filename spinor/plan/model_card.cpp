#include "spinor/plan/model_card.h"

#include <fmt/format.h>

#include "spinor/base/version.h"
#include "spinor/plan/compatibility.h"

namespace spinor {
namespace {

constexpr std::string_view kFence = "---\n";

// A card's YAML between its first two lines of ---, with them; empty if it has none.
std::string_view front_matter(std::string_view card) {
  if (!card.starts_with(kFence)) return {};
  const size_t end = card.find("\n---\n", kFence.size() - 1);
  return end == std::string_view::npos ? std::string_view() : card.substr(0, end + 5);
}

// config.json lists transforms that are in the weights already; only what acts on activations is applied here. The
// matrices are the stored ones, whatever seed they were drawn with.
constexpr std::string_view kOnlineLoader = R"(```python
import json
from pathlib import Path

import torch
from compressed_tensors.transform import TransformConfig, apply_transform_config
from safetensors import safe_open
from transformers import AutoModelForCausalLM


def load(directory, **options):
    directory = Path(directory)
    model = AutoModelForCausalLM.from_pretrained(directory, **options)
    config = json.loads((directory / "config.json").read_text())["quantization_config"]["transform_config"]
    for scheme in config["config_groups"].values():
        scheme["apply"] = [a for a in scheme["apply"] if a["location"] not in ("weight_input", "weight_output")]
    apply_transform_config(model, TransformConfig(**config))
    state = model.state_dict()
    for file in directory.glob("*.safetensors"):
        with safe_open(file, "pt") as tensors:
            for name in tensors.keys():
                transform = name.split(".")[-2]
                if any(transform.startswith(group + "_") for group in config["config_groups"]):
                    with torch.no_grad():
                        state[name].copy_(tensors.get_tensor(name))
    return model.eval()
```
)";

constexpr std::string_view kPlainLoader = R"(```python
from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained("DIRECTORY")
```
)";

}  // namespace

std::string model_card(const RewritePlan& plan, std::string_view recipe, std::string_view source_card) {
  const std::string_view front = front_matter(source_card);
  std::string card(front);
  card += fmt::format(
      "# Made by spinor {}\n\n"
      "spinor.json records the source, its digests and all options. The recipe:\n\n```yaml\n{}```\n\n",
      kVersion, recipe);
  card += "## Load it\n\n";
  if (plan.online().empty()) {
    card += "In transformers, as any other model:\n\n";
    card += kPlainLoader;
  } else {
    card += "Some transforms act while the model runs. transformers leaves them out; this applies them:\n\n";
    card += kOnlineLoader;
  }
  const auto found = incompatibilities(plan, kAllClients);
  if (!found.empty()) card += "\n## What loads it wrongly, or not at all\n\n";
  for (const Incompatibility& one : found)
    card += fmt::format("- {} {} ({}): {}.\n", name_in_table(one.client), one.problem, one.where, one.instead);
  source_card.remove_prefix(front.size());
  if (!source_card.empty()) card += fmt::format("\n# The source's card\n\n{}", source_card);
  return card;
}

}  // namespace spinor
