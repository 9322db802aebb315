"""The parts of a row that are not the language model: what feeds its stream, and what no rotation touches."""

from __future__ import annotations

import re

import torch
from transformers import PreTrainedConfig

from .files import CannotTell, FileTensor, module_of
from .loaded_names import with_any_numbers
from .roles import Roles


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


def with_towers(row: dict, roles: Roles, config, model: torch.nn.Module) -> dict:
    """The row with its other parts; where no row can say how they write to the stream, R1 is refused."""
    try:
        more = towers_of(roles, roles.sites, config, model)
    except CannotTell as error:
        more = towers_of(roles, set(), config, model)
        refused = row.get("refusals", [])
        if not any(one["rotation"] == "R1" for one in refused):
            more["refusals"] = [*refused, {"rotation": "R1", "reason": f"no row can say it: {error}"}]
    more["untouched"] = [*row.get("untouched", ()), *more["untouched"]]
    return row | {key: value for key, value in more.items() if value}


def towers_of(roles: Roles, sites: set, config, model: torch.nn.Module) -> dict:
    """What writes at the sites feeds the stream, all else is untouched. Raises CannotTell."""
    linears, feeds, untouched = linears_in(model), {}, {}
    for name, tensor in roles.towers.items():
        beginning = beginning_of(name, roles.root)
        module = module_of(name)
        on_stream = {axis for axis, of in enumerate(tensor.axes) if (tensor.memory, of) in sites}
        if on_stream:
            above = module.rpartition(".")[0]
            feeds.setdefault(above + "." if above else "", {}).setdefault(module, {})[name] = on_stream
        else:
            named = untouched.setdefault(beginning, {})
            if tensor.memory in linears and len(tensor.shape) == 2 and name.endswith(".weight"):
                named[with_any_numbers(module[len(beginning) :])] = None
    return {"towers": [tower(section_of_tower(config), beginning, modules, roles)
                       for beginning, modules in feeds.items()],
            "untouched": [{"beginning": beginning, "linears": list(named)} for beginning, named in untouched.items()]}


def section_of_tower(config) -> str:
    keys = [key for key, value in vars(config).items() if isinstance(value, PreTrainedConfig)]
    found = [key for key in keys if re.search("vision|visual|audio", key)] or keys
    if not found:
        raise CannotTell("its config has no section for another part")
    return found[0]


def tower(section: str, beginning: str, modules: dict, roles: Roles) -> dict:
    """Without layers: its linears that write the stream of the language model."""
    rows, vectors = [], []
    for module, tensors in modules.items():
        weight: FileTensor | None = roles.towers.get(module + ".weight")
        if is_vector(roles.towers.get(module)):
            name = module[len(beginning) :]
            vectors.append({"name": name, "rows": "1", "columns": "language_hidden_size", "writes": "false"})
            continue
        if weight is None or len(weight.shape) != 2 or tensors.get(weight.name) != {0}:
            raise CannotTell(f"{module} writes to the residual stream, and is no linear")
        row = {"name": module[len(beginning) :], "out": "language_hidden_size", "in": "any"}
        if module + ".bias" in tensors:
            row["bias"] = "true"
        rows.append(row)
    return {"section": section, "roots": [beginning], "embeddings": vectors, "layers": "", "linears": [], "norms": [],
            "outer_linears": rows, "outer_norms": [], "head": "", "writes": [], "mlp_in": [], "mlp_out": [],
            "buffers": [], "feeds": [row["name"] for row in [*vectors, *rows]]}


def is_vector(tensor: FileTensor | None) -> bool:
    return tensor is not None and len(tensor.shape) in (1, 2) and len(tensor.shape) == 1 + tensor.shape.count(1)
