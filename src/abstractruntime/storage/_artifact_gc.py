"""Removing blobs that nothing names.

Rules:
1. What names blobs: artifact metadata, the ledgers, checkpoints and snapshots of the
   directory, what was set aside in quarantine, and the blobs that these name.
2. When anything of this cannot be read, nothing is removed.
3. The store lock is held from reading the metadata to the last removal, so no artifact is
   being stored meanwhile. Runs write without it; a grace period stands in for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from abstractruntime.errors import StoreError, UsageError
from abstractruntime.storage._artifact_files import ArtifactFiles
from abstractruntime.storage._files.fs import FileInfo
from abstractruntime.storage._store.blobs import ASIDE

# A user's own key is written `$$blob`; reading it as a name as well only spares a blob.
_NAME = re.compile(rb'\$blob"\s*:\s*"([0-9a-f]{64})"')
_LONGEST_NAME = 256
_BLOCK = 1 << 20
_RUN_FILE = re.compile(r"ledger_[^/]+\.jsonl|run_[^/]+\.json|snapshot_[^/]+\.json")
# Runs refresh a blob that they name again before it is this old.
_GRACE_BESIDE_RUNS_S = 3600.0


def collect_garbage(
    store: ArtifactFiles,
    named_by_artifacts: Callable[[], set[str]],
    *,
    dry_run: bool,
    grace_s: float | None,
    now_s: float,
) -> dict[str, Any]:
    """Remove, or only count, the blobs that nothing names; gives the report of 0.4.x."""
    grace_s = _grace(store, grace_s)
    named_by_runs = _named_by_runs(store)
    with store.lock.held():
        blobs = store.blobs()
        named = named_by_runs | named_by_artifacts()
        youngest_ns = (now_s - grace_s) * 1e9
        garbage = [
            (blob_id, info)
            for blob_id, info in blobs
            if blob_id not in named and (not grace_s or info.modified_ns < youngest_ns)
        ]
        errors = [] if dry_run else list(_remove(store, garbage))
    failed = {error["blob_id"] for error in errors}
    removed = [info for blob_id, info in garbage if blob_id not in failed]
    return {
        "dry_run": dry_run,
        "blobs_total": len(blobs),
        "blobs_referenced": sum(blob_id in named for blob_id, _ in blobs),
        "blobs_deleted": len(removed),
        "bytes_reclaimed": sum(info.size for info in removed),
        "errors": errors,
    }


def _grace(store: ArtifactFiles, grace_s: float | None) -> float:
    least = 0.0
    if store.files.info(store.layout.store_file) is not None:
        least = _GRACE_BESIDE_RUNS_S
    if grace_s is not None and grace_s < least:
        raise UsageError(
            f"grace period of {grace_s:g} s is too short: what runs are just writing could go",
            hint=f"use {least:g} s or more",
            argument="grace_s",
        )
    return least if grace_s is None else grace_s


def _remove(store: ArtifactFiles, garbage: list[tuple[str, FileInfo]]) -> Iterator[dict[str, str]]:
    for blob_id, info in garbage:
        try:
            store.files.remove(f"{store.layout.blobs}/{info.name}")
        except StoreError as error:
            yield {"blob_id": blob_id, "error": str(error)}


def _named_by_runs(store: ArtifactFiles) -> set[str]:
    """Give every blob that a run names, directly or by another blob."""
    by_runs: set[str] = set()
    waiting = {name for path in _run_files(store) for name in _names_in(store, path)}
    while waiting:
        blob_id = waiting.pop()
        by_runs.add(blob_id)
        path = store.layout.blob(blob_id)
        for place in (path, path + ASIDE):
            waiting |= set(_names_in(store, place)) - by_runs
    return by_runs


def _run_files(store: ArtifactFiles) -> Iterator[str]:
    layout = store.layout
    for name in store.files.names(layout.root):
        if _RUN_FILE.fullmatch(name):
            yield f"{layout.root}/{name}"
    for directory in (layout.snapshots, layout.quarantine):
        for name in store.files.names(directory):
            yield f"{directory}/{name}"


def _names_in(store: ArtifactFiles, path: str) -> Iterator[str]:
    """Give the blobs that a file names, reading it in blocks that overlap."""
    offset, rest = 0, b""
    while block := store.files.read(path, offset, _BLOCK):
        offset += len(block)
        window = rest + block
        yield from (match.decode() for match in _NAME.findall(window))
        rest = window[-_LONGEST_NAME:]
