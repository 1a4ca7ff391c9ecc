"""Names of everything in a store directory; no other module builds them.

Rules:
1. An id enters a file name only after `check_id`: letters, digits, `_` and `-`, at most 128.
   Names of files that 0.4.x may have left are also given for the ids that it allowed: those
   that are one part of a path. Runs with such an id are read, never written.
2. Sub-directories are created by whoever first writes into them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from abstractruntime.errors import UsageError

STORE_FORMAT = "art-store/1"

_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_OLD_ID = re.compile(r"[^/\x00]{1,200}")
_LEDGER = re.compile(r"ledger_([A-Za-z0-9_-]{1,128})\.jsonl")
_RUN_FILE = re.compile(r"ledger_([^/\x00]{1,200})\.jsonl|run_([^/\x00]{1,200})\.json")
_CHECKPOINT = re.compile(r"run_([^/\x00]{1,200})\.json")


def check_id(value: str, kind: str = "run") -> str:
    """Give `value` back when it can stand in a file name.

    Raises:
        UsageError: it cannot.
    """
    if _ID.fullmatch(value):
        return value
    raise UsageError(
        f"{kind} id {value!r} is not 1 to 128 letters, digits, '_' or '-'",
        hint="see the ids of this store: art runs; with any other id, a run of 0.4.x is only read",
        argument=f"{kind}_id",
    )


def _check_old_id(value: str) -> str:
    return value if _OLD_ID.fullmatch(value) else check_id(value)


def run_ids(names: Iterable[str]) -> set[str]:
    """Give the ids of the runs that have a ledger or a checkpoint, those of 0.4.x included."""
    found = map(_RUN_FILE.fullmatch, names)
    return {match.group(1) or match.group(2) for match in found if match}


def run_id_of_ledger(name: str) -> str | None:
    """Give the run id of a ledger's file name; None for other files."""
    match = _LEDGER.fullmatch(name)
    return match.group(1) if match else None


def run_id_of_checkpoint(name: str) -> str | None:
    """Give the run id of a checkpoint's file name, those of 0.4.x included; None for other files."""
    match = _CHECKPOINT.fullmatch(name)
    return match.group(1) if match else None


def is_id(value: str) -> bool:
    """Tell whether `check_id` accepts a value."""
    return _ID.fullmatch(value) is not None


def is_readable_id(value: str) -> bool:
    """Tell whether files of a run with this id can exist."""
    return _OLD_ID.fullmatch(value) is not None


class Layout:
    """The names below one store directory."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.store_file = f"{root}/store.json"
        self.index = f"{root}/index.sqlite"
        self.locks = f"{root}/locks"
        self.store_lock = f"{self.locks}/store.lock"
        self.serve_lock = f"{self.locks}/serve.lock"
        self.quarantine = f"{root}/quarantine"
        self.inboxes = f"{root}/inbox"
        self.artifacts = f"{root}/artifacts"
        self.blobs = f"{self.artifacts}/blobs"
        self.refs = f"{self.artifacts}/refs"
        self.bundles = f"{root}/bundles"
        self.snapshots = f"{root}/snapshots"
        self.tombstones = f"{root}/tombstones"
        self.originals = f"{root}/imported"

    def fixed(self) -> tuple[str, ...]:
        """Give the names that no id is part of."""
        databases = (f"{self.index}{suffix}" for suffix in ("", "-journal", "-wal", "-shm"))
        return (
            self.store_file, *databases, self.locks, self.store_lock, self.serve_lock,
            self.quarantine, self.inboxes, self.artifacts, self.blobs, self.refs, self.bundles,
            self.snapshots, self.tombstones, self.originals,
        )  # fmt: skip

    def original(self, run_id: str) -> str:
        return f"{self.originals}/run_{check_id(run_id)}.json"

    def ledger(self, run_id: str) -> str:
        return f"{self.root}/ledger_{_check_old_id(run_id)}.jsonl"

    def ledgers(self, known: Iterable[str]) -> list[str]:
        """Give the ledgers of many runs of this store, whose ids came from names of files."""
        before = f"{self.root}/ledger_"
        return [f"{before}{run_id}.jsonl" for run_id in known]

    def checkpoint(self, run_id: str) -> str:
        return f"{self.root}/run_{_check_old_id(run_id)}.json"

    def heads(self, run_id: str) -> str:
        return f"{self.root}/heads_{_check_old_id(run_id)}.jsonl"

    def run_lock(self, run_id: str) -> str:
        return f"{self.root}/locks/run_{_check_old_id(run_id)}.lock"

    def inbox(self, run_id: str) -> str:
        return f"{self.root}/inbox/{check_id(run_id)}"

    def command(self, run_id: str, ulid: str) -> str:
        return f"{self.inbox(run_id)}/{ulid}.json"

    def blob(self, digest: str) -> str:
        return f"{self.blobs}/{check_id(digest, 'blob')}.bin"

    def bundle(self, digest: str) -> str:
        return f"{self.bundles}/{digest}.flowbundle"

    def tombstone(self, run_id: str) -> str:
        return f"{self.tombstones}/{check_id(run_id)}.json"

    def set_aside(self, run_id: str, command: str = "") -> str:
        """Give what the file of a command is called in the quarantine, or how all of a run begin."""
        return f"inbox_{check_id(run_id)}.{command}"

    def quarantined(self, file_name: str, stamp: str) -> str:
        return f"{self.quarantine}/{file_name}.{stamp}"
