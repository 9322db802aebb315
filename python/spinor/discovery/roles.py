"""What each tensor of a file is for, in one tiny model: what the findings say of the tensors in memory, told of the
modules that files name."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections import Counter
from collections.abc import Collection

from .attention_roles import attention_roles
from .counts import PIECES, UNEVEN, numbered, templates
from .files import CannotTell, FileTensor, above, module_of
from .find import Findings
from .folds import scales_of
from .stream import OTHER_PARTS
from .unread import unread_parameters

STACKED = 3  # axes of experts in one tensor
LISTED = re.compile(r"(.*?)\.(\d+)((?:\..+)?)")


@dataclasses.dataclass(frozen=True)
class Place:
    """Of a module: its layer, None outside of them, and its name below it or below the root; {E} counts experts."""

    layer: int | None
    name: str


@dataclasses.dataclass
class LinearRole:
    place: Place
    weight: FileTensor
    out_axis: int
    in_axis: int
    layout: str = "matrix"
    bias: FileTensor | None = None
    reads: bool = False  # vectors of the stream
    writes: bool = False
    router: bool = False
    mlp_in: bool = False
    mlp_out: bool = False

    @property
    def out(self) -> int:
        return self.weight.shape[self.out_axis]

    @property
    def into(self) -> int:
        return self.weight.shape[self.in_axis]


@dataclasses.dataclass
class NormRole:
    place: Place
    weight: FileTensor
    reads: list[str]  # names below the layer, or outside
    layer_norm: bool = False
    bias: FileTensor | None = None
    offset: int = 0
    scales_output: bool = False

    @property
    def size(self) -> int:
        return self.weight.shape[-1]


@dataclasses.dataclass
class ParameterRole:
    place: Place  # with the tensor's whole name
    weight: FileTensor
    writes: bool = False  # its vectors to the stream


@dataclasses.dataclass
class EmbeddingRole:
    place: Place
    weight: FileTensor
    writes: bool


class Roles:
    """Of one sample."""

    def __init__(self, findings: Findings, files: dict[str, FileTensor], counts: dict[str, list],
                 has_towers: bool = False, uneven: Collection[str] = ()):
        """`counts`: of numbered tensors in memory (counts.py), how some keys of the config count them
        (Dependence.counts). `uneven`: see counts.uneven."""
        self.findings, self.files, self.uneven = findings, files, uneven
        self.width = findings.stream.width
        self.sites = whole_sites(findings)
        self.uses = {}
        for use in findings.graph.uses:
            if use.axis is not None and use.operation.name != "convolution":
                self.uses.setdefault(use.weight, use)
        self.of_memory: dict[str, list[FileTensor]] = {}
        for tensor in files.values():
            for memory in tensor.memories:
                self.of_memory.setdefault(memory, []).append(tensor)
        self.head = self._head()
        self.layers_at = self._layers_at()
        self.root = self._root() if has_towers else above(self.layers_at)
        self.layers = self.layers_at[len(self.root) :]
        self.memory_root = self._memory_root() if has_towers else ""
        self.towers: dict[str, FileTensor] = {}  # what is not below the root: of other parts of the model
        if not all(map(self._is_below, files)) and not has_towers:
            self.root, self.layers = "", self.layers_at
        # By the name in files of a module, or a tensor: that of all in memory; or PIECES, or UNEVEN.
        self.counted: dict[str, str] = {}
        self.beside = self._beside(counts)
        self._find_counted(set(counts))
        self.unsaid = ""  # what of a stream that turns a row cannot say
        self.unused: dict[str, FileTensor] = {}  # that may be on the stream, and that nothing reads
        self.linears: dict[str, LinearRole] = {}
        self.norms: dict[str, NormRole] = {}
        self.parameters: dict[str, ParameterRole] = {}
        self.embeddings: dict[str, EmbeddingRole] = {}
        for name, _ in sorted(self.sites):
            if name not in self.of_memory:
                self._unsaid(f"{name} is on the stream, and no checkpoint stores it")
        self._assign()
        self.no_values = ""  # why a row cannot say which values turn
        try:
            self.attentions = attention_roles(self)
        except CannotTell as error:
            self.attentions, self.no_values = [], str(error)

    def _layers_at(self) -> str:
        """Where the layers are: the list that most weights are in."""
        counts: dict[str, int] = {}
        for tensor in self.files.values():
            found = re.match(r"(.*?)\.\d+\.", tensor.name)
            if found and len(tensor.shape) > 1 and self._is_language(tensor):
                counts[found[1]] = counts.get(found[1], 0) + 1
        if not counts:
            raise CannotTell("there are no layers")
        return max(counts, key=counts.get)

    def _is_below(self, name: str) -> bool:
        """Of the language model: told by the names in memory, where the root in files is none."""
        if module_of(name) == self.head:
            return True
        return name.startswith(self.root) and self.files[name].memory.startswith(self.memory_root)

    def _root(self) -> str:
        """Of the language model: above its layers, and above its tokens."""
        root = above(self.layers_at)
        tokens = next((name for name, tensor in self.files.items() if self._is_of_tokens(tensor)), root)
        while not tokens.startswith(root):
            root = above(root[:-1])
        return root

    def _memory_root(self) -> str:
        """Where the language model is in memory."""
        layer = next(tensor for name, tensor in self.files.items() if name.startswith(self.layers_at + "."))
        root = re.match(r"(.*?)[^.]*\.\d+\.", layer.memory)[1]
        tokens = next((tensor.memory for tensor in self.files.values() if self._is_of_tokens(tensor)), root)
        while not tokens.startswith(root):
            root = above(root[:-1])
        return root

    def is_in_layers(self, memory: str) -> bool:
        """Of the language model: a tower has attentions of its own."""
        return any(self._is_below(tensor.name) and self.place(tensor.name).layer is not None
                   for tensor in self.of_memory[memory])

    @property
    def layer_count(self) -> int:
        return 1 + max(place.layer for name in self.files if (place := self.place(name)).layer is not None)

    def _is_language(self, tensor: FileTensor) -> bool:
        """Part of it: on the stream, or where no stream was found, not called otherwise."""
        if self.sites:
            return any((tensor.memory, axis) in self.sites for axis in tensor.axes)
        return not OTHER_PARTS.search(tensor.name)

    def _head(self) -> str:
        head = self.findings.subject.model.get_output_embeddings()
        for name, value in self.findings.subject.parameters.items():
            if value is getattr(head, "weight", None):
                return module_of(self.of_memory[name][0].name)
        last = self.findings.graph.uses[-1].weight
        return module_of(self.of_memory[last][0].name)

    def place(self, name: str) -> Place:
        """Of a module or tensor of a file."""
        if found := re.match(re.escape(self.layers_at) + r"\.(\d+)\.(.+)", name):
            return Place(int(found[1]), self._inner(name, found[2]))
        if (found := LISTED.fullmatch(name)) and found[1] in self.beside:
            beginning = found[1].removeprefix(above(self.layers_at))
            return Place(int(found[2]), self._inner(name, f"{beginning}.{{L}}{found[3]}"))
        if name == self.head or not name.startswith(self.root):
            return Place(None, name)
        return Place(None, numbered(name[len(self.root) :]) if name in self.counted else name[len(self.root) :])

    def _inner(self, name: str, below: str) -> str:
        """What a module or tensor of a layer is called in it."""
        of_all = self.counted.get(name)
        if of_all == UNEVEN:
            return next(one for one in templates(below) if module_of(one) in self.uneven)
        return (numbered(below) if of_all else None) or re.sub(r"(experts?)\.\d+(?=\.|$)", r"\1.{E}", below)

    def _beside(self, counts: dict[str, list]) -> set[str]:
        """Lists beside that of the layers, which have a part of each: the same keys count them."""
        found: dict[str, list] = {}
        for name, tensor in self.files.items():
            listed, of_all = LISTED.fullmatch(name), numbered(tensor.memory)
            is_beside = listed and name.startswith(above(self.layers_at))
            if is_beside and of_all in counts and numbered(name) == f"{listed[1]}.{{E}}{listed[3]}":
                found.setdefault(listed[1], counts[of_all])
        layers = found.pop(self.layers_at, None)
        return {one for one, changes in found.items() if layers and changes == layers}

    def _find_counted(self, counted: set[str]) -> None:
        """Matrices, or pieces of one; of those outside of the layers only linears. The head is one by itself."""
        embedded, head = self._embedded(), numbered(self.head)
        pieces = Counter((tensor.memory, numbered(name)) for name, tensor in self.files.items())
        for name, tensor in self.files.items():
            place, of_all = self.place(name), numbered(tensor.memory)
            is_outer = place.layer is None
            if len(tensor.shape) < 2 or "{E}" in place.name or not numbered(place.name):
                continue
            if is_outer and (tensor.memory in embedded or numbered(module_of(name)) == head):
                continue
            if of_all in counted:
                self.counted[name] = self.counted[module_of(name)] = of_all
            elif not is_outer and pieces[tensor.memory, numbered(name)] > 1:
                self.counted[name] = self.counted[module_of(name)] = PIECES
            elif not is_outer and any(one in self.uneven for one in templates(module_of(place.name))):
                self.counted[name] = self.counted[module_of(name)] = UNEVEN

    def _embedded(self) -> set[str | None]:
        return {operation.sources[0] for operation in self.findings.graph.trace.operations
                if operation.name == "embedding"}

    def _assign(self) -> None:
        embedded = self._embedded()
        scaled = {operation.sources[place]: operation for operation, place in scales_of(self.findings.graph)}
        self._routers = set(self.findings.routers)
        self._mlp = {writer.use.weight: writer for writer in self.findings.writers if writer.kind == "mlp"}
        self._mlp_in = {name for writer in self._mlp.values() for name in writer.before} - self._routers
        later = []
        for name, tensor in sorted(self.files.items(), key=lambda one: not self._is_of_tokens(one[1])):
            if not self._is_below(name):
                self._check_use(tensor)
                self.towers[name] = tensor
                continue
            rows = (tensor.memory, 1) in self.sites and tensor.memory not in self.uses  # positions that are a slice
            if len(tensor.shape) == 2 and (tensor.memory in embedded or rows):
                self._embedding(name, tensor)
            elif tensor.memory in self.uses and len(tensor.shape) > 1:
                self._linear(name, tensor)
            else:
                later.append((name, tensor, tensor.memory in scaled))
        for name, tensor, is_scale in sorted(later, key=lambda one: one[0].endswith("bias")):
            if not self._bias(name, tensor):
                self._norm_or_parameter(name, tensor, is_scale)

    def _embedding(self, name: str, tensor: FileTensor) -> None:
        module = module_of(name)
        writes = (tensor.memory, 1) in self.sites if self.sites else tensor.shape[1] == self.width
        if self.place(name).layer is not None:
            self.parameters[name] = ParameterRole(self.place(name), tensor, writes)
            return
        self.embeddings[module] = EmbeddingRole(self.place(module), tensor, writes)

    def _linear(self, name: str, tensor: FileTensor) -> None:
        module, use = module_of(name), self.uses[tensor.memory]
        inner = tensor.axis_of(use.axis)
        if inner is None and 1 in tensor.shape and len(tensor.shape) == 2:
            inner = tensor.shape.index(1) if tensor.axes.count(None) == 1 else None
        if inner is None or len(tensor.shape) > STACKED:
            raise CannotTell(f"{name} {list(tensor.shape)}: what it sums over is no axis of it")
        outer = next(axis for axis in reversed(range(len(tensor.shape))) if axis != inner)
        layouts = {(2, 1): "matrix", (2, 0): "transposed", (3, 2): "experts", (3, 1): "experts_transposed"}
        layout = layouts.get((len(tensor.shape), inner))
        if layout is None:
            raise CannotTell(f"{name} {list(tensor.shape)}: stacked in an order that rows do not know")
        on_stream = self._on_stream(tensor)
        role = LinearRole(self.place(module), tensor, outer, inner, layout,
                          reads=inner in on_stream, writes=outer in on_stream,
                          router=tensor.memory in self._routers, mlp_in=tensor.memory in self._mlp_in,
                          mlp_out=tensor.memory in self._mlp and use.activation.shape[-1] == tensor.shape[inner])
        if not self.sites:  # a stream that cannot be turned: by size
            writers = {writer.use.weight for writer in self.findings.writers}
            role.writes = role.out == self.width and tensor.memory in writers
            role.reads = role.into == self.width and tensor.memory not in writers
        self.linears[module] = role

    def _bias(self, name: str, tensor: FileTensor) -> bool:
        module = name.removesuffix(".bias").removesuffix("_bias")
        linear = self.linears.get(module)
        if linear is None or module == name or tensor.shape[-1] != linear.out:
            return False
        if (tensor.memory in self.uses) or (linear.writes != self._turns(tensor) and self.sites):
            self._unsaid(f"{name}: the weight writes to the stream, or this bias does, and the other does not")
        linear.bias = tensor
        return True

    def _is_of_tokens(self, tensor: FileTensor) -> bool:
        """The embedding that comes first in a row."""
        embedding = getattr(self.findings.subject.model.get_input_embeddings(), "weight", None)
        return embedding is not None and self.findings.subject.tensors.get(tensor.memory) is embedding

    @functools.cached_property
    def _unread(self) -> set[str]:
        return unread_parameters(self.findings.subject.model)

    def _check_use(self, tensor: FileTensor) -> None:
        """Of a matrix as wide as the stream: it may read or write it where the tiny model does not go."""
        wide = any(size % self.width == 0 for size in tensor.shape)
        read = any(tensor.memory in operation.sources for operation in self.findings.graph.trace.operations)
        if len(tensor.shape) > 1 and wide and not read and tensor.memory not in self._unread:
            self.unused[tensor.name] = tensor

    def _unsaid(self, problem: str) -> None:
        """R1 is refused where a row cannot say all that turns."""
        self.unsaid = self.unsaid or problem

    def _turns(self, tensor: FileTensor) -> bool:
        return bool(self._on_stream(tensor))

    def _on_stream(self, tensor: FileTensor) -> set[int]:
        found = {axis for axis in range(len(tensor.shape)) if (tensor.memory, tensor.axes[axis]) in self.sites}
        for axis in found:
            if not tensor.is_whole(axis, tensor.shape[axis]):
                raise CannotTell(f"{tensor.name}: the file has its entries in another order than the model")
        return found

    def _norm_or_parameter(self, name: str, tensor: FileTensor, is_scale: bool) -> None:
        module = module_of(name)
        folds = {fold.norm: fold for fold in [*self.findings.folds, *self.findings.unfolded]}
        biases = {bias: fold for fold in folds.values() for bias in fold.biases}
        if name.endswith(".bias") and tensor.memory in biases and module in self.norms:
            self.norms[module].bias = tensor
            return
        fold = folds.get(tensor.memory)
        if fold is None or not is_scale or not name.endswith(".weight"):
            self._check_use(tensor)
            if fold in self.findings.folds or (self._turns(tensor) and not self._is_vector(tensor)):
                self._unsaid(f"{name} {list(tensor.shape)}: it is on the stream, and neither weight nor norm")
            self._parameter(name, tensor, self._is_vector(tensor))
            return
        proved = any(fold is other for other in self.findings.folds)
        guilty = self.findings.reason.scales if self.findings.reason else []
        self.norms[module] = NormRole(self.place(module), tensor, self._readers(fold) if proved else [],
                                      fold.layer_norm or self.findings.stream.keeps_mean, None, fold.offset,
                                      tensor.memory in guilty)
        bias = module + ".bias"
        if bias in self.files and self.files[bias].memory in fold.biases:
            self.norms[module].bias = self.files[bias]

    def _is_vector(self, tensor: FileTensor) -> bool:
        """Of the stream."""
        return self._on_stream(tensor) == {0} and len(tensor.shape) == 1

    def _parameter(self, name: str, tensor: FileTensor, writes: bool) -> None:
        place = self.place(name)
        if writes and place.layer is None:
            self.embeddings[name] = EmbeddingRole(place, tensor, writes)
        else:
            self.parameters[name] = ParameterRole(place, tensor, writes)

    def _readers(self, fold) -> list[str]:
        """Modules of the file that read a norm of the stream. Others stand elsewhere."""
        if fold.norm and self.sites and not any((site.tensor, site.axis) in self.sites for site in fold.readers):
            return []
        if not self.sites and self.findings.subject.tensors[fold.norm].numel() != self.width:
            return []
        found: dict[str, None] = {}
        layer = self.place(self.of_memory[fold.norm][0].name).layer
        for site in fold.readers:
            for tensor in self.of_memory[site.tensor]:
                place = self.place(module_of(tensor.name))
                if place.layer == layer:
                    found[place.name] = None
                else:
                    self._unsaid(f"{tensor.name} reads what is normed in another layer, by {fold.norm}")
        return list(found)


def whole_sites(findings: Findings) -> set[tuple[str, int]]:
    """Axes of the stream, all blocks of which turn."""
    blocks: dict[tuple[str, int], int] = {}
    for site in findings.sites:
        blocks[site.tensor, site.axis] = blocks.get((site.tensor, site.axis), 0) + site.size
    for (name, axis), size in blocks.items():
        if size != findings.subject.tensors[name].shape[axis]:
            raise CannotTell(f"{name}: only a part of its axis {axis} is on the residual stream")
    return set(blocks)


def unused_in(samples: list[Roles]) -> str:
    """What is said of a tensor that is as wide as the stream in each of them, and read in none; empty: of none."""
    first = samples[0]
    found = [tensor for name, tensor in first.unused.items() if all(name in other.unused for other in samples)]
    one = min(found, key=lambda tensor: first.width not in tensor.shape, default=None)
    return f"{one.name} {list(one.shape)}: nothing reads it in the tiny model" if one else ""
