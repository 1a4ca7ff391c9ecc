"""What an owned run log knows of its run; kept warm between owners of one process."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from abstractruntime.core.models import StepRecord
from abstractruntime.storage._store.header import is_terminal
from abstractruntime.storage._store.plain import dump_any
from abstractruntime.storage._store.recovery import CHECKPOINT_FORMAT, REMEMBERED_COMMANDS
from abstractruntime.storage._store.shadow import StateShadow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from abstractruntime._json import JsonObject
    from abstractruntime.storage._files.jsonl import JsonlFile
    from abstractruntime.storage._store.heads import HeadsFile
    from abstractruntime.storage._store.record_lines import EncodedRecord
    from abstractruntime.storage._store.recovery import Replay

_BEFORE_VARS = ("run_id", "workflow_id", "status", "current_node")
_AFTER_VARS = (
    "waiting",
    "output",
    "error",
    "created_at",
    "updated_at",
    "actor_id",
    "session_id",
    "parent_run_id",
)


@dataclass(slots=True)
class LogMemory:
    """The committed state of one run and the end of its ledger; shares nothing with callers.

    `is_name_unsynced` tells that the ledger's directory entry may not survive power loss;
    `is_mid_commit` that an append may be on disk of which this object knows nothing.
    """

    file: JsonlFile
    header: JsonObject
    shadow: StateShadow = field(default_factory=StateShadow)
    seq: int = 0
    head: str | None = None
    epoch: int = 1
    occurrence: int = 0
    pending: StepRecord | None = None
    pending_at: tuple[int, int] | None = None
    last_line: tuple[int, int] | None = None
    commands: deque[str] = field(default_factory=lambda: deque(maxlen=REMEMBERED_COMMANDS))
    checkpoint_size: int = 0
    checkpoint_bytes: int = 0
    recovered: JsonObject | None = None
    heads: HeadsFile | None = None
    is_name_unsynced: bool = True
    is_header_unindexed: bool = True
    plain_effect: JsonObject | None = None
    is_mid_commit: bool = False

    @classmethod
    def from_replay(cls, replay: Replay, file: JsonlFile) -> LogMemory:
        """Remember what was read; a fresh run object is built from it for each owner."""
        memory = cls(
            file=file,
            header=replay.header,
            seq=replay.chain.seq,
            head=replay.chain.head,
            epoch=replay.epoch,
            occurrence=replay.occurrence,
            pending=replay.pending_record(),
            pending_at=replay.pending_at,
            commands=replay.commands,
            checkpoint_size=replay.checkpoint_size,
            checkpoint_bytes=replay.checkpoint_bytes,
            is_name_unsynced=not replay.checkpoint_size,
            is_header_unindexed=replay.checkpoint_size != file.size,
        )
        memory.shadow.accept(memory.shadow.compare(replay.state))
        return memory

    def close(self) -> None:
        self.file.close()
        if self.heads is not None:
            self.heads.close()

    @property
    def is_poisoned(self) -> bool:
        """Whether a sync failed, so that only the disk knows what was kept."""
        return self.file.is_poisoned or (self.heads is not None and self.heads.is_poisoned)

    @property
    def is_resting(self) -> bool:
        """Whether the run waits or is finished."""
        return self.header["status"] == "waiting" or is_terminal(self.header)

    def note_lines(self, lines: Sequence[EncodedRecord], start: int) -> None:
        """Take over lines that were appended at `start`; the first is the transaction's own."""
        self.seq += len(lines)
        self.head = lines[-1].record_hash
        self.last_line = (start, len(lines[0].line))
        if self.heads is not None:
            for encoded in lines:
                self.heads.add(encoded.line)


def checkpoint_bytes(memory: LogMemory) -> bytes:
    """Write the checkpoint of the committed state: the keys of `RunState` and `_meta`."""
    header, at = memory.header, memory.pending_at
    meta = {
        "format": CHECKPOINT_FORMAT,
        "seq": memory.seq - 1,
        "size": memory.file.size,
        "head": memory.head,
        "epoch": memory.epoch,
        "occ": memory.occurrence,
        "pending": at and {"offset": at[0], "size": at[1]},
        "cmd": list(memory.commands),
    }
    before = dump_any({name: header[name] for name in _BEFORE_VARS})
    listening = {"listening": header["listening"]} if header.get("listening") else {}
    after = dump_any({**{name: header[name] for name in _AFTER_VARS}, **listening, "_meta": meta})
    return before[:-1] + b',"vars":' + memory.shadow.to_json() + b"," + after[1:] + b"\n"
