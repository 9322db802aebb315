"""A row for a class that spinor does not know: proposed from its code, proved, written down."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import json
import tempfile
from pathlib import Path

import transformers
from transformers import PreTrainedConfig

from spinor._errors import InputError

from .conditions import Conditions
from .counts import uneven
from .dependence import changed, dependence_of, more_tensors
from .files import CannotTell, files_of
from .find import Findings, find
from .formulas import Keys, flat_keys
from .lengths import Names, Sample, canonical
from .loaded_names import loaded_as
from .mtp import MTP
from .proof import SEED, Proof, prove
from .roles import Roles
from .row import RowMaker
from .row_defaults import aliases_of
from .row_text import text_of
from .split import wrong_splits
from .tiny import CannotBuild, Tiny, default_config, kind_of, tiny
from .tower import with_towers
from .variations import variations_of


VERSION = transformers.__version__
HEADER = "# Found by spinor discover with transformers {}.\n"


@dataclasses.dataclass
class Discovery:
    """`row` is its YAML text. What cannot be rotated is refused in it, with the reason."""

    names: list[str]
    row: str
    proof: Proof
    findings: Findings

    def __str__(self):
        said = [f"{rotation}: exact, logits to {error:.0e} of their deviation"
                for rotation, error in self.proof.errors.items()]
        said += [f"{rotation}: {reason}" for rotation, reason in self.proof.refused.items()]
        return "\n".join([", ".join(self.names), *said])


def section_of(config: PreTrainedConfig) -> str:
    """The key of config.json that holds those of the language model."""
    return "text_config" if isinstance(getattr(config, "text_config", None), PreTrainedConfig) else ""


# What spinor computes as all classes do: of the number of heads, and hidden_size.
COMPUTED = ("head_dim", "num_key_value_heads")


def class_defaults(config: PreTrainedConfig, section: str) -> dict:
    part = getattr(config, section) if section else config
    try:
        found = type(part)().to_dict()
    except Exception:  # noqa: BLE001: a config without defaults
        return {}
    return {key: value for key, value in found.items()
            if key not in COMPUTED or default_of(type(part), key) is not None}


def default_of(config_class: type, key: str) -> object:
    """None, too, where it computes the key of others."""
    fields = getattr(config_class, "__dataclass_fields__", {})
    given = inspect.signature(config_class.__init__).parameters
    return fields[key].default if key in fields else getattr(given.get(key), "default", None)


def ties_by_default(config: PreTrainedConfig) -> bool:
    """Where config.json does not say whether the head is tied."""
    whole = class_defaults(config, "")
    return bool(whole.get("tie_word_embeddings", False))


def made_up_lists(config: PreTrainedConfig) -> frozenset[str]:
    """Lists that the class makes of other keys: None unless they are given."""
    return frozenset(key for key, value in config.to_dict().items()
                     if isinstance(value, list) and not isinstance(default_of(type(config), key), list | tuple))


def roles_of(made: list[Tiny], counts: dict[str, list]) -> list[Roles]:
    parts = [(find(one.model, one.inputs), files_of(one.model), counts, one.has_towers) for one in made]
    roles = [Roles(*part) for part in parts]
    names = [[(role.place.layer, role.place.name) for role in one.linears.values()] for one in roles]
    more = uneven(*names)
    return [Roles(*part, more) for part in parts] if more else roles


def keys_of(config: PreTrainedConfig, roles: Roles) -> tuple[Keys, Names]:
    section = section_of(config)
    part = getattr(config, section) if section else config
    keys = flat_keys(config.to_dict(), section)
    return keys, canonical(keys, getattr(type(part), "attribute_map", {}), roles.width, roles.layer_count)


def sample_of(made: Tiny, roles: Roles, dependence, defaults: dict) -> tuple[Sample, Names]:
    keys, names = keys_of(made.config, roles)
    return Sample(roles, keys, dependence, defaults, names.derived), names


def with_images(config: PreTrainedConfig, *, kind: str | None, **options) -> Tiny:
    """And sound, where the class that a config is of takes any in a way that is known. Else what only they reach is
    read by nothing, and refused."""
    if (kind or kind_of(config)) == "image-text" or getattr(config, "audio_config", None) is not None:
        with contextlib.suppress(CannotBuild):
            return tiny(config, kind=kind, images=True, **options)
    return tiny(config, kind=kind, **options)


def row_of(config: PreTrainedConfig, kind: str | None = None, trust_remote_code: bool = False) -> tuple[dict, Findings]:
    """Without its proof. Raises CannotBuild of a class that does not run, CannotTell of one that no row can say."""
    options = {"kind": kind, "trust_remote_code": trust_remote_code, "shared": True}
    made = [with_images(config, variant=variant, **options) for variant in (0, 1)]
    if "pixel_values" in made[1].inputs and "pixel_values" not in made[0].inputs:  # whose roles are the row's
        made[1] = tiny(config, variant=1, **options)
    section = section_of(made[0].config)
    dependence = dependence_of(made[0], section)
    defaults = class_defaults(made[0].config, section)
    roles = roles_of(made, dependence.counts)
    samples, names = zip(*(sample_of(one, of, dependence, defaults) for one, of in zip(made, roles, strict=True)),
                         strict=True)
    part = getattr(made[0].config, section) if section else made[0].config
    made_up = made_up_lists(part)
    variations = variations_of(made[0], section, made_up, lambda one: keys_of(one, roles[0])[0])
    conditions = Conditions([sample.keys for sample in samples], made_up, variations)
    maker = RowMaker(list(samples), names[-1], aliases_of(type(part)), conditions)
    row = maker.row([type(made[0].model).__name__], section, shares=made[0].shares)
    if ties_by_default(made[0].config):
        others = [alias for alias, key in aliases_of(type(part)).items() if key == "tie_word_embeddings"]
        row["defaults"] = {**row.get("defaults", {}), "tie_word_embeddings": " ?? ".join([*others, "true"])}
    if mtp := MTP.get(row["names"][0]):
        row["mtp"] = mtp
    if made[0].has_towers:
        row = with_towers(row, samples[0].roles, made[0].config, made[0].model)
    if names_in_memory := loaded_as(samples[0].roles):
        row["loaded_as"] = names_in_memory
    return row, samples[0].roles.findings


def general_row_of(model_type: str, kind: str | None = None) -> tuple[dict, Findings]:
    """Of a class of transformers, with all that its flags can add."""
    config = default_config(model_type)
    made = tiny(config, kind=kind)
    section = section_of(made.config)
    flags = more_tensors(made, section)
    full = config
    for key, value in flags.items():
        full = changed(full, section, key, value)
    for one in [full, config] if flags else [config]:
        try:
            return row_of(one, kind)
        except (CannotBuild, CannotTell):
            if one is config:
                raise
    raise AssertionError


def another(config: PreTrainedConfig, kind: str | None, trust_remote_code: bool = False) -> Tiny:
    """Of other weights, sizes and kinds of layers than what a row is found with."""
    options = {"seed": SEED, "kind": kind, "trust_remote_code": trust_remote_code, "variant": 1}
    for other in ({"mixed": True, "mirrored": True}, {"mixed": True}):
        with contextlib.suppress(CannotBuild):  # of sizes that depend on each other, of layers that go first
            return with_images(config, **other, **options)
    return with_images(config, **options)


def key_biases(row: dict) -> tuple[str, ...]:
    """The ends of roles that need not be noticed: what is added to a key adds one number to all scores of a query,
    unless keys are turned, and then it is noticed."""
    attentions = [row.get("attention") or {}, *row.get("other_attentions", [])]
    return tuple(f"{attention['key']}.bias" for attention in attentions if attention.get("key"))


def proof_of(row: dict, other: Tiny, proving: str) -> Proof:
    """`proving`: what the class is called in it, of which spinor may have a row."""
    with tempfile.TemporaryDirectory(prefix="spinor-") as name:
        file = Path(name) / "row.yaml"
        file.write_text(text_of(row | {"names": [proving]}))
        return prove(other, file, proving)


def proved(row: dict, findings: Findings, config: PreTrainedConfig, kind: str | None,
           trust_remote_code: bool = False) -> Discovery:
    """Refuses rotations of which a site could be left out and the proof would not notice. Raises InputError where a
    model that is rotated by the row is another function."""
    other = another(config, kind, trust_remote_code)
    proof = proof_of(row, other, "Proving" + row["names"][0])
    blind: dict[str, str] = {}  # by rotation, the first of them
    for rotation, role in sorted(proof.unnoticed):
        if not role.endswith(key_biases(row)):
            blind.setdefault(rotation, role)
    more = [{"rotation": rotation, "reason": f"{role}: the logits of a tiny model do not depend on it, so that a proof "
             "would not show whether it is rotated rightly"} for rotation, role in blind.items()]
    if more:
        row["refusals"] = row.get("refusals", []) + more
        proof = proof_of(row, other, "ProvingAgain" + row["names"][0])
    if not proof.holds:
        raise InputError(row["names"][0], f"what was found is not exact: {proof.errors}", "this is a fault of spinor")
    if wrong := wrong_splits(row, other.model, other.inputs):
        raise InputError(row["names"][0], f"{wrong[0]}: its experts split otherwise in a model of other sizes",
                         "this is a fault of spinor")
    errors = {key: float(f"{value:.0e}") for key, value in proof.errors.items()}
    row["proof"] = {"with": f"transformers {VERSION}"} | errors
    return Discovery(row["names"], HEADER.format(VERSION) + text_of(row), proof, findings)


def discover(config: PreTrainedConfig, *, kind: str | None = None, trust_remote_code: bool = False) -> Discovery:
    """Of a config. Raises InputError where there is no row, or no proof of it."""
    try:
        row, findings = row_of(config, kind, trust_remote_code)
    except CannotTell as error:
        raise InputError(str(config.model_type), f"no row can say how it is built: {error}") from error
    return proved(row, findings, config, kind, trust_remote_code)


def discover_type(model_type: str, kind: str) -> Discovery:
    """Of a class of transformers, for all of its checkpoints."""
    row, findings = general_row_of(model_type, kind)
    return proved(row, findings, default_config(model_type), kind)


def discover_model(directory: str, trust_remote_code: bool = False) -> Discovery:
    """Of a checkpoint: its config.json, and its code where it brings some and may run it."""
    try:
        written = json.loads((Path(directory) / "config.json").read_text())
        if written.get("auto_map") and not trust_remote_code:
            hint = "allow it with --trust-remote-code, if you trust it"
            raise InputError(directory, "it brings code of its own", hint)
        config = transformers.AutoConfig.from_pretrained(directory, trust_remote_code=trust_remote_code)
    except InputError:
        raise
    except ImportError as error:
        raise InputError(directory, f"its code needs something that is not installed: {error}") from error
    except Exception as error:
        said = " ".join(str(error).split())[:300]
        raise InputError(directory, f"transformers {VERSION} cannot read its config: {said}") from error
    return discover(config, trust_remote_code=trust_remote_code)
