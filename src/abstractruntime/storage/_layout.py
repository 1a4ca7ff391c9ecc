"""Names of everything in a store directory; no other module builds them.

Rules:
1. An id enters a file name only after `check_id`: letters, digits, `_` and `-`, at most 128.
2. Sub-directories are created by whoever first writes into them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from abstractruntime.errors import UsageError

STORE_FORMAT = "art-store/1"

_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_LEDGER = re.compile(r"ledger_([A-Za-z0-9_-]{1,128})\.jsonl")


def check_id(value: str, kind: str = "run") -> str:
    """Give `value` back when it can stand in a file name.

    Raises:
        UsageError: it cannot.
    """
    if _ID.fullmatch(value):
        return value
    raise UsageError(
        f"{kind} id {value!r} is not 1 to 128 letters, digits, '_' or '-'",
        hint="see the ids of this store: art runs",
        argument=f"{kind}_id",
    )


def run_id_of_ledger(name: str) -> str | None:
    """Give the run id of a ledger's file name; None for other files."""
    match = _LEDGER.fullmatch(name)
    return match.group(1) if match else None


@dataclass(frozen=True, slots=True)
class Layout:
    """The names below one store directory."""

    root: str

    @property
    def store_file(self) -> str:
        return f"{self.root}/store.json"

    @property
    def locks(self) -> str:
        return f"{self.root}/locks"

    @property
    def store_lock(self) -> str:
        return f"{self.root}/locks/store.lock"

    @property
    def quarantine(self) -> str:
        return f"{self.root}/quarantine"

    @property
    def inboxes(self) -> str:
        return f"{self.root}/inbox"

    @property
    def blobs(self) -> str:
        return f"{self.root}/artifacts/blobs"

    @property
    def index(self) -> str:
        return f"{self.root}/index.sqlite"

    def ledger(self, run_id: str) -> str:
        return f"{self.root}/ledger_{check_id(run_id)}.jsonl"

    def checkpoint(self, run_id: str) -> str:
        return f"{self.root}/run_{check_id(run_id)}.json"

    def heads(self, run_id: str) -> str:
        return f"{self.root}/heads_{check_id(run_id)}.jsonl"

    def run_lock(self, run_id: str) -> str:
        return f"{self.root}/locks/run_{check_id(run_id)}.lock"

    def inbox(self, run_id: str) -> str:
        return f"{self.root}/inbox/{check_id(run_id)}"

    def command(self, run_id: str, ulid: str) -> str:
        return f"{self.inbox(run_id)}/{ulid}.json"

    def blob(self, digest: str) -> str:
        return f"{self.blobs}/{check_id(digest, 'blob')}.bin"

    def quarantined(self, file_name: str, stamp: str) -> str:
        return f"{self.quarantine}/{file_name}.{stamp}"
