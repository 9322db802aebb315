"""Tiny models of any class that transformers, or a user's own code, has: what discovery and its proofs run."""

import math
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
)

from spinor._errors import InputError
from spinor.discovery.float64 import widened
from spinor.discovery.tiny_audio import FEATURES, with_audio
from spinor.discovery.tiny_configs import DEFAULTS
from spinor.discovery.tiny_images import with_images
from spinor.discovery.tiny_inputs import text_inputs, with_encoder
from spinor.discovery.tiny_shrink import shrunk
from spinor.discovery.tiny_sizes import COUNTS

_AUTOS = {"causal": transformers.AutoModelForCausalLM, "image-text": transformers.AutoModelForImageTextToText}
_AUTO_NAMES = {"causal": "AutoModelForCausalLM", "image-text": "AutoModelForImageTextToText"}
# From the best to tell sizes apart by to the one that fits most classes.
_RELAXED = ((), ("square",), ("equal heads",), ("square", "equal heads"))
_LARGEST_TENSOR = 20_000_000
_LARGEST_SIZE = 2**31


class CannotBuild(InputError):
    """No tiny model of a config; `subject` names its class or type."""


@dataclass
class Tiny:
    """A tiny model, in float64 and eval, eager and untied, its config, what goes into forward, and which kind it is."""

    model: torch.nn.Module
    config: PreTrainedConfig
    inputs: dict[str, torch.Tensor]
    kind: str
    shares: bool = False  # layers share weights

    @property
    def has_towers(self) -> bool:
        """Parts that are not the language model."""
        return self.kind == "image-text" or FEATURES in self.inputs


