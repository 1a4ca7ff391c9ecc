"""Leases: at most one driver per run on a host.

A lease is an in-process claim on (real directory, run id) plus a file lock that the
operating system frees when its holder dies. The lock file is never unlinked: two processes
could then lock two different files of one name. Lock order is parent before child; nobody
else ever holds two leases. Asking for the owner takes neither claim nor lock.

The note in the lock file tells how the last lease ended. Whoever gives a run up says so there, and
so does whoever is told to end; where nobody did, and the machine has not started anew since, the
process died while it owned the run. Deaths count against the last progress of the run: attempts
that nobody finished are none. A run of which `MOST_DEATHS` processes died since is set aside:
whatever they died of would end the next one, too, and with it all other runs that it serves.
"""

from __future__ import annotations

import atexit
import functools
import os
import random
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from abstractruntime._json import JsonObject, dump_line
from abstractruntime._text import shell_word
from abstractruntime.core.store import Owner
from abstractruntime.errors import Busy, Quarantined
from abstractruntime.storage._files.fs import file_name
from abstractruntime.storage._files.jsonl import parse_object
from abstractruntime.storage._files.locks import boot_id
from abstractruntime.storage._store.progress import last_progress

if TYPE_CHECKING:
    from abstractruntime.core.ports import Clock
    from abstractruntime.storage._files.fs import FileLock, StoreFiles
    from abstractruntime.storage._files.layout import Layout

MOST_DEATHS = 3
_TOLD = "told_to_end"
_FIRST_PAUSE_S = 0.005
_LONGEST_PAUSE_S = 0.25

_claims_guard = threading.Lock()
_claims: dict[tuple[str, str], Lease] = {}
_told_to_end: set[int] = set()  # the process, once it was told; a child of it was not


@dataclass(slots=True, eq=False)
class Lease:
    """Ownership of one run, until `release`."""

    key: tuple[str, str]
    facts: JsonObject
    lock: FileLock | None = None
    is_held: bool = False
    is_lost: bool = False

    def release(self) -> None:
        if self.lock is not None:
            if self.is_held:
                self.note_end()
            self.lock.close()
            self.lock = None
        self.is_held = False
        with _claims_guard:
            if _claims.get(self.key) is self:
                del _claims[self.key]

    def note_end(self) -> None:
        """Leave word that this process did not die."""
        if self.lock is not None:
            self.lock.leave(dump_line({**self.facts, "ended": True}))

    def note_order(self) -> None:
        """Leave word that this process, which still owns the run, was told to end."""
        self.facts[_TOLD] = True
        if self.lock is not None:
            self.lock.leave(dump_line(self.facts))

    @property
    def deaths(self) -> int:
        return int(self.facts.get("deaths", 0))

    def abandon(self) -> None:
        """Give up in a forked child what its parent still owns."""
        self.is_lost = True
        if self.lock is not None:
            self.lock.abandon()
            self.lock = None


