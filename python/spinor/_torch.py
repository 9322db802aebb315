"""The program spinor-torch, which runs models. It is another process: loading libtorch takes time and memory."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

HINT = "pip install spinor-llm[torch]; or say where it is by SPINOR_TORCH_PROGRAM"


def program() -> Path:
    """Where it should be: where $SPINOR_TORCH_PROGRAM says, in the distribution spinor-llm-torch, or beside the command
    spinor."""
    import sysconfig

    if named := os.environ.get("SPINOR_TORCH_PROGRAM"):
        return Path(named)
    try:
        import spinor_torch
    except ImportError:
        return Path(sysconfig.get_path("scripts")) / "spinor-torch"
    return Path(spinor_torch.program())


def run(words: list[bytes], listener: Callable[..., None]) -> tuple[Any, ...]:
    """As _core.run()."""
    import subprocess

    path = program()
    if not path.is_file():
        return "system", words[0].decode(), f"runs models, and {path} is not there", HINT
    with subprocess.Popen([path, "--events", *words], stdout=subprocess.PIPE) as process:
        try:
            event = None
            for line in process.stdout or ():
                event = json.loads(line)
                if event[0] not in ("progress", "warn", "log", "stream"):
                    break
                listener(*event)
        except BaseException:  # Ctrl-C, and what the listener raises
            process.terminate()
            raise
    if event is None or process.returncode not in (0, 1):
        return "system", str(path), f"ended with status {process.returncode}", ""
    if event[0] == "done":
        return "done", json.dumps(event[1]), event[2], event[3]
    return tuple(event)