def causal_types() -> list[str]:
    return list(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def image_text_types() -> list[str]:
    return list(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES)


def class_names(model_type: str, kind: str) -> list[str]:
    """What config.json of such a model says in architectures."""
    names = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES if kind == "causal" else MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
    found = names.get(model_type, ())
    return [found] if isinstance(found, str) else list(found)


class _Bounded(TorchDispatchMode):
    """Refuses to make a tensor that no tiny model has."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):  # noqa: ANN001, ANN204
        made = operation(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor) and made.numel() > _LARGEST_TENSOR:
            raise ValueError(f"it makes a tensor {tuple(made.shape)} although its sizes were made small")
        return made


def tiny(
    config: PreTrainedConfig | str,
    *,
    variant: int = 0,
    seed: int = 0,
    trust_remote_code: bool = False,
    images: bool = False,
    kind: str | None = None,
    mixed: bool = False,
    mirrored: bool = False,
    shared: bool = False,
) -> Tiny:
    """A tiny model of `config` (sizes made small, all else kept) or of the default config of a model type. Variants 0
    and 1 differ in every size; `mixed`: inner sizes are the other one's; `mirrored`: lists of kinds of layers begin
    with the last. `kind`: of a config that has both a causal class and one for images and text, which one ("causal" or
    "image-text"). `shared`: layers share weights, where those of the class do with a tied head. Raises CannotBuild."""
    config = default_config(config) if isinstance(config, str) else config
    _check_config(config, trust_remote_code)
    kind = kind or kind_of(config, images)
    config, model_class = _of_class(config, kind)
    failed: list[Exception] = []
    for relaxed in _RELAXED:
        try:
            small = shrunk(config, variant, frozenset(relaxed), mixed, mirrored)
            model, shares = _built(small, model_class, trust_remote_code, seed, shared)
        except Exception as error:  # noqa: BLE001: whatever the class raises
            failed.append(error)
            continue
        inputs, problem = _answered(model, text_inputs(model, variant, seed), seed, images, kind)
        if problem is None:
            return Tiny(model, small, _heard(model, inputs, seed) if images else inputs, kind, shares)
        failed.append(problem)
    last = next((error for error in failed if isinstance(error, CannotBuild)), None)
    raise last or CannotBuild(_name(config), f"no tiny model of it can be built: {_said(failed[0])}")


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip()[:500]}"


def _name(config: PreTrainedConfig) -> str:
    return (getattr(config, "architectures", None) or [config.model_type or type(config).__name__])[0]


def default_config(model_type: str) -> PreTrainedConfig:
    if model_type not in CONFIG_MAPPING:
        raise CannotBuild(model_type, f"transformers {transformers.__version__} has no such model type")
    config_class = CONFIG_MAPPING[model_type]
    try:
        return config_class(**DEFAULTS.get(model_type, {}))
    except Exception as error:
        raise CannotBuild(model_type, f"its default config is refused by its own class: {_said(error)}") from error


def _check_config(config: PreTrainedConfig, trust_remote_code: bool) -> None:
    if getattr(config, "auto_map", None) and not trust_remote_code:
        code = ", ".join(sorted(set(map(str, config.auto_map.values()))))
        raise CannotBuild(_name(config), f"its code is its own ({code})", "allow it with trust_remote_code")
    for part in [config, *(x for x in vars(config).values() if isinstance(x, PreTrainedConfig))]:
        for key, value in vars(part).items():
            if type(value) is int and key in COUNTS and not 0 < value < _LARGEST_SIZE:
                raise CannotBuild(_name(config), f"its config says {key} {value}")


def kind_of(config: PreTrainedConfig, images: bool = False) -> str:
    """What the config says it is; a causal model where it says nothing, or one for images where they are asked for."""
    maps = {kind: auto._model_mapping for kind, auto in _AUTOS.items()}
    own = getattr(config, "auto_map", None) or {}
    known = [kind for kind in _AUTOS if _AUTO_NAMES[kind] in own or type(config) in maps[kind]]
    if not known:
        raise CannotBuild(_name(config), "it is no decoder that transformers knows, nor says its auto_map one")
    named = set(getattr(config, "architectures", None) or ())
    for kind in known:
        if type(config) in maps[kind] and named & {x.__name__ for x in _classes(maps[kind][type(config)])}:
            return kind
    return known[-1] if images else known[0]


def _of_class(config: PreTrainedConfig, kind: str) -> tuple[PreTrainedConfig, Any]:
    """The part of a config that the class of the kind takes, and what makes a model of it: mostly the whole config and
    the auto class, but a few take only the config of their decoder."""
    for model_class in _classes(_AUTOS[kind]._model_mapping.get(type(config), ())):
        own = getattr(model_class, "config_class", None)
        parts = [x for x in vars(config).values() if own is not None and type(x) is own]
        if parts and type(config) is not own:
            return parts[0], model_class
    if kind == "image-text" and (config.is_encoder_decoder or config.get_text_config().is_encoder_decoder):
        raise CannotBuild(_name(config), "it is an encoder with a decoder, not a decoder")
    return config, _AUTOS[kind]


def _classes(found: Any) -> tuple[type, ...]:
    return found if isinstance(found, tuple) else (found,)


def _built(
    config: PreTrainedConfig, model_class: Any, trust_remote_code: bool, seed: int, shared: bool
) -> tuple[torch.nn.Module, bool]:
    for part in _parts(config):
        for key, value in _WANTED.items():
            if hasattr(part, key):
                setattr(part, key, value)
    options = {"trust_remote_code": True} if trust_remote_code else {}
    with torch.random.fork_rng(devices=[]), torch.device("cpu"), _Bounded(), widened():
        torch.manual_seed(seed)
        model = _from_config(model_class, config, options).double().eval()
    _untie(model)
    shares = shared and _share(model)
    randomize(model, seed)
    return model.requires_grad_(False), shares


_WANTED = {"tie_word_embeddings": False, "is_decoder": True, "use_cache": False}


def _parts(config: PreTrainedConfig) -> list[PreTrainedConfig]:
    inner = [part for x in vars(config).values() if isinstance(x, PreTrainedConfig) for part in _parts(x)]
    return [config, *inner]


def _from_config(model_class: Any, config: PreTrainedConfig, options: dict[str, Any]) -> torch.nn.Module:
    """Eager wherever the class knows more than one way."""
    eager = {"attn_implementation": "eager"}
    make = getattr(model_class, "from_config", None) or model_class._from_config
    for choice in ({**eager, "experts_implementation": "eager"}, eager):
        with suppress(TypeError, ValueError):
            return make(config, dtype=torch.float64, **choice, **options)
    return make(config, dtype=torch.float64, **options)


def _share(model: torch.nn.Module) -> bool:
    """Layers share the weights that they do where the config ties anything at all; whether there are such."""
    parts = [part for part in _parts(model.config) if hasattr(part, "tie_word_embeddings")]
    tied = {}
    for part in parts:
        part.tie_word_embeddings = True
    with suppress(Exception):  # of a class that ties in another way
        tied = model.get_expanded_tied_weights_keys(all_submodels=True)
    for part in parts:
        part.tie_word_embeddings = False
    shared = {one: other for one, other in tied.items() if _without_numbers(one) == _without_numbers(other)}
    for one, other in shared.items():
        owner, _, name = one.rpartition(".")
        setattr(model.get_submodule(owner), name, model.get_parameter_or_buffer(other))
    return bool(shared)


def _without_numbers(name: str) -> str:
    return re.sub(r"\.\d+(?=\.)", "", name)


def _untie(model: torch.nn.Module) -> None:
    """The head gets a weight of its own where it shares that of the embeddings."""
    embeddings, head = model.get_input_embeddings(), model.get_output_embeddings()
    weight = getattr(head, "weight", None)
    if weight is not None and weight is getattr(embeddings, "weight", None):
        head.weight = torch.nn.Parameter(weight.detach().clone())


# Saved tables that say which experts each token goes to.
_EXPERTS_OF_TOKENS = frozenset({"tid2eid"})


@torch.no_grad()
def randomize(model: torch.nn.Module, seed: int) -> None:
    """Random weights about as large as what they read wants them, norms, biases and saved buffers off neutral."""
    generator = torch.Generator().manual_seed(seed)
    modules = dict(model.named_modules())
    for name, weight in model.named_parameters():
        if not weight.is_floating_point():
            continue
        drawn = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        module = modules[name.rpartition(".")[0]]
        if not weight.isfinite().all():
            weight.zero_()
        if weight.numel() == max(weight.shape, default=1):
            weight.add_(0.3 * drawn)
        elif isinstance(module, torch.nn.Embedding):
            scale = getattr(module, "embed_scale", getattr(module, "scalar_embed_scale", 1.0))
            weight.copy_((0.5 + drawn) / (float(scale) or 1.0))
        else:
            weight.copy_(drawn / math.sqrt(_fan_in(weight, module, name)))
    saved = model.state_dict().keys()
    experts = getattr(model.config, "n_routed_experts", 0)
    for name, buffer in model.named_buffers():
        if name.rpartition(".")[2] in _EXPERTS_OF_TOKENS:
            buffer.copy_(torch.randint(0, experts, buffer.shape, generator=generator))
        elif name in saved and buffer.is_floating_point():
            buffer.add_(0.2 * torch.randn(buffer.shape, generator=generator, dtype=torch.float64))


def _fan_in(weight: torch.Tensor, module: torch.nn.Module, name: str) -> int:
    if type(module).__name__ == "Conv1D" or getattr(module, "is_transposed", False):
        return weight.shape[-2]
    if weight.dim() == 2 or "expert" in name:
        return weight.shape[-1]
    return math.prod(weight.shape[1:])


def _answered(
    model: torch.nn.Module, text: dict[str, torch.Tensor], seed: int, images: bool, kind: str
) -> tuple[dict[str, torch.Tensor], CannotBuild | None]:
    """Inputs that the model answers: text, or images in it where they are asked for or where it does not go without;
    what an encoder says, where the model reads it."""
    problem = _problem(model, text)
    if kind == "causal" or not (images or problem):
        more = None if problem else with_encoder(model, text, seed)
        if more is not None and _problem(model, more) is None and _differ(model, text, more):
            return more, None
        return text, problem
    for inputs in with_images(model, text, seed):
        if (found := _problem(model, inputs)) is None and _sees(model, inputs):
            return inputs, None
        problem = problem or found
    return text, problem or CannotBuild(type(model).__name__, "it takes images in no way that is known")


def _heard(model: torch.nn.Module, inputs: dict[str, torch.Tensor], seed: int) -> dict[str, torch.Tensor]:
    """With sound, where the model hears it."""
    more = with_audio(model, inputs, seed)
    if more is None or _problem(model, more) is not None:
        return inputs
    other = more | {FEATURES: more[FEATURES] * 1.5 + 0.1}
    return more if _differ(model, more, other) else inputs


def _sees(model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> bool:
    """The pixels matter."""
    other = inputs | {"pixel_values": inputs["pixel_values"] * 1.5 + 0.1}
    return _differ(model, inputs, other)


def _differ(model: torch.nn.Module, inputs: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> bool:
    return not torch.equal(_logits(model, inputs), _logits(model, others))


def _problem(model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> CannotBuild | None:
    """What is wrong with the model's answer, if anything is."""
    name = type(model).__name__
    try:
        first, second = (_logits(model, inputs) for _ in range(2))
    except Exception as error:  # noqa: BLE001: whatever the class raises
        problem = CannotBuild(name, f"its forward raises {_said(error)}")
        problem.__cause__ = error
        return problem
    if first is None:
        return CannotBuild(name, "its forward gives no logits")
    if not first.isfinite().all():
        return CannotBuild(name, "its logits are not finite")
    if not torch.equal(first, second):
        return CannotBuild(name, "it is not deterministic: two forwards of the same tokens differ")
    return None


@torch.no_grad()
def _logits(model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> torch.Tensor | None:
    with widened():
        found = getattr(model(**inputs, use_cache=False), "logits", None)
    return found if isinstance(found, torch.Tensor) else None
