"""Verifying ledgers as files, and rewriting them as somebody does who knows the format."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from abstractruntime._json import dump_line
from abstractruntime.signing.heads import read_heads
from abstractruntime.signing.verdict import LedgerVerdict, verify_ledger
from abstractruntime.storage.ledger_chain import compute_record_hash


def verify_file(path: Path | str, *, heads: Path | None = None, **options: Any) -> LedgerVerdict:
    """Judge a ledger file, with its heads where there are any."""
    with contextlib.ExitStack() as files:
        ledger = files.enter_context(Path(path).open("rb"))
        if heads is not None and heads.exists():
            options["heads"] = read_heads(files.enter_context(heads.open("rb")))
        return verify_ledger(ledger, **options)


def rechained(ledger: bytes, change: Callable[[list[Any]], object]) -> bytes:
    """Give a ledger whose records were changed, chained anew so that it is consistent."""
    records = [json.loads(line) for line in ledger.splitlines()]
    change(records)
    head = None
    for record in records:
        record["prev_hash"] = head
        head = record["record_hash"] = compute_record_hash(record=record, prev_hash=head)
    return b"".join(dump_line(record) + b"\n" for record in records)


def rewrite(store: Path, run_id: str, change: Callable[[list[Any]], object]) -> None:
    """Rewrite the ledger of a run, and take away the checkpoint that it does not fix any more."""
    path = store / f"ledger_{run_id}.jsonl"
    path.write_bytes(rechained(path.read_bytes(), change))
    (store / f"run_{run_id}.json").unlink(missing_ok=True)
