"""The parts of a row that are not the language model: what feeds its stream, and what no rotation touches."""

from __future__ import annotations

import re

import torch

from .files import CannotTell, FileTensor
from .roles import Roles, module_of


def beginning_of(name: str, root: str) -> str:
    """As short as it can be without being the root's, or that of a tensor alone."""
    parts = name.split(".")
    for count in range(1, len(parts)):
        beginning = ".".join(parts[:count]) + "."
        if not root.startswith(beginning):
            return beginning
    return name


def linears_in(model: torch.nn.Module) -> set[str]:
    return {name + ".weight" for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}


def towers_of(roles: Roles, config, model: torch.nn.Module) -> dict:
    linears, feeds, untouched = linears_in(model), {}, {}
    for name, tensor in roles.towers.items():
        beginning = beginning_of(name, roles.root)
        if on_stream := {axis for axis in range(len(tensor.shape)) if (tensor.memory, tensor.axes[axis]) in roles.sites}:
            feeds.setdefault(beginning, {}).setdefault(module_of(name), {})[name] = on_stream
        else:
            named = untouched.setdefault(beginning, {})
            if tensor.memory in linears and len(tensor.shape) == 2 and name.endswith(".weight"):
                named[re.sub(r"(?<=\.)\d+(?=\.)", "{N}", name[len(beginning) :].removesuffix(".weight") + ".")[:-1]] = None
    section = section_of_tower(config)
    return {"towers": [tower(section, beginning, modules, roles) for beginning, modules in feeds.items()],
            "untouched": [{"beginning": beginning, "linears": list(named)} for beginning, named in untouched.items()],
            "loaded_as": loaded_as(roles)}


def section_of_tower(config) -> str:
    keys = [key for key, value in config.to_dict().items() if isinstance(value, dict)]
    found = [key for key in keys if re.search("vision|visual|audio", key)] or keys
    if not found:
        raise CannotTell("its config has no section for another part")
    return found[0]


def tower(section: str, beginning: str, modules: dict, roles: Roles) -> dict:
    """Without layers: its linears that write the stream of the language model."""
    rows = []
    for module, tensors in modules.items():
        weight: FileTensor | None = roles.towers.get(module + ".weight")
        if weight is None or len(weight.shape) != 2 or tensors.get(weight.name) != {0}:
            raise CannotTell(f"{module} writes to the residual stream, and is no linear")
        row = {"name": module[len(beginning) :], "out": "language_hidden_size", "in": "any"}
        if module + ".bias" in tensors:
            row["bias"] = "true"
        rows.append(row)
    return {"section": section, "roots": [beginning], "embeddings": [], "layers": "", "linears": [], "norms": [],
            "outer_linears": rows, "outer_norms": [], "head": "", "writes": [], "mlp_in": [], "mlp_out": [],
            "buffers": [], "feeds": [row["name"] for row in rows]}


def loaded_as(roles: Roles) -> dict[str, str]:
    """Beginnings of names in files, and what they are in memory, where they differ; the longest first."""
    found: dict[str, str] = {}
    for name, tensor in roles.files.items():
        stored, loaded = name.split("."), tensor.memory.split(".")
        while stored and loaded and stored[-1] == loaded[-1]:
            stored.pop()
            loaded.pop()
        beginning, other = (".".join(parts) + "." if parts else "" for parts in (stored, loaded))
        if beginning != other and not re.search(r"\.\d", beginning + other) and len(stored) + len(loaded) < 6:
            found[beginning] = other
    return dict(sorted(found.items(), key=lambda pair: -len(pair[0])))
