"""`python -m abstractruntime` is the command `art`."""

from __future__ import annotations

import sys

from abstractruntime.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
