"""Verifying ledgers as files."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from abstractruntime.signing.heads import read_heads
from abstractruntime.signing.verdict import LedgerVerdict, verify_ledger


def verify_file(path: Path | str, *, heads: Path | None = None, **options: Any) -> LedgerVerdict:
    """Judge a ledger file, with its heads where there are any."""
    with contextlib.ExitStack() as files:
        ledger = files.enter_context(Path(path).open("rb"))
        if heads is not None and heads.exists():
            options["heads"] = read_heads(files.enter_context(heads.open("rb")))
        return verify_ledger(ledger, **options)
