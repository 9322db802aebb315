"""Models of transformers, rotated where they are: in memory, in place, without a copy."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from spinor import _attention, _matrices, _online, _parameters
from spinor._errors import ArgumentError, InputError, RunError
from spinor._listener import Listener, Progress
from spinor._result import Result
from spinor._run import _nearest, finished, recipe_text
from spinor.operations import RotateOperationRegistry


def rotate_model(
    model: Any,
    *matrices: Any,
    rotations: Sequence[str] | None = None,
    transform_type: str = "auto",
    seed: int | None = None,
    block_size: int | None = None,
    randomize: bool = False,
    precision: str | None = None,
    rotation: Any = None,
    vision: bool = False,
    center_embeddings: bool = False,
    mtp: str | None = None,
    compat: str | None = None,
    recipe: Any = None,
    threads: int = 0,
    progress: Progress = None,
    **others: Any,
) -> Any:
    """Rotates a model of transformers where it is: the bytes that spinor.rotate() of the saved model would write.

        model = AutoModelForCausalLM.from_pretrained("Llama-3.2-1B")
        print(spinor.rotate_model(model))           # R1 and R2, fused into the weights: the same function
        spinor.rotate_model(model, rotations=["R4"])

    model: its parameters are on the CPU or on CUDA devices, whose pass the host a tile at a time, in float32, bfloat16,
      float16 or float64. Nothing is copied but a head that is the embedding, which gets a tensor of its own (and the
      config says so).
    rotations: of R1, R2, R3, R4; R1 and R2 if it is left out. R3 and R4 run online: modules are attached that the
      forward pass calls; remove_online(model) takes them away, which changes the function.
    matrices: R1 and R2 of one's own, as RotLLM takes them: rotate_model(model, R, R_v), or by these names. R is an
      orthogonal tensor (n, n); R_v another one, or a list of one for each layer. Without R_v there is no R2.
    recipe: in the place of the options before: a dict, a list, YAML, a file, modifiers; it may not quantize. With
      SpinQuantModifier(learnable=True), or requires_grad in its groups, the rotations are attached to be trained, and
      what learnable_rotations() returns comes back.
    The other options are those of spinor.rotate().

    For a class that RotateOperationRegistry has operations for, these are called instead, one after the other, with the
    model and all other arguments as they are given.

    Returns a Result with `edited`, `rotations`, `untied`, `warnings` and `recipe`. Raises InputError, before anything
    is changed, for what cannot be done; RunError, with lists `rewritten` and `damaged`, where the work ended halfway:
    the model is of no use then.
    """
    from spinor import learnable

    given = {name: value for name, value in locals().items() if value is not _DEFAULTS.get(name, value)}
    if RotateOperationRegistry.operations_of(model):
        return RotateOperationRegistry.rotate(model, *matrices, **(given | others))
    own = _own_matrices(matrices, others)
    if others:
        raise ArgumentError("rotate_model", f"has no argument {next(iter(others))!r}",
                            _nearest(next(iter(others)), [*_DEFAULTS, "threads", "progress"]))  # fmt: skip
    if recipe is not None:
        _refuse_both("a recipe", sorted((given | own).keys() - {"recipe"}))
    elif own:
        _refuse_both(next(iter(own)), sorted(given.keys() & {"rotation"}))
    _parameters.check_model(model)
    if (fields := learnable.learnable_fields(recipe)) is not None:
        return learnable.attach(model, fields)
    with tempfile.TemporaryDirectory() as scratch:
        if own:
            file = Path(scratch) / "matrices.safetensors"
            given = {"rotations": _matrices.save(file, **own, layers=_layers(model)), "rotation": file} | given
        if recipe is None:
            recipe = {"SpinQuantModifier": _fields(given)}
        with _alone(model):
            return _rotate(model, recipe_text(recipe), threads, progress)


# What nobody has said.
_DEFAULTS = {name: value for name, value in rotate_model.__kwdefaults__.items() if name not in ("threads", "progress")}
_FIELDS = {"block_size": "transform_block_size", "rotation": "rotation_file"}  # as recipes call them


def _own_matrices(matrices: Sequence[Any], named: dict[str, Any]) -> dict[str, Any]:
    """R and R_v by their places or by their names, which are taken out of `named`."""
    if len(matrices) > 2:
        raise ArgumentError("rotate_model", "takes model, R, R_v, and all else by name")
    own = dict(zip(("R", "R_v"), matrices)) | {name: named.pop(name) for name in ("R", "R_v") if name in named}
    return own if any(value is not None for value in own.values()) else {}


def _refuse_both(one: str, others: Sequence[str]) -> None:
    if others:
        raise ArgumentError("rotate_model", f"is given {one} and {others[0]}", "leave out one of them")


def _layers(model: Any) -> int:
    return model.config.get_text_config().num_hidden_layers


def _fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """Of SpinQuantModifier, in a recipe."""
    fields = {_FIELDS.get(name, name): value for name, value in ({"transform_type": "auto"} | given).items()}
    for name, value in fields.items():
        if name == "rotation_file":
            fields[name] = os.fspath(value)
        elif name == "rotations" and isinstance(value, str):
            fields[name] = value.split(",")
    return fields


_rotating: set[int] = set()  # models, by id()
_lock = threading.Lock()  # of the set


@contextlib.contextmanager
def _alone(model: Any) -> Iterator[None]:
    """No two threads change one model."""
    with _lock:
        if id(model) in _rotating:
            raise RunError("model", "is being rotated by another thread", "wait for that one")
        _rotating.add(id(model))
    try:
        yield
    finally:
        _rotating.discard(id(model))


def _rotate(model: Any, recipe: str, threads: int, progress: Progress) -> Result:
    tensors = _parameters.tensors_of(model)
    tiles = _parameters.Tiles()
    job = _parameters.job_of(model, tensors, recipe, tiles)
    listener = Listener(progress)
    try:
        plan = finished("rotate_model", job.plan(listener))
        places = _places(model, plan["online"]["places"])
        added = {name: torch.empty_like(tensors[source]) for name, source in plan["added"]}
        finished("rotate_model", job.rewrite(_parameters.described(added, tiles), threads, listener))
    except RunError as error:
        for key in ("rewritten", "damaged"):
            setattr(error, key, getattr(getattr(error, "result", None), key, []))
        raise
    except KeyboardInterrupt as error:
        error.rewritten, error.damaged = (json.loads(job.ended()).get(key, []) for key in ("rewritten", "damaged"))
        if error.rewritten or error.damaged:
            counts = f"{len(error.rewritten)} tensors are rewritten, {len(error.damaged)} in part"
            listener("warn", f"interrupted: {counts}; the model is of no use, load it again")
        raise
    finally:
        listener.close()
    torch.autograd.graph.increment_version([tensors[name] for name in plan["edited"] if name in tensors])
    _take_heads(model, added)
    _take_config(model.config, _parameters.config_of(model), plan["config"])
    _attach(model, plan["online"]["matrices"], places)
    for warning in plan["warnings"]:
        listener("warn", warning)
    return plan


def _places(model: Any, places: Sequence[Any]) -> list[tuple[torch.nn.Module, str, int]]:
    """Modules at which something is to run, before anything is done."""
    found = []
    for name, _, location, index in places:
        try:
            module = model.get_submodule(name)
        except AttributeError:
            raise InputError(name, "is no module in memory, so that nothing can run at its input",
                             "leave the rotation out, or save the model and use spinor.rotate()") from None  # fmt: skip
        found.append((module, location, index))
    return found


def _attach(model: Any, matrices: Sequence[Any], places: Sequence[tuple[torch.nn.Module, str, int]]) -> None:
    made: dict[Any, _online.OnlineRotation] = {}
    for module, location, index in places:
        if location in (_online.QUERY, _online.KEY):
            _attention.install(model)
        key = index, next(module.parameters()).device
        if key not in made:
            made[key] = _online.OnlineRotation(matrices[index]).to(key[1])
        _online.append(module, location, made[key])


def _take_heads(model: Any, added: Mapping[str, torch.Tensor]) -> None:
    """Tensors of their own for what was tied."""
    for name, tensor in added.items():
        head = model.get_output_embeddings()
        if head is None:
            raise RunError(name, "has no module in the model")
        head.weight = torch.nn.Parameter(tensor, requires_grad=head.weight.requires_grad)
        tied = getattr(model, "all_tied_weights_keys", None)
        if isinstance(tied, dict):
            for key in [key for key in tied if key.endswith(name)]:
                del tied[key]


def _take_config(config: Any, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """What the rotated model's config.json says otherwise."""
    for key, value in after.items():
        if key == "quantization_config" or before.get(key, config) == value:
            continue
        if isinstance(value, Mapping) and hasattr(getattr(config, key, None), "to_dict"):
            _take_config(getattr(config, key), before.get(key, {}), value)
        else:
            setattr(config, key, value)


