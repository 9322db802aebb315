"""How a stack of experts splits into the linears of single ones: what answers to a change of some of its rows.

A stack is of experts where its name says so, or one of its matrices moves the logits of some tokens and of others not.
Of a gate and an up that are one stack, up is what the sign of the hidden channels follows: half of the rows, or every
second one. Names are those that llm-compressor gives, and vLLM's loaders take: mlp.experts.{E}.gate_proj.
"""

from __future__ import annotations

import dataclasses
import re

import torch

from .files import FileTensor, above, files_of, module_of
from .subject import EXACT, Subject
from .trace import uses_of

SEED = 3
GATE, UP, DOWN = "gate_proj", "up_proj", "down_proj"


@dataclasses.dataclass(frozen=True)
class Stack:
    """Of one layer. `layout`: as in rows. `last`: it is the last linear of an MLP."""

    weight: FileTensor
    layout: str
    last: bool

    @property
    def out_axis(self) -> int:
        return 2 if self.layout == "experts_transposed" else 1

    @property
    def out(self) -> int:
        return self.weight.shape[self.out_axis]

    @property
    def into(self) -> int:
        return self.weight.shape[3 - self.out_axis]

    @property
    def module(self) -> str:
        """In memory: that of all stacks of the same experts."""
        return above(module_of(self.weight.memory))


def split_of(subject: Subject, stack: Stack, stacks: list[Stack], name: str) -> dict:
    """The fields `split` and `alternating` of a row's linear `name`; {} where it is no stack of experts, or nothing
    says what its rows are. `stacks`: all, of which one may be the last linear behind this one."""
    if "expert" not in above(name) and not is_of_experts(subject, stack.weight.memory):
        return {}
    down = next((one for one in stacks if one is not stack and one.module == stack.module
                 and one.layout == stack.layout and 2 * one.into == stack.out), None)
    own = name.rpartition(".")[2].removesuffix("_weight")
    linears = [DOWN] if stack.last else parts(subject, stack, down) if down else [own]
    if not linears:
        return {}
    experts = above(name) if above(name).endswith("experts.") else above(name) + "experts."
    split = {"split": [f"{experts}{{E}}.{linear}" for linear in dict.fromkeys(linears)]}
    return split | ({"alternating": "true"} if len(linears) > 2 else {})


def wrong_splits(row: dict, model: torch.nn.Module, inputs: dict) -> list[str]:
    """Linears that a row says to split otherwise than this model of it shows."""
    linears = {one["name"]: one for one in row["linears"] if one.get("split")}
    if not linears:
        return []
    pattern = rf".*\b{re.escape(row['layers'])}\.\d+\.({'|'.join(map(re.escape, linears))})(\.weight)?"
    stacks: dict[str, Stack] = {}
    for name, tensor in files_of(model, like=pattern).items():
        linear = re.fullmatch(pattern, name)[1]
        stacks.setdefault(linear, Stack(tensor, linears[linear]["layout"], linear in row["mlp_out"]))
    subject = Subject(model, inputs)
    return [name for name, stack in stacks.items()
            if said(linears[name]) != said(split_of(subject, stack, list(stacks.values()), name))]


def said(linear: dict) -> tuple:
    return linear.get("split"), str(linear.get("alternating", "false")).lower()


@torch.no_grad()
def is_of_experts(subject: Subject, memory: str) -> bool:
    """Told by any token: it and those that it sees have some of them, and others not."""
    moved = []
    for one in subject.tensors[memory]:
        before = one.clone()
        one.mul_(1.5)
        moved.append((subject.logits() - subject.start).abs().amax(-1) > EXACT * subject.start.std())
        one.copy_(before)
    by_matrix = torch.stack(moved)
    return bool((by_matrix.any(0) & ~by_matrix.all(0)).any())


def parts(subject: Subject, stack: Stack, down: Stack) -> list[str]:
    """Of its rows: of one linear, of two one after the other, or row by row where they alternate; [] where it cannot be
    told."""
    axis, rows = stack.weight.axes[stack.out_axis], stack.weight.indices[stack.out_axis]
    if axis is None or rows is None or subject.tensors[stack.weight.memory].shape[axis] != 2 * down.into:
        return []
    up = up_rows(subject, stack, down, axis)
    if not up:
        return []
    names = [UP if row in up else GATE for row in rows.tolist()]
    half = len(names) // 2
    if names == names[:1] * half + names[-1:] * half:
        return [names[0], names[-1]]
    return names if names == names[:2] * half else []


def up_rows(subject: Subject, stack: Stack, down: Stack, axis: int) -> set[int]:
    """In memory; empty where none of two ways to have two alike, or not one of the two, is up."""
    rows, inner = list(range(2 * down.into)), down.into
    for two in ((rows[:inner], rows[inner:]), (rows[::2], rows[1::2])):
        ups = [one for one in two if is_up(subject, stack, down, axis, torch.tensor(one))]
        if ups:
            return set(ups[0]) if len(ups) == 1 else set()
    return set()


@torch.no_grad()
def is_up(subject: Subject, stack: Stack, down: Stack, axis: int, rows: torch.Tensor) -> bool:
    """The hidden channels change their sign with these rows, each with its own, but for what is there without them."""
    tensor = subject.tensors[stack.weight.memory]
    before = tensor.clone()
    ones = torch.ones(len(rows), dtype=before.dtype)
    signs = 1 - 2 * torch.randint(2, (len(rows),), generator=torch.Generator().manual_seed(SEED)).to(before.dtype)

    def hidden(factors: torch.Tensor) -> torch.Tensor:
        shape = [-1 if at == axis else 1 for at in range(before.dim())]
        of_all = torch.ones(before.shape[axis], dtype=before.dtype).index_put((rows,), factors)
        tensor.copy_(before * of_all.reshape(shape))
        return channels(subject, down)

    none, turned, one = hidden(0 * ones), hidden(signs), hidden(ones)
    size = (one - none).abs().max()
    return bool(size > 0 and (turned - none - signs * (one - none)).abs().max() < EXACT * size)


def channels(subject: Subject, down: Stack) -> torch.Tensor:
    """What the MLP's last linear reads, (tokens, channels), of all experts."""
    read = [use.activation for use in uses_of(subject.trace()) if use.weight == down.weight.memory]
    turned = [one if one.shape[-1] == down.into else one.transpose(-1, -2) for one in read]
    return torch.cat([one.reshape(-1, down.into) for one in turned])
