"""The command line for random weights: without checks, which they never pass, and with short sentences."""

from __future__ import annotations

import sys

from sparktts import guards
from sparktts.cli import main
from sparktts.longform import ReadingOptions

if __name__ == "__main__":
    _, *others = ReadingOptions.__init__.__defaults__ or ()
    ReadingOptions.__init__.__defaults__ = (False, *others)
    guards.MAX_TOKENS = 60
    sys.exit(main())
