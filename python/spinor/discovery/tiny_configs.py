"""What single model types need beyond the common table of sizes: a function each of the keys of the config."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from transformers import PreTrainedConfig

Exception_ = Callable[[dict[str, Any], dict[str, PreTrainedConfig], int], None]
EXCEPTIONS: dict[str, list[Exception_]] = defaultdict(list)
# Default configs that their own class refuses: how one that it takes is made.
DEFAULTS: dict[str, Callable[[], PreTrainedConfig]] = {}


def _set(*types: str, **keys: Any) -> None:
    """These keys of these types; of a tuple (a, b) the value for variant 0, or 1."""

    def change(values: dict[str, Any], parts: dict[str, PreTrainedConfig], variant: int) -> None:  # noqa: ARG001
        values.update({k: v[variant] if isinstance(v, tuple) else v for k, v in keys.items() if k in values})

    for name in types:
        EXCEPTIONS[name].append(change)
