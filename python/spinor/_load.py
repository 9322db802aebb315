"""A checkpoint as a model of transformers that computes what the checkpoint says."""

from __future__ import annotations

import os
from typing import Any

from spinor import _core
from spinor._errors import InputError
from spinor._listener import Listener
from spinor._run import directory_of, finished
from spinor.memory import _attach, _places, attach_low_bits


def load(path: str | os.PathLike[str], *, model_class: Any = None, kv: bool = True, **arguments: Any) -> Any:
    """Loads a checkpoint by transformers, and attaches what that drops without a word: R3, R4 and QuIP's transforms,
    and a KV cache of few bits.

        model = spinor.load("Llama-3.2-1B-w4a4kv4", dtype="auto")

    path: a directory, or org/name in the local Hugging Face cache; nothing is downloaded.
    model_class: AutoModelForCausalLM, unless another one is given. kv=False: the cache is left to transformers.
    The other arguments are from_pretrained()'s. Raises InputError for a checkpoint that spinor cannot read, and for a
    cache whose scales are not computed token by token.
    """
    import transformers

    place = directory_of("path", path)
    online = finished("load", _core.stored_online(place, Listener(False)))
    config = arguments.pop("config", None) or transformers.AutoConfig.from_pretrained(place)
    scheme = _take_cache_scheme(config) if kv else None
    loading = model_class or transformers.AutoModelForCausalLM
    model = loading.from_pretrained(place, config=config, **arguments)
    _attach(model, online["matrices"], _places(model, online["places"]))
    if scheme:
        attach_low_bits(model, kv=scheme["num_bits"], symmetric=scheme.get("symmetric", True))
    return model.eval()


def _take_cache_scheme(config: Any) -> dict[str, Any] | None:
    """Out of the config: compressed-tensors computes a scale for a head's tokens together, not for each."""
    quantization = getattr(config, "quantization_config", None)
    scheme = quantization.get("kv_cache_scheme") if isinstance(quantization, dict) else None
    if not scheme:
        return None
    if scheme.get("type") != "int" or scheme.get("strategy") != "token" or not scheme.get("dynamic"):
        what = f"is {scheme.get('type')} by {scheme.get('strategy')}: it cannot be attached"
        raise InputError("kv_cache_scheme", what, "load with kv=False, which leaves the cache to transformers")
    quantization["kv_cache_scheme"] = None
    return scheme
