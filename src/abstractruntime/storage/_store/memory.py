"""What an owned run log knows of its run; kept warm between owners of one process."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from abstractruntime.storage._store.header import run_from
from abstractruntime.storage._store.image import RunImage
from abstractruntime.storage._store.shadow import StateShadow, shadow_of

if TYPE_CHECKING:
    from abstractruntime._json import JsonObject
    from abstractruntime.core.models import RunState, StepRecord
    from abstractruntime.storage._files.jsonl import JsonlFile
    from abstractruntime.storage._store.checkpoint import DueCheckpoint
    from abstractruntime.storage._store.heads import HeadsFile
    from abstractruntime.storage._store.record_lines import EncodedRecord
    from abstractruntime.storage._store.recovery import Replay


@dataclass(slots=True)
class LogMemory:
    """The committed state of one run, and its open files; shares nothing with callers.

    `attempt` is the record of the pending attempt. Of the checkpoint, `covered` is how much of
    the ledger it covers and `checkpoint_length` how long its file is; `due` is the next one, while
    nobody has written it and the state is still the one that it holds. `is_name_unsynced` tells
    that the ledger's directory entry may not survive power loss; `is_mid_commit` that an append
    may be on disk of which this object knows nothing.
    """

    file: JsonlFile
    image: RunImage
    shadow: StateShadow = field(default_factory=StateShadow)
    attempt: StepRecord | None = None
    covered: int = 0
    checkpoint_length: int = 0
    due: DueCheckpoint | None = None
    recovered: JsonObject | None = None
    heads: HeadsFile | None = None
    is_name_unsynced: bool = True
    is_header_unindexed: bool = True
    plain_effect: JsonObject | None = None
    is_mid_commit: bool = False

    @classmethod
    def of(cls, replay: Replay, file: JsonlFile) -> LogMemory:
        """Remember what was read; a fresh run object is built from it for each owner."""
        return cls(
            file,
            replay.image,
            shadow_of(replay.vars),
            covered=replay.covered,
            checkpoint_length=replay.checkpoint_length,
            is_name_unsynced=not replay.covered,
            is_header_unindexed=replay.covered != file.size,
        )

    def close(self) -> None:
        self.file.close()
        if self.heads is not None:
            self.heads.close()

    @property
    def is_poisoned(self) -> bool:
        """Whether a sync failed, so that only the disk knows what was kept."""
        return self.file.is_poisoned or (self.heads is not None and self.heads.is_poisoned)

    def run(self) -> RunState:
        """Build the run as it was committed."""
        return run_from(self.image.header, self.shadow.state())

    def note(self, record: StepRecord, commit: JsonObject | None, encoded: EncodedRecord) -> None:
        """Take in the next record, whose line was appended."""
        image, offset = self.image, self.image.size
        image.advance(
            commit,
            status=record.status,
            step_id=record.step_id,
            key=record.idempotency_key,
            record_hash=encoded.record_hash,
            size=len(encoded.line),
        )
        image.beside += encoded.beside_bytes
        if image.pending is None:
            self.attempt = None
        elif image.pending.offset == offset:
            self.attempt = record
        if self.heads is not None:
            self.heads.add(encoded.line)
