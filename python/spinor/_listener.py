"""Where the warnings and the progress of a command go: logging, and tqdm if it is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Union

Progress = Union[bool, Callable[[str, int, int], Any], None]


class _Bars:
    """A bar for each thing that takes long, one after the other."""

    def __init__(self, tqdm: Any):
        self.tqdm, self.bar, self.what = tqdm, None, ""

    def __call__(self, what: str, done: int, total: int) -> None:
        if self.bar is None or self.what != what:
            self.close()
            self.what = what
            self.bar = self.tqdm(desc=what, total=total, unit_scale=True)
        self.bar.update(done - self.bar.n)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


def _bars() -> _Bars | None:
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return None
    return _Bars(tqdm)


class Listener:
    """Called with ("progress", what, done, all), ("warn", text), ("log", text) and ("stream", text)."""

    def __init__(self, progress: Progress):
        import logging

        self.log = logging.getLogger("spinor")
        self.progress = progress if callable(progress) else _bars() if progress in (None, True) else None

    def __call__(self, event: str, *what: Any) -> None:
        if event == "progress":
            if self.progress is not None:
                self.progress(*what)
        elif event == "warn":
            self.log.warning("%s", what[0])
        elif event == "log":
            self.log.info("%s", what[0].rstrip("\n"))

    def close(self) -> None:
        if isinstance(self.progress, _Bars):
            self.progress.close()
