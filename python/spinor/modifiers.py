"""The steps of recipes, with llm-compressor's names and fields.

    from spinor.modifiers import GPTQModifier, SpinQuantModifier

    recipe = [SpinQuantModifier(rotations=["R1", "R2"]), GPTQModifier(ignore=["lm_head"], scheme="W4A16")]
    spinor.quantize("Llama-3.2-1B", "Llama-3.2-1B-w4a16", recipe=recipe, calibration="train.txt")

A field that there is not, or a value of another type, is an InputError, which is a ValueError, when the modifier is
made. Fields that are not given have their defaults.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from spinor import _core
from spinor._errors import ArgumentError, InputError, RunError
from spinor._fields import Fields, plain
from spinor.lifecycle import Event, EventType, State

__all__ = ["Event", "EventType", "GPTQModifier", "Modifier", "NormMapping", "QuIPModifier", "QuantizationModifier",
           "SpinQuantMapping", "SpinQuantModifier", "State", "step_of"]


class Modifier:
    """A step of a recipe. Derive from it to act on a model in memory: oneshot(model, recipe=[Mine(), ...]) calls
    on_initialize(state), on_start(state, event), on_event(state, event), on_end(state, event), on_finalize(state)."""

    def __init__(self, **fields: Any):
        self.__dict__.update(fields)

    def on_initialize(self, state: Any, **arguments: Any) -> bool:
        return True

    def on_start(self, state: Any, event: Any, **arguments: Any) -> None: ...

    def on_event(self, state: Any, event: Any, **arguments: Any) -> None: ...

    def on_end(self, state: Any, event: Any, **arguments: Any) -> None: ...

    def on_finalize(self, state: Any, **arguments: Any) -> bool:
        return True

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.__dict__.items())})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]


class _CoreModifier(Modifier):
    """One that spinor carries out itself."""

    def __init__(self, **fields: Any):
        name = type(self).__name__
        try:
            text = json.dumps(plain(fields))
        except (TypeError, ValueError) as error:
            raise InputError(name, f"is not made of texts, numbers, lists and dicts: {error}") from None
        kind, *what = _core.modifier(name, text)
        if kind != "done":
            raise (InputError if kind == "input" else RunError)(*what)
        super().__init__(**json.loads(what[0]))
        self.__dict__["_given"] = json.loads(text)

    def __setattr__(self, name: str, value: Any) -> None:
        self.__init__(**(self._given | {name: value}))  # type: ignore[misc]

    def to_dict(self) -> dict[str, Any]:
        """The fields that were given, as a recipe has them."""
        return dict(self._given)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self._given.items())})"


class SpinQuantModifier(_CoreModifier):
    """Rotates with SpinQuant's R1 (residual stream), R2 (value heads), R3 (queries and keys), R4 (input of down_proj).

    rotations=["R1", "R2"], transform_type="hadamard", randomize=False, learnable=False, precision, mappings,
    norm_mappings, transform_block_size, transform_config, and spinor's own seed, seeds, learning, rotation_file,
    vision, mtp, compat.
    """


class QuIPModifier(_CoreModifier):
    """Rotates what every linear reads (v) and gives (u), online.

    rotations=["v", "u"], transform_type="random-hadamard", targets, ignore, transform_block_size, transform_config,
    learnable, learning, seed, precision.
    """


class QuantizationModifier(_CoreModifier):
    """Quantizes weights to the nearest codes, and says how activations are quantized.

    targets="Linear", ignore=[], scheme or config_groups, kv_cache_scheme, observer, format, compat.
    """


class GPTQModifier(_CoreModifier):
    """Finds codes by GPTQ, with data. QuantizationModifier's fields, block_size=128, dampening_frac=0.01, actorder."""


class SpinQuantMapping(Fields):
    """Which modules SpinQuantModifier(mappings=) rotates, each by a name, or by re: and a regex; of MLPs lists.

        SpinQuantMapping(embedding="re:.*embed$", attn_q="re:.*q_proj$", attn_k="re:.*k_proj$", attn_v="re:.*v_proj$",
                         attn_o="re:.*o_proj$", mlp_in=["re:.*up$"], mlp_out=["re:.*down$"], lm_head="head")
    """

    _fields = {"embedding": ..., "attn": None, "attn_q": ..., "attn_k": ..., "attn_v": ..., "attn_o": ...,
               "attn_head_dim": None, "mlp_in": ..., "mlp_out": ..., "lm_head": ...}


class NormMapping(Fields):
    """A norm, and the linears that read what it gives: SpinQuantModifier(norm_mappings=).

        NormMapping(norm="re:.*input_norm$", linears=["re:.*q_proj$", "re:.*k_proj$", "re:.*v_proj$"])
    """

    _fields = {"norm": ..., "linears": ...}


def step_of(modifier: Any) -> dict[str, Any]:
    """A modifier, of spinor's, llm-compressor's or as a dict, as a recipe has it: {name: fields}."""
    if isinstance(modifier, Mapping):
        return {str(name): plain(fields) for name, fields in modifier.items()}
    if isinstance(modifier, (str, bytes, int, float, list, tuple)) or modifier is None:
        raise ArgumentError("recipe", f"has {modifier!r} in its list", "give modifiers, or a dict each, by its name")
    if isinstance(modifier, _CoreModifier):
        return {type(modifier).__name__: modifier.to_dict()}
    name, known = type(modifier).__name__, _core.modifier_names()
    if name not in known or not hasattr(modifier, "model_dump"):
        raise InputError("recipe", f"has {name}, which is no step of recipes", f"give {', '.join(known)}")
    return {name: plain(modifier.model_dump(mode="json", exclude_unset=True, exclude_none=True))}
