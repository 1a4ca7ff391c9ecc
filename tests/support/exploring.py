"""How many examples property tests try, and which.

`make test` tries the same examples on every machine and every day. `make soak` sets `ART_EXPLORE`:
then they are drawn anew, `FACTOR` times as many, and what failed is kept in `.hypothesis`.
"""

from __future__ import annotations

import os
from typing import Any

from hypothesis import settings

EXPLORES = os.environ.get("ART_EXPLORE") == "1"
FACTOR = 20 if EXPLORES else 1


def load_profile() -> None:
    """Set what property tests without settings of their own do; to be called before they are read."""
    settings.register_profile("same", derandomize=True, database=None, deadline=None)
    settings.register_profile("explore", max_examples=100 * FACTOR, deadline=None)
    settings.load_profile("explore" if EXPLORES else "same")


def examples(count: int, **options: Any) -> settings:
    """Give the settings of a test that tries this many examples in `make test`."""
    return settings(max_examples=count * FACTOR, **options)
