"""Rows as text: a line for each module, as a person would write them (docs/adding_an_architecture.md)."""

from __future__ import annotations

import json
import re

PLAIN = re.compile(r"[A-Za-z_.][\w.\[\]()* /+-]*")
WORDS = {"true", "false", "null", "yes", "no", "on", "off"}
BARE = {"true", "false"}  # of fields that are flags
FLAGS = {"layer_norm", "router", "alternating"}


def scalar(value: object, key: str = "") -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.1e}"
    if isinstance(value, int):
        return str(value)
    text = str(value)
    if key in FLAGS and text in BARE:
        return text
    if PLAIN.fullmatch(text) and not text.endswith(" ") and text.lower() not in WORDS and "[" not in text:
        return text
    return json.dumps(text) if "'" in text or "\\" in text else f"'{text}'"


def flow(value: object, key: str = "") -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{scalar(name)}: {flow(one, name)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(flow(one, key) for one in value) + "]"
    return scalar(value, key)


def nested(row: dict) -> list[str]:
    return [("- " if i == 0 else "  ") + line for i, line in enumerate(text_of(row).splitlines())]


def text_of(row: dict) -> str:
    lines = []
    for key, value in row.items():
        if key == "towers":
            lines += [f"{key}:", *(line for one in value for line in nested(one))]
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            lines += [f"{key}:", *(f"- {flow(one)}" for one in value)]
        else:
            lines.append(f"{key}: {flow(value, key)}")
    return "\n".join(lines) + "\n"
