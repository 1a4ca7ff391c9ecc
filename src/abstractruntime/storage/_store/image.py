"""One run as its ledger tells it, beside its variables.

Whoever commits a record and whoever reads it back from the disk advance the image by the
same function, so the two cannot differ. Variables are not in it: a log that is owned
remembers them as bytes (`StateShadow`), a replay folds them.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from abstractruntime.storage._store.header import apply_fields, is_terminal
from abstractruntime.storage._store.record_lines import BESIDE, check_line, is_status_key

if TYPE_CHECKING:
    from abstractruntime._json import JsonObject
    from abstractruntime.storage._files.jsonl import Line

REMEMBERED_COMMANDS = 64


class Attempt(NamedTuple):
    """An effect without outcome: its step, and where the record that repeats it stands, without LF."""

    step_id: str
    offset: int
    size: int


@dataclass(slots=True)
class RunImage:
    """What the first `size` bytes of a ledger say.

    `seq` is the number of the next record and `head` the hash it links to; `epoch` is that of
    the last owner who committed; `occurrence` is the ordinal of the next effect. `beside` is how
    many bytes the run has written beside its ledger.
    """

    run_id: str
    header: JsonObject = field(default_factory=dict)
    seq: int = 0
    head: str | None = None
    size: int = 0
    epoch: int = 0
    occurrence: int = 0
    pending: Attempt | None = None
    commands: deque[str] = field(default_factory=lambda: deque(maxlen=REMEMBERED_COMMANDS))
    has_status_record: bool = False
    beside: int = 0

    @property
    def is_terminal(self) -> bool:
        return is_terminal(self.header)

    @property
    def is_resting(self) -> bool:
        """Whether the run waits or is finished."""
        return self.header["status"] == "waiting" or self.is_terminal

    @property
    def is_closed(self) -> bool:
        """Whether nothing is missing at the end of a finished run."""
        return not self.is_terminal or self.has_status_record

    def copy(self) -> RunImage:
        """Give one that can be advanced on its own."""
        return replace(self, header=dict(self.header), commands=self.commands.copy())

    def check(self, line: Line) -> JsonObject:
        """Read the next line and check its number, its link and its hash; the image stays.

        Raises:
            ChainBroken: with the line's offset and number.
        """
        return check_line(line, run_id=self.run_id, seq=self.seq, prev_hash=self.head)

    def advance(
        self,
        commit: JsonObject | None,
        *,
        status: str,
        step_id: str,
        key: str | None,
        record_hash: str,
        size: int,
    ) -> None:
        """Take in the next record, which was checked or appended.

        Args:
            commit: Its commit, with offloaded values in place; a bare record has none.
            status, step_id, key, record_hash: Fields of the record; `key` is its idempotency key.
            size: How long its line is, without LF.

        Raises:
            KeyError, ValueError, TypeError, AttributeError: the commit does not fit.
        """
        if commit is None:
            self.has_status_record = self.has_status_record or is_status_key(key)
        else:
            self._apply(commit, status, step_id, size)
        self.seq += 1
        self.head = record_hash
        self.size += size + 1

    def _apply(self, commit: JsonObject, status: str, step_id: str, size: int) -> None:
        apply_fields(self.header, commit)
        if "status" in commit or "init" in commit:
            self.has_status_record = False
        self.epoch = commit.get("epoch", self.epoch)
        self.beside = int(commit.get(BESIDE, self.beside))
        if "cmd" in commit:
            self.commands.extend(commit["cmd"])
        plan = commit.get("plan")
        if plan is not None:
            self.occurrence = max(self.occurrence, plan.get("occ", -1) + 1)
        if status == "started" or (status == "failed" and plan is not None):
            # An effect to be performed: there was no outcome, or there are tries left.
            self.pending = Attempt(step_id, self.size, size)
        elif self.pending is not None and self.pending.step_id == step_id:
            self.pending = None
        if self.pending is not None and is_terminal(self.header):
            self.pending = None
