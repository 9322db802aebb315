"""The attentions of a sample, as modules that files name, and the rows of fused weights that are their values."""

from __future__ import annotations

import dataclasses
import itertools

from .files import CannotTell, FileTensor, module_of


@dataclasses.dataclass
class AttentionRole:
    layer: int
    output: str
    values: tuple[str, ...]  # several: each has heads of its own
    query: str
    key: str
    head_dim: int
    value_weight: FileTensor
    value_axis: int
    part: tuple[int, int, int] | None  # begin, size, period of the values among the rows of their linear; None: all
    value_layer: int  # that before it which has them, or its own


def attention_roles(roles) -> list[AttentionRole]:
    """Of a sample whose linears are known (Roles). Raises CannotTell."""
    found = []
    for attention in roles.findings.attentions:
        output = roles.of_memory[attention.output.weight][0]
        place = roles.place(module_of(output.name))
        values = roles.findings.values.found.get(attention.output.weight, [])
        if place.layer is None or not values or not roles.findings.values.proved:
            continue
        rows = value_rows(roles, values)
        places = [roles.place(module_of(tensor.name)) for tensor, _, _ in rows]
        layers = {value.layer for value in places}
        if len(layers) > 1 or (layer := layers.pop()) is None or layer > place.layer:
            raise CannotTell(f"{output.name} reads values that no layer before it has")
        names = queries_and_keys(roles, attention)
        found.append(AttentionRole(place.layer, place.name, tuple(value.name for value in places), *names,
                                   attention.head_dim, *rows[0], layer))
    return found


def queries_and_keys(roles, attention) -> tuple[str, str]:
    """The linears that make them; none where several make both."""
    queries, keys = (linears_in(roles, names) for names in (attention.queries, attention.keys))
    if queries[:1] == keys[:1] and len({*queries, *keys}) > 1:
        return "", ""
    return next(iter(queries), ""), next(iter(keys), "")


def linears_in(roles, names: list[str]) -> list[str]:
    modules = [module_of(tensor.name) for name in names for tensor in roles.of_memory.get(name, ())]
    return [roles.linears[module].place.name for module in modules if module in roles.linears]


def value_rows(roles, values) -> list[tuple[FileTensor, int, tuple[int, int, int] | None]]:
    """The tensors of the file, their axes, and which of their rows; of several, all."""
    names = sorted({value.sites[0].tensor for value in values})
    found = [rows_of_one(roles, name, [one for one in values if one.sites[0].tensor == name]) for name in names]
    if len(found) > 1 and any(part for _, _, part in found):
        raise CannotTell("the values of a layer are parts of several weights: " + ", ".join(names))
    return found


def rows_of_one(roles, name: str, values) -> tuple[FileTensor, int, tuple[int, int, int] | None]:
    size, axis = values[0].sites[0].size, values[0].sites[0].axis
    memory_begins = sorted({value.sites[0].begin for value in values})
    for tensor in roles.of_memory.get(name, ()):
        at, index = tensor.rows_of(name, axis)
        if set(memory_begins) <= set(index):
            return tensor, at, rows_of(tensor, [index.index(begin) for begin in memory_begins], size, len(index))
    raise CannotTell(f"{name}: the values lie in several tensors of the file")


def rows_of(tensor: FileTensor, begins: list[int], size: int, rows: int) -> tuple[int, int, int] | None:
    """Heads that follow one another are one piece; pieces are alike, at equal distances."""
    pieces: list[list[int]] = []
    for begin in begins:
        if pieces and begin == pieces[-1][0] + pieces[-1][1]:
            pieces[-1][1] += size
        else:
            pieces.append([begin, size])
    lengths, steps = {length for _, length in pieces}, {b[0] - a[0] for a, b in itertools.pairwise(pieces)}
    if pieces == [[0, rows]]:
        return None
    if len(pieces) == 1:
        return pieces[0][0], pieces[0][1], rows
    if len(lengths) == 1 and len(steps) == 1 and rows == len(pieces) * (step := steps.pop()):
        return pieces[0][0], lengths.pop(), step
    raise CannotTell(f"{tensor.name}: its rows with values begin at {begins}")
