"""python -m spinor: the command spinor."""

import sys

from spinor._program import main

sys.exit(main())