class Leases:
    """Hands out the leases of one store.

    Args:
        files: The store's file system.
        layout: The store's names.
        clock: Gives `since` and the pauses between tries.
        lock: False trusts the caller to be alone, on file systems without locks.
    """

    def __init__(
        self, files: StoreFiles, layout: Layout, clock: Clock, *, lock: bool = True
    ) -> None:
        self._files = files
        self._layout = layout
        self._clock = clock
        self._lock = lock
        self._directory = files.fs.real_path(layout.root)

    def acquire(self, run_id: str, *, wait_s: float = 0.0) -> Lease:
        """Own a run, waiting up to `wait_s` for its present owner.

        Raises:
            Busy: naming pid, host and since of the owner.
        """
        path = self._layout.run_lock(run_id)
        self._files.ensure_dir(self._layout.locks, durable=False)
        deadline = self._clock.monotonic() + wait_s
        pause = _FIRST_PAUSE_S
        while True:
            lease = self._try(run_id, path)
            if lease is not None:
                return lease
            left = deadline - self._clock.monotonic()
            if left <= 0:
                raise self._busy(run_id, path)
            self._clock.sleep(min(left, pause * random.uniform(0.5, 1.5)))
            pause = min(_LONGEST_PAUSE_S, pause * 2)

    def _try(self, run_id: str, path: str) -> Lease | None:
        key = (self._directory, run_id)
        lease = Lease(key, holder_facts(self._clock))
        with _claims_guard:
            if key in _claims:
                return None
            _claims[key] = lease
        if not self._lock:
            lease.is_held = True
            return lease
        try:
            lease.facts.update(self._deaths_before(run_id))
            lease.lock = self._files.lock(path, dump_line(lease.facts))
        except BaseException:
            lease.release()
            raise
        if lease.lock is None:
            lease.release()
            return None
        lease.is_held = True
        return lease

    def deaths(self, run_id: str) -> int:
        """Say how many processes died while they owned a run that went no further."""
        note = self._last_note(run_id)
        if note.get("ended") and not note.get("deaths"):
            return 0  # of nearly every run, and without a look at its ledger
        return int(self._deaths_before(run_id)["deaths"])

    def _deaths_before(self, run_id: str) -> dict[str, int]:
        """Count the deaths since the last progress, that of the last owner included.

        `size` is how long the ledger was then: only where somebody died is it looked into.
        """
        note, path = self._last_note(run_id), self._layout.ledger(run_id)
        known, size = note.get("deaths"), note.get("size")
        deaths = known if type(known) is int else 0
        if deaths and (type(size) is not int or last_progress(self._files, path) > size):
            deaths = 0
        info = self._files.info(path)
        deaths += self._has_died(run_id, note)
        return {"size": info.size if info is not None else 0, "deaths": deaths}

    def _has_died(self, run_id: str, note: JsonObject) -> bool:
        """Say whether the last owner left no word, and the machine did not stop under it."""
        return (
            "deaths" in note
            and not note.get("ended")
            and not note.get(_TOLD)
            and note.get("boot_id") == boot_id()
            # Whoever wrote it may be alive, and give the run up while we wait for it.
            and self.owner(run_id) is None
        )

    def _last_note(self, run_id: str) -> JsonObject:
        path = self._layout.run_lock(run_id)
        return (parse_object(self._files.read(path) or b"") or {}) if self._lock else {}

    def owner(self, run_id: str) -> Owner | None:
        """Say who owns a run; disturbs nobody who is just taking it."""
        mine = _claims.get((self._directory, run_id))
        if mine is not None and mine.is_held:
            return owner_in(mine.facts)
        note = self._files.lock_note(self._layout.run_lock(run_id)) if self._lock else None
        return None if note is None else read_owner(note)

    def _busy(self, run_id: str, path: str) -> Busy:
        # Whoever had it may have freed it by now; the note still tells who it was.
        owner = self.owner(run_id) or read_owner(self._files.read(path) or b"")
        hint = "wait for it, or repeat with a longer wait"
        return busy_with(owner, f"run {run_id!r} is owned", hint=hint, run_id=run_id)


def quarantined(run_id: str, deaths: int) -> Quarantined:
    """Give the error for a run that is set aside."""
    return Quarantined(
        f"run {run_id!r} is quarantined: {deaths} processes died while they drove it, and it got no further",
        hint=f"find out why, then release it: art repair {shell_word(run_id)} --apply",
        run_id=run_id,
        deaths=deaths,
    )


def busy_with(owner: Owner, what: str, *, hint: str, **details: str) -> Busy:
    """Give the error for what somebody else holds."""
    return Busy(
        f"{what} by process {owner.pid} on {owner.host!r} since {owner.since}",
        hint=hint,
        **details,
        pid=owner.pid,
        host=owner.host,
        since=owner.since,
    )


def holder_facts(clock: Clock) -> JsonObject:
    """Give what the note of a lock tells of this process."""
    told = {_TOLD: True} if os.getpid() in _told_to_end else {}
    return {**_process_facts(os.getpid()), "since": clock.now_iso(), **told}


def read_owner(note: bytes) -> Owner:
    """Give who a note names; an unreadable one names nobody."""
    return owner_in(parse_object(note) or {})


def owner_in(facts: JsonObject) -> Owner:
    return Owner(*(facts.get(name) for name in ("pid", "host", "since", "command")))


@functools.lru_cache(maxsize=2)
def _process_facts(pid: int) -> JsonObject:
    return {
        "pid": pid,
        "host": os.uname().nodename,
        "boot_id": boot_id(),
        "command": file_name(sys.argv[0]) if sys.argv else "",
    }


def expect_end() -> None:
    """Say that this process was told to end: however it does, its runs were not the cause."""
    _told_to_end.add(os.getpid())
    for lease in list(_claims.values()):
        lease.note_order()


def _note_ends() -> None:
    # A thread may own a run when the interpreter is asked to end, which is no death.
    for lease in list(_claims.values()):
        lease.note_end()


atexit.register(_note_ends)


def _abandon_all() -> None:
    global _claims_guard  # noqa: PLW0603 - another thread of the parent may have held it
    _claims_guard = threading.Lock()
    for lease in _claims.values():
        lease.abandon()
    _claims.clear()


os.register_at_fork(after_in_child=_abandon_all)
