"""Runs whose files contradict each other: finding them, and judging ledger against checkpoint.

Rules:
1. A damaged run stops nobody else: what it raises becomes a row, a finding or a defect.
2. Looking changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abstractruntime.errors import AbstractRuntimeError, IntegrityError, NotFound, StoreIOError
from abstractruntime.storage._files.fs import RealFileSystem, StoreFiles
from abstractruntime.storage._files.jsonl import last_line
from abstractruntime.storage._files.layout import Layout, run_id_of_ledger, run_ids

if TYPE_CHECKING:
    from abstractruntime._json import JsonObject
    from abstractruntime.signing import LedgerVerdict
    from abstractruntime.signing._record_checks import Defect
    from abstractruntime.storage.directory import DirectoryEngine

DAMAGED = "damaged"


def damage_of(engine: DirectoryEngine, run_id: str) -> AbstractRuntimeError | None:
    """Say why a run that the index knows cannot be read; None when it can."""
    cause = _why_unreadable(engine, run_id)
    if not isinstance(cause, NotFound):
        return cause
    return IntegrityError(
        f"the ledger of run {run_id!r} holds no record any more",
        hint=f"restore the ledger from a backup, or inspect it: art ledger verify {run_id}",
        run_id=run_id,
    )


def _why_unreadable(engine: DirectoryEngine, run_id: str) -> AbstractRuntimeError | None:
    try:
        engine.peek(run_id)
    except AbstractRuntimeError as cause:
        return cause
    except OSError as cause:
        return StoreIOError(f"cannot read run {run_id!r}: {cause.strerror}", run_id=run_id)
    return None


def damaged_snapshots(engine: DirectoryEngine) -> Iterator[tuple[str, AbstractRuntimeError]]:
    """Give the ids of snapshots that cannot be read, each with what is wrong with it."""
    from abstractruntime.storage._care.run_snapshots import snapshot_store

    store = snapshot_store(engine)
    for path in sorted(Path(Layout(engine.path).snapshots).glob("snapshot_*.json")):
        snapshot_id = path.stem.removeprefix("snapshot_")
        try:
            store.load(snapshot_id)
        except AbstractRuntimeError as cause:
            yield snapshot_id, cause


def unlisted_damage(
    engine: DirectoryEngine, known: Collection[str]
) -> Iterator[tuple[str, AbstractRuntimeError]]:
    """Give the runs that have files but are not `known`, each with what is wrong with it.

    The index forgets a run that lost its ledger, and never learns one that it could not read.
    """
    for run_id in sorted(_ids_in_files(Path(engine.path)) - set(known)):
        cause = _why_unreadable(engine, run_id)
        # A ledger without a complete line is no run: nobody was told of it.
        if cause is not None and not isinstance(cause, NotFound):
            yield run_id, cause


def _ids_in_files(root: Path) -> set[str]:
    return run_ids(path.name for path in root.iterdir())


def has_files(engine: DirectoryEngine, run_id: str) -> bool:
    """Say whether a ledger or checkpoint of this very id lies in the store."""
    if run_id_of_ledger(f"ledger_{run_id}.jsonl") is None:
        return False
    layout = Layout(engine.path)
    return any(Path(p).is_file() for p in (layout.ledger(run_id), layout.checkpoint(run_id)))


def damaged_row(run_id: str) -> JsonObject:
    """Give the `art-runs/1` entry of a run of which nothing but its id is known."""
    names = (
        "workflow_id", "waiting_on", "wait_key", "until", "created_at", "updated_at",
        "parent_run_id", "session_id",
    )  # fmt: skip
    return {"run_id": run_id, "status": DAMAGED, **dict.fromkeys(names), "labels": {}}


def checkpoint_meta(checkpoint: Path | None) -> JsonObject | None:
    """Give up to where a run was checkpointed; None when there is nothing that can be read."""
    if checkpoint is None:
        return None
    try:
        meta: JsonObject = json.loads(checkpoint.read_bytes())["_meta"]
        usable = isinstance(meta["size"], int) and meta["size"] > 0 and "head" in meta
    except (FileNotFoundError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return meta if usable else None


def with_checkpoint(verdict: LedgerVerdict, ledger: Path, meta: JsonObject | None) -> LedgerVerdict:
    """Give the verdict with what the checkpoint of the same run says against the ledger.

    A checkpoint is written after the records it covers are durable, so a ledger that does not
    reach it, or holds another record there, has lost or changed something.
    """
    # Hazard: `meta` is read before the ledger; a run that goes on meanwhile would else look cut.
    if meta is None:
        return verdict
    defect = _defect(verdict, ledger, meta["size"], meta["head"])
    if defect is None:
        return verdict
    lowest = verdict.first_bad_index
    return replace(
        verdict,
        verdict="invalid",
        defects=(*verdict.defects, defect),
        defect_count=verdict.defect_count + 1,
        first_bad_index=defect.record if lowest is None else lowest,
    )


def _defect(verdict: LedgerVerdict, ledger: Path, size: int, head: Any) -> Defect | None:
    # Commands that only look for damage need no cryptography, which takes long to import.
    from abstractruntime.signing._record_checks import Defect

    committed = verdict.bytes - verdict.torn_tail_bytes
    if committed < size:
        return Defect("checkpoint_beyond_ledger", verdict.records, committed, size, committed)
    line = last_line(StoreFiles(RealFileSystem(), sync=False), str(ledger), size)
    found = _record_hash(line.data) if line is not None else None
    if found == head:
        return None
    return Defect("checkpoint_mismatch", None, line.offset if line else size, head, found)


def _record_hash(line: bytes) -> Any:
    try:
        return json.loads(line)["record_hash"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