def remove_online(model: Any) -> int:
    """Takes away the modules that rotate_model attached. Returns how many there were. The model is not the same
    function then, unless its weights are rotated back.

        spinor.rotate_model(model, rotations=["R3"])     # in no weight
        spinor.remove_online(model)                      # as it was
    """
    count = _online.remove(model, (_online.OnlineRotation,))
    _attention.uninstall_if_unused(model)
    return count


def attach_low_bits(
    model: Any, activations: int | None = None, kv: int | None = None, symmetric: bool = False
) -> None:
    """The model computes with activations, and a KV cache, of so many bits from now on: what linears but the head read,
    and keys and values behind their rotation, token by token, dynamically. To measure, with gradients straight through.
    remove_low_bits(model) ends it.

        spinor.attach_low_bits(model, activations=4, kv=4)
        loss = model(input_ids=ids, labels=ids).loss

    activations, kv: 2 to 16 bits; None: as they are. symmetric: without a zero point.
    """
    for name, bits in (("activations", activations), ("kv", kv)):
        if bits is not None and (isinstance(bits, bool) or not isinstance(bits, int) or not 2 <= bits <= 16):
            raise ArgumentError(name, f"is {bits!r}", "give 2 to 16 bits")
    head = model.get_output_embeddings()
    for name, module in model.named_modules():
        if activations and isinstance(module, torch.nn.Linear) and module is not head:
            _online.append(module, _online.INPUT, _online.FakeQuantize(activations, symmetric))
        if kv and name.endswith(("self_attn", "attn", "attention")):
            _attention.install(model)
            for place in ("k_cache", "v_cache"):
                _online.append(module, place, _online.FakeQuantize(kv, symmetric))


def remove_low_bits(model: Any) -> int:
    """Undoes attach_low_bits. Returns how many modules there were.

        spinor.remove_low_bits(model)
    """
    count = _online.remove(model, (_online.FakeQuantize,))
    _attention.uninstall_if_unused(model)
    return count
