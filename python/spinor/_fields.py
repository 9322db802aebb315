"""Objects that are their fields, as parts of recipes are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spinor._errors import InputError


def plain(value: Any) -> Any:
    """Of numbers, texts, lists and dicts: an object of compressed-tensors or of pydantic as what it is made of."""
    if hasattr(value, "model_dump"):
        return plain(value.model_dump(mode="json", exclude_none=True))
    if hasattr(value, "to_dict"):
        return plain(value.to_dict())
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    return value


class Fields:
    """Fields by name, which have defaults or must be given (...); takes the same object of another tool, too."""

    _fields: dict[str, Any] = {}

    def __init__(self, other: Any = None, /, **fields: Any):
        from spinor._run import _nearest

        name = type(self).__name__
        if other is not None and not isinstance(plain(other), Mapping):
            raise InputError(name, f"is given {other!r}", f"give {', '.join(self._fields)} by name")
        given = {**({} if other is None else plain(other)), **fields}
        for key in given:
            if key not in self._fields:
                raise InputError(name, f"has no field {key!r}", _nearest(key, [*self._fields]))
        for key, default in self._fields.items():
            if default is ... and key not in given:
                raise InputError(name, f"needs {key}")
        self.__dict__.update(given)

    def __getattr__(self, name: str) -> Any:
        """Of a field that is not given."""
        if name in type(self)._fields:
            return type(self)._fields[name]
        raise AttributeError(f"{type(self).__name__} has no field {name!r}")

    def to_dict(self) -> dict[str, Any]:
        """What is given, of numbers, texts, lists and dicts."""
        return {name: plain(value) for name, value in self.__dict__.items()}

    def model_dump(self, **options: Any) -> dict[str, Any]:
        """As pydantic's, of what is given."""
        return self.to_dict()

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.to_dict() == other.to_dict()  # type: ignore[attr-defined]

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.__dict__.items())})"
