"""Keys that a config.json may leave out, or have by other names than a row says."""

from __future__ import annotations

import inspect
import re

REQUIRED = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size")
# Keys that published files have otherwise than attribute_map says.
PUBLISHED = {
    "num_sliding_attention_heads": "attention_other_setting != null ? attention_other_setting['num_attention_heads'] "
    "?? num_attention_heads : num_attention_heads"
}


POPPED = re.compile(r'self\.(\w+) = kwargs\.pop\(\s*"(\w+)"')


def aliases_of(config_class: type) -> dict[str, str]:
    """What a config.json may call keys instead, and what they are."""
    try:
        popped = POPPED.findall(inspect.getsource(config_class))
    except (OSError, TypeError):  # a class that was made up
        popped = []
    fields = getattr(config_class, "__dataclass_fields__", {})
    return getattr(config_class, "attribute_map", {}) | {alias: key for key, alias in popped if alias not in fields}


def defaults_in(text: str, class_defaults: dict, aliases: dict[str, str], known: dict[str, str],
                in_section: bool) -> dict[str, str]:
    """Of the keys in the text of a row. A section of config.json may have no more than what differs from its class, as
    that of LLaVA 1.5; the file of a language model says what sizes it has."""
    found = {}
    for key, value in class_defaults.items():
        needed = in_section and key in REQUIRED or re.search(rf"\b{key}\b", text)
        if key in known or not needed:
            continue
        if key in PUBLISHED:
            found[key] = PUBLISHED[key]
            continue
        others = [alias for alias, real in aliases.items() if real == key and alias not in text]
        literal = [str(value).lower()] if isinstance(value, int) and (in_section or key not in REQUIRED) else []
        if formula := " ?? ".join([*others, *literal]):
            found[key] = formula
    return found
