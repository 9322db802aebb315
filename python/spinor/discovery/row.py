"""A row (YAML) from what was found in two tiny models of one class: names without numbers, sizes as formulas."""

from __future__ import annotations

import re
from collections.abc import Callable

from .attention_roles import AttentionRole
from .conditions import Conditions
from .experts import Experts, count_of
from .files import CannotTell, FileTensor
from .lengths import ANY, Lengths, Names, Sample
from .roles import EmbeddingRole, LinearRole, NormRole, ParameterRole, unused_in
from .row_defaults import defaults_in

PRESENT = "present"
SHARED = [{"rotation": one, "when": "tie_word_embeddings",
           "reason": "without tie_word_embeddings, which it takes away, its layers share no weights"}
          for one in ("R1", "untie")]
NO_ATTENTION = {"query": "", "key": "", "value": "", "output": ""}


class RowMaker:
    """`aliases`: what a config.json may call keys instead (attribute_map). Raises CannotTell."""

    def __init__(self, samples: list[Sample], names: Names, aliases: dict[str, str], conditions: Conditions):
        self.samples, self.defaults, self.renamed, self.aliases = samples, names.defaults, names.renamed, aliases
        self.conditions = conditions
        self.first = samples[0].roles
        self.unsaid = self.first.unsaid or unused_in([sample.roles for sample in samples])
        self.lengths = Lengths(samples)
        self.present: dict[str, list[set[int]]] = {}  # modules for whose layers there is no formula
        self.flagged: set[str] = set()  # those of them that depend on a flag, too
        self.routers = {role.place.name for role in self.first.linears.values() if role.router}

    def row(self, names: list[str], section: str, shares: bool = False) -> dict:
        """`shares`: layers share weights where the head is tied."""
        roles = self.first
        self.no_values = self.first.no_values
        try:
            attentions, parts = self._attentions()
        except CannotTell as error:
            attentions, parts, self.no_values = [], [], str(error)
        self.experts = Experts(self.samples, self.lengths)
        linears = [one for name in self._inside("linears") for one in self._linear(name)]
        embeddings = [self._embedding(name) for name in self._outside("embeddings")]
        head_rows = self._head_rows(embeddings)
        if unsaid := next((one["name"] for one in embeddings[:1] if one["rows"] == ANY), None):
            if not (self._is_piece(unsaid) and head_rows):
                raise CannotTell(f"{unsaid}: no key of config.json says how many rows it has")
        row: dict = {
            "names": names,
            "section": section,
            "num_layers": self._num_layers(),
            "roots": [roles.root],
            "embeddings": [one for one in embeddings if is_said(one)],
            "layers": roles.layers,
            "experts": self.experts.formula,
            "linears": linears,
            "parts": parts,
            "norms": [one for name in self._inside("norms") for one in self._norm(name)],
            "parameters": [one for name in self._inside("parameters") for one in self._parameter(name)],
            "outer_linears": [self._outer_linear(name) for name in self._outside("linears") if self._can_say(name)],
            "outer_norms": [self._outer_norm(name) for name in self._outside("norms")],
            "head": roles.head,
            "head_bias": self.lengths.flag(roles.linears[roles.head].bias),
            "head_rows": head_rows,
            "head_columns": self._head_columns(),
            "writes": self._named(lambda role: role.writes and role.place.name != roles.head
                                  and (role.place.layer is not None or self._can_say(role.place.name))),
            "raw_reads": self._raw_reads(),
            "scaled_outputs": self._scaled_outputs(),
            "attention": attentions[0] if attentions else NO_ATTENTION,
            "other_attentions": attentions[1:],
            "layer_kinds": self._layer_kinds(),
            "mlp_in": self._named(lambda role: role.mlp_in and role.place.layer is not None),
            "mlp_out": self._named(lambda role: role.mlp_out and role.place.layer is not None),
        }
        self._check_values(row)
        self._check_read()
        row["untouched"] = self._untouched(embeddings)
        row["told_lists"] = self.conditions.told_lists(str(row))
        row["refusals"] = self._refusals(row["scaled_outputs"]) + (SHARED if shares else [])
        row["defaults"] = self._defaults(str(row), bool(section))
        row["renamed"] = self.renamed
        keep = {"names", "linears", "norms", "writes", "mlp_in", "mlp_out", "outer_norms"}
        return {key: value for key, value in row.items() if value or key in keep}

    def _num_layers(self) -> str:
        """A class that makes a list of another key may ask that for its length, and config.json have it."""
        found = self.defaults.pop("num_hidden_layers", "")
        return f"num_hidden_layers ?? {found}" if found in self.conditions.made_up else found

    # -- names

    def _inside(self, kind: str) -> list[str]:
        return self._names(kind, lambda place: place.layer is not None)

    def _outside(self, kind: str) -> list[str]:
        return [name for name in self._names(kind, lambda place: place.layer is None) if name != self.first.head]

    def _names(self, kind: str, keep: Callable) -> list[str]:
        return list(dict.fromkeys(role.place.name for sample in self.samples
                                  for role in getattr(sample.roles, kind).values() if keep(role.place)))

    def _named(self, keep: Callable[[LinearRole], bool]) -> list[str]:
        return list(dict.fromkeys(role.place.name for role in self.first.linears.values() if keep(role)))

    # -- modules of a layer

    def _in_layers(self, kind: str, name: str) -> list[dict[int, object]]:
        """Of each sample, the role in each layer that has it; of experts the first."""
        found = []
        for sample in self.samples:
            layers: dict[int, object] = {}
            for role in getattr(sample.roles, kind).values():
                if role.place.name == name and role.place.layer is not None:
                    layers.setdefault(role.place.layer, role)
            found.append(layers)
        if not all(found):
            raise CannotTell(f"{name} is there in one of two models")
        return found

    def _alike(self, name: str, by_sample: list[dict], alike: Callable) -> list[tuple[list, list[set[int]]]]:
        """Roles of the samples that are one line of the row, and the layers that have it."""
        parts = []
        for layers in by_sample:
            groups: dict[object, list[int]] = {}
            for layer in sorted(layers):
                groups.setdefault(alike(layers[layer]), []).append(layer)
            parts.append([(layers[group[0]], set(group)) for group in groups.values()])
        if len({len(part) for part in parts}) > 1:
            raise CannotTell(f"{name} changes from layer to layer, differently in two models")
        return [([role for role, _ in group], [layers for _, layers in group]) for group in zip(*parts, strict=True)]

    def _layer_kinds(self) -> list[list[str]]:
        """Which of the modules that are there without a rule a layer has, in each of the samples; with those that a
        flag adds, and without them."""
        kinds: dict[tuple, None] = {}
        for number, sample in enumerate(self.samples):
            for layer in range(sample.keys["num_hidden_layers"]):
                here = [name for name, layers in self.present.items() if layer in layers[number]]
                kinds[tuple(here)] = None
                kinds[tuple(name for name in here if name not in self.flagged)] = None
        return [list(kind) for kind in kinds if self.present]

    def _when(self, name: str, layers: list[set[int]], tensor: FileTensor, alone: bool) -> dict:
        """`tensor`: of the first layer that has it. `alone`: no other line of the row has the same name, so that the
        tensor itself can tell."""
        found, flag = self.conditions.find(layers, not alone, tensor.memory), self.lengths.flag(tensor, False)
        if found is None and not alone:
            raise CannotTell(f"{name}: no key of config.json says which of its layers are of which size")
        if found is None:
            self.present[name] = layers
            self.flagged |= {name} if flag else set()
            return {"when": PRESENT}
        found = " && ".join(filter(None, [flag, f"({found})" if flag and found else found]))
        return {"when": found} if found else {}

    def _linear(self, name: str) -> list[dict]:
        rows = []
        kinds = self._alike(name, self._in_layers("linears", name),
                            lambda role: (role.out, role.into, role.bias is not None))
        for roles, layers in kinds:
            rows.append(self._linear_row(name, roles) | self._when(name, layers, roles[0].weight, len(kinds) == 1))
        return rows

    def _linear_row(self, name: str, roles: list[LinearRole]) -> dict:
        one = roles[0]
        tensors = [role.weight for role in roles]
        row = {"name": name, "out": self.lengths.of(tensors, one.out_axis, one.writes),
               "in": self.lengths.of(tensors, one.in_axis, one.reads)}
        if one.bias is not None:
            row["bias"] = self.lengths.flag(one.bias, besides=one.weight) or "true"
        if one.layout != "matrix":
            row["layout"] = one.layout
        if name in self.routers:
            row["router"] = "true"
        if count := self.experts.count(name, roles):
            row["count"] = count
        return row | self.experts.split(name, one)

    def _norm(self, name: str) -> list[dict]:
        by_sample = self._in_layers("norms", name)
        reads = dict.fromkeys(reader for role in self.first.norms.values()
                              if role.place.name == name and role.place.layer is not None for reader in role.reads)
        rows = []
        kinds = self._alike(name, by_sample, lambda role: role.size)
        for roles, layers in kinds:
            when = self._when(name, layers, roles[0].weight, len(kinds) == 1)
            rows.append(self._norm_row(name, roles, list(reads)) | when)
        return rows

    def _norm_row(self, name: str, roles: list[NormRole], reads: list[str]) -> dict:
        one = roles[0]
        row: dict = {"name": name}
        on_stream = bool(reads) or one.scales_output
        if (size := self.lengths.of([role.weight for role in roles], 0, on_stream)) != "hidden_size":
            row["size"] = size
        if reads:
            row["reads"] = reads
        if one.layer_norm:
            row["layer_norm"] = "true"
        if one.bias is not None:
            row["bias"] = self.lengths.flag(one.bias, besides=one.weight) or "true"
        if one.offset:
            row["offset"] = one.offset
        return row

    def _parameter(self, name: str) -> list[dict]:
        rows = []
        kinds = self._alike(name, self._in_layers("parameters", name), lambda role: role.weight.shape)
        for roles, layers in kinds:
            writes = {"writes": "true"} if roles[0].writes else {}
            if of_all := self.first.counted.get(roles[0].weight.name):
                counts = [count_of(sample, "parameters", name) for sample in self.samples]
                writes["count"] = self.lengths.count(of_all, counts)
            rows.append({"name": name, "shape": self._shape(roles)} | writes
                        | self._when(name, layers, roles[0].weight, len(kinds) == 1))
        return rows

    def _shape(self, roles: list[ParameterRole]) -> list[str]:
        last = len(roles[0].weight.shape) - 1
        return [self.lengths.of([role.weight for role in roles], axis, roles[0].writes and axis == last)
                for axis in range(last + 1)]

    # -- modules outside of the layers

    def _outer(self, kind: str, name: str) -> list:
        found = [next((role for role in getattr(sample.roles, kind).values()
                       if role.place.name == name and role.place.layer is None), None) for sample in self.samples]
        if None in found:
            listed = ": its list is not that of the layers" if re.search(r"\.\d+", name) else ""
            raise CannotTell(f"{name} is there in one of two models{listed}")
        return found

    def _embedding(self, name: str) -> dict:
        roles: list[EmbeddingRole] = self._outer("embeddings", name)
        tensors = [role.weight for role in roles]
        vector = len(tensors[0].shape) == 1
        row = {"name": name, "rows": "1" if vector else self.lengths.of(tensors, 0)}
        if (columns := self.lengths.of(tensors, 0 if vector else 1, roles[0].writes)) != "hidden_size":
            row["columns"] = columns
        if not roles[0].writes:
            row["writes"] = "false"
        return row | self._flag(tensors[0])

    def _is_piece(self, name: str) -> bool:
        """Files have it in several, cut where it may be."""
        tensor = self._outer("embeddings", name)[0].weight
        return len(self.first.of_memory[tensor.memory]) > 1

    def _untouched(self, embeddings: list[dict]) -> list[dict]:
        parameters = [re.sub(r"\.\d+(\..*)?$", ".", name) for name in self._outside("parameters")]
        tensors = {role.place.name: role.weight.name for role in self.first.embeddings.values()}
        unsaid = [tensors[one["name"]] for one in embeddings if not is_said(one)]
        return [*({"beginning": self.first.root + name} for name in dict.fromkeys(parameters)), *self._counted(),
                *({"beginning": name} for name in unsaid)]

    def _can_say(self, name: str) -> bool:
        """Linears that are counted outside of layers are nothing to a rotation that is refused."""
        counted = re.search(r"\.\d+$", name) and not self.first.findings.stream.proved
        return not counted

    def _counted(self) -> list[dict]:
        beginnings = dict.fromkeys(name.rpartition(".")[0] + "." for name in self._outside("linears")
                                   if not self._can_say(name))
        return [{"beginning": self.first.root + beginning, "linears": ["{N}"]} for beginning in beginnings]

    def _outer_linear(self, name: str) -> dict:
        roles = self._outer("linears", name)
        return self._linear_row(name, roles) | self._flag(roles[0].weight)

    def _outer_norm(self, name: str) -> dict:
        roles = self._outer("norms", name)
        reads = [read for read in roles[0].reads if read == self.first.head or self._can_say(read)]
        return self._norm_row(name, roles, reads) | self._flag(roles[0].weight)

    def _flag(self, tensor: FileTensor) -> dict:
        return {"when": flag} if (flag := self.lengths.flag(tensor, False)) else {}

    def _head_rows(self, embeddings: list[dict]) -> str:
        """Where they are not those of the first embedding."""
        heads = [sample.roles.linears[sample.roles.head] for sample in self.samples]
        rows = self.lengths.of([head.weight for head in heads], heads[0].out_axis)
        return rows if embeddings and rows not in (ANY, embeddings[0]["rows"]) else ""

    def _head_columns(self) -> str:
        """Where they are not those of the first embedding."""
        heads = [sample.roles.linears[sample.roles.head] for sample in self.samples]
        first = next(iter(self._outside("embeddings")), None)
        if first is None or all(head.into == one.weight.shape[-1]
                                for head, one in zip(heads, self._outer("embeddings", first), strict=True)):
            return ""
        return self.lengths.of([head.weight for head in heads], heads[0].in_axis, heads[0].reads)

    # -- what rotations need

    def _raw_reads(self) -> list[str]:
        read = {name for norm in self.first.norms.values() for name in norm.reads}
        return self._named(lambda role: role.reads and role.place.name not in read
                           and (role.place.layer is not None or self._can_say(role.place.name)))

    def _scaled_outputs(self) -> list[str]:
        scaled = [norm for norm in self.first.norms.values() if norm.scales_output]
        others = any(norm.place.layer is None for norm in scaled) or len(scaled) != len(self._guilty())
        if others or self.unsaid:
            return []  # a scale that is no norm of a layer: R1 is refused with its name
        return list(dict.fromkeys(norm.place.name for norm in scaled))

    def _guilty(self) -> list[str]:
        reason = self.first.findings.reason
        return reason.scales if reason else []

    def _attentions(self) -> tuple[list[dict], list[dict]]:
        """Each kind of attention, and the rows of fused weights that are its values."""
        groups: dict[tuple, list[dict[int, AttentionRole]]] = {}
        for number, sample in enumerate(self.samples):
            for one in sample.roles.attentions:
                key = (one.output, one.values, one.query, one.key, one.part is not None)
                groups.setdefault(key, [{} for _ in self.samples])[number][one.layer] = one
        rows, parts = [], {}
        for (output, (value, *more), query, key, is_part), by_sample in groups.items():
            if not all(by_sample):
                raise CannotTell(f"{output} reads {value} in one of two models")
            alike = self._alike(output, by_sample, lambda role: (role.head_dim, role.part))
            for roles, layers in alike:
                tensors = [role.value_weight for role in roles]
                row = {"query": query, "key": key, "value": value, **({"more_values": more} if more else {}),
                       "output": output,
                       "head_dim": self.lengths.number([role.head_dim for role in roles], tensors, roles[0].value_axis)}
                when = self._when(output, layers, tensors[0], alone=False) if len(alike) > 1 else {}
                if is_part:
                    part = self._part(value, roles, tensors) | when
                    parts[str(part)] = part
                    row["value"] += "." + part["name"]
                row |= self._shared(output, [{one.layer: one.value_layer for one in of.values()} for of in by_sample])
                rows.append(row | when)
        return rows, list(parts.values())

    def _shared(self, output: str, values: list[dict[int, int]]) -> dict:
        """Which layers read the values of another, and of which."""
        shared = [{layer: other for layer, other in of.items() if other != layer} for of in values]
        if not any(shared):
            return {}
        when, like = self.conditions.last([set(of) for of in shared]), self.conditions.of_last(shared)
        if when is None or like is None:
            raise CannotTell(f"{output}: no key of config.json says which layers read the values of which others")
        return {"shared": when, "shared_like": like}

    def _part(self, linear: str, roles: list[AttentionRole], tensors: list) -> dict:
        axis = roles[0].value_axis
        begins, sizes, periods = (list(values) for values in zip(*(role.part for role in roles), strict=True))
        found = {"linear": linear, "name": "values",
                 "begin": self.lengths.number(begins, tensors, axis) if any(begins) else "0",
                 "size": self.lengths.number(sizes, tensors, axis)}
        if periods != [tensor.shape[role.value_axis] for role, tensor in zip(roles, tensors, strict=True)]:
            found["period"] = self.lengths.number(periods, tensors, axis)
        return found

    def _check_values(self, row: dict) -> None:
        """R2 needs the sizes of what it turns."""
        sizes = {one["name"]: one for one in row["linears"]}
        for attention in [row["attention"], *row["other_attentions"]]:
            value = sizes.get(attention["value"].removesuffix(".values"), {})
            output = sizes.get(attention["output"], {})
            if ANY in (value.get("out"), output.get("in")):
                self.no_values = f"no formula says the sizes of {attention['value']} and {attention['output']}"
                row["attention"], row["other_attentions"], row["parts"] = NO_ATTENTION, [], []

    def _check_read(self) -> None:
        """A module is one thing in all layers that have it."""
        linears = set(self._inside("linears"))
        for name in self._inside("parameters"):
            if name.removesuffix(".weight") in linears and name.endswith(".weight"):
                raise CannotTell(f"{name} is read in some layers, and in others not")

    def _refusals(self, scaled_outputs: list[str]) -> list[dict]:
        found, findings = [], self.first.findings
        if findings.stream.proved and self.unsaid:
            found.append({"rotation": "R1", "reason": "no row can say it: " + self.unsaid})
        elif not findings.stream.proved and not scaled_outputs:
            found.append({"rotation": "R1", "reason": findings.reason.text})
        if self.no_values:
            found.append({"rotation": "R2", "reason": self.no_values})
        elif refused := sorted({reason for output, reason in findings.values.refused.items()
                                if self.first.is_in_layers(output)}):
            found.append({"rotation": "R2", "reason": refused[0]})
        return found

    def _defaults(self, text: str, in_section: bool) -> dict[str, str]:
        """What config.json may leave out, as its class has it; or may call by another name."""
        known = self.defaults | self.renamed
        return self.defaults | defaults_in(text, self.samples[0].class_defaults, self.aliases, known, in_section)


def is_said(embedding: dict) -> bool:
    """Its sizes are, or it is on the stream. Another one is nothing to a rotation."""
    return embedding.get("writes") != "false" or ANY not in (embedding["rows"], embedding.get("columns"))
