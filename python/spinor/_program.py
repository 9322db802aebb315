"""The command spinor: the program in this process."""

import os
import sys

from spinor import _core, _torch


def main() -> int:
    words = [b"spinor", *map(os.fsencode, sys.argv[1:])]
    return _core.main(words, os.fsencode(_torch.program()), _torch.HINT)
