"""What a command found out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


class Result(Mapping):
    """What a command found out: `result.seconds`, `result["seconds"]`, `to_dict()`; `print(result)` is what the
    command prints."""

    def __init__(self, command: str, data: str, text: str):
        self._command, self._json, self._text = command, data, text
        self._data: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Numbers, texts, lists and dicts."""
        if self._data is None:  # the plan of a large model is long, and may never be asked for
            self._data = json.loads(self._json)
        return self._data

    def __getitem__(self, key: str) -> Any:
        return self.to_dict()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.to_dict())

    def __len__(self) -> int:
        return len(self.to_dict())

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self.to_dict()[name]
        except KeyError:
            raise AttributeError(f"spinor.{self._command} found no {name!r}, but {', '.join(self)}") from None

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self]

    def __str__(self) -> str:
        return self._text.rstrip("\n")

    def __repr__(self) -> str:
        return f"<spinor.{self._command}: {', '.join(self)}>"

    def _repr_html_(self) -> str:
        import html

        return f"<pre>{html.escape(str(self))}</pre>"
