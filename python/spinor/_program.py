"""The command spinor: the program in this process."""

import os
import sys
from pathlib import Path

from spinor import _core, _torch
from spinor._errors import RunError


def main() -> int:
    os.environ.setdefault("SPINOR_PYTHON", sys.executable)
    words = [b"spinor", *map(os.fsencode, sys.argv[1:])]
    try:
        torch_program, hint = _torch.program(), _torch.HINT
    except RunError as error:  # of use only to commands that run models
        torch_program, hint = Path("spinor-torch"), str(error)
    return _core.main(words, os.fsencode(torch_program), hint)
