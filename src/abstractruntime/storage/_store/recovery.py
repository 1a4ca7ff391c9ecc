"""The state of a run as its files tell it: checkpoint plus tail, or the whole ledger.

Rules:
1. The ledger is the truth. A checkpoint is used only if the record at its place fixes its
   content; else it is ignored and the ledger is folded from its start.
2. A ledger shorter than a checkpoint or a signed head of this run is data loss or
   tampering; nothing is changed then.
3. Reading changes nothing: a torn tail is left out and reported.
4. What was read for a look is kept for the next look or owner, unless it is large, as long
   as its ledger, checkpoint and heads are as they were; large values were compared with their
   digests then.
5. A run of 0.4.x that was not imported yet is read from its own checkpoint; one that was is
   folded from the record that imported it.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from abstractruntime._json import JsonObject, isolate
from abstractruntime._text import shell_word
from abstractruntime.core.models import RunState, StepRecord
from abstractruntime.core.ports import RunHeader
from abstractruntime.errors import ChainBroken, HeadMismatch, IntegrityError, NotFound
from abstractruntime.storage._files.fs import FileInfo
from abstractruntime.storage._files.jsonl import Line, Tail, last_line, scan_lines
from abstractruntime.storage._store.blobs import Blobs
from abstractruntime.storage._store.checkpoint import Checkpoint, parse_checkpoint
from abstractruntime.storage._store.fold import fold
from abstractruntime.storage._store.header import run_from
from abstractruntime.storage._store.heads_extent import heads_extent
from abstractruntime.storage._store.image import RunImage
from abstractruntime.storage._store.legacy import LegacyRun, LegacyRuns
from abstractruntime.storage._store.plain import dump_any
from abstractruntime.storage._store.record_lines import BESIDE, check_line, stored_result_of
from abstractruntime.storage._store.shared_texts import LARGE_BYTES
from abstractruntime.storage.large_values import MARK, MAX_STATE_WEIGHT, Reading, weight_of

if TYPE_CHECKING:
    from abstractruntime.storage._files.fs import StoreFiles
    from abstractruntime.storage._files.layout import Layout


CheckpointFault: TypeAlias = Literal["missing", "invalid", "unfixed", "mismatch"]
_Stamp: TypeAlias = tuple[FileInfo | None, ...]
_KEPT_RUNS = 8


@dataclass(slots=True)
class Replay:
    """A run while its records are applied one after the other.

    `covered` is how much of the ledger a checkpoint stands for, whose file is
    `checkpoint_length` long; both are 0 when the records were folded from the first.
    """

    image: RunImage
    vars: JsonObject = field(default_factory=dict)
    is_legacy: bool = False
    covered: int = 0
    checkpoint_length: int = 0
    tail: Tail = field(default_factory=Tail)

    def apply(self, record: JsonObject, line: Line) -> None:
        """Apply one record that was checked and whose references are resolved.

        Raises:
            ChainBroken: its commit does not fit the state.
        """
        image, commit = self.image, record.get("commit")
        try:
            if commit is not None:
                fold(self.vars, commit, stored_result_of(record))
            image.advance(
                commit,
                status=record["status"],
                step_id=record["step_id"],
                key=record.get("idempotency_key"),
                record_hash=record["record_hash"],
                size=len(line.data),
            )
        except (KeyError, IndexError, ValueError, TypeError, AttributeError) as cause:
            raise ChainBroken(
                f"ledger of run {image.run_id!r}: the commit at byte {line.offset}"
                f" does not fit the state before it: {cause}",
                hint=f"art ledger verify {shell_word(image.run_id)}",
                run_id=image.run_id,
                offset=line.offset,
                line=image.seq + 1,
            ) from cause

    def run(self) -> RunState:
        return run_from(self.image.header, self.vars)

    def require_run(self) -> None:
        """Refuse records whose commits are consistent, and lead to nothing that is a run.

        Raises:
            ChainBroken
        """
        if self.image.seq == 0:
            return
        try:
            run_from(self.image.header, {})
        except (KeyError, ValueError, TypeError, AttributeError) as cause:
            run_id = self.image.run_id
            raise ChainBroken(
                f"ledger of run {run_id!r}: its records do not lead to the state of a run: {cause!r}",
                hint=f"art ledger verify {shell_word(run_id)}",
                run_id=run_id,
                offset=self.image.size,
                line=self.image.seq,
            ) from cause


class Recovery:
    """Reads the runs of one store; changes nothing."""

    def __init__(self, files: StoreFiles, layout: Layout, blobs: Blobs) -> None:
        self._files = files
        self._layout = layout
        self._blobs = blobs
        self._kept: OrderedDict[str, tuple[_Stamp, Replay]] = OrderedDict()
        self.legacy = LegacyRuns(files, layout)

    def peek(self, run_id: str) -> RunState:
        """Read a run; the copy is the caller's. Raises as `load` does."""
        stamp = self._stamp(run_id)
        replay = self.load(run_id)
        if _is_large(replay.vars):
            # To keep it beside the copy would double what a look takes.
            return replay.run()
        run = run_from(replay.image.header, isolate(replay.vars))
        self._keep(run_id, stamp, replay)
        return run

    def header(self, run_id: str) -> tuple[RunHeader, int | None]:
        """Read the header of a run, and how long its ledger is; None for a run of 0.4.x."""
        stamp = self._stamp(run_id)
        replay = self.load(run_id)
        found = RunHeader.of(replay.run()), None if replay.is_legacy else replay.tail.end
        self._keep(run_id, stamp, replay)
        return found

    def _keep(self, run_id: str, stamp: _Stamp, replay: Replay) -> None:
        # Hazard: what is kept belongs to whoever opens the run next, perhaps in another thread.
        if not replay.is_legacy:
            self._kept[run_id] = stamp, replay
            if len(self._kept) > _KEPT_RUNS:
                self._kept.popitem(last=False)

    def _take_kept(self, run_id: str) -> Replay | None:
        stamp, replay = self._kept.pop(run_id, (None, None))
        return replay if replay is not None and stamp == self._stamp(run_id) else None

    def _stamp(self, run_id: str) -> _Stamp:
        """Give what differs after a file of a run changed; a blob is named by its content."""
        layout = self._layout
        files = layout.ledger(run_id), layout.checkpoint(run_id), layout.heads(run_id)
        return tuple(self._files.info(path) for path in files)

    def load(self, run_id: str, *, from_start: bool = False) -> Replay:
        """Rebuild a run; the replay is the caller's. `from_start` takes nothing from a checkpoint.

        Raises:
            NotFound: no committed record of it exists.
            ChainBroken: a committed line contradicts the one before it.
            HeadMismatch: the ledger is shorter than a checkpoint or signed head says.
            IntegrityError: an offloaded value is missing or altered.
        """
        kept = self._take_kept(run_id)
        if kept is not None and not from_start:
            return kept
        path = self._layout.ledger(run_id)
        checkpoint = self._read_checkpoint(run_id)
        is_old = self.legacy.starts_here(run_id) if checkpoint is None else None
        if is_old and (old := self.legacy.read(run_id)):
            return _replay_of(old)
        promised = self._promised(run_id, checkpoint)
        info = self._files.info(path)
        if info is None:
            self._require_size(run_id, 0, promised)
            raise no_run(run_id)
        replay = None
        if checkpoint is not None and not from_start:
            replay = self._from_checkpoint(run_id, path, checkpoint)
        replay = replay or self._from_start(run_id, is_old=is_old)
        replay.tail.committed = replay.tail.end = replay.image.size
        if info.size != replay.image.size:
            self._fold_tail(replay, path, promised)
        self._require_size(run_id, replay.tail.committed, promised)
        replay.require_run()
        if replay.image.seq == 0:
            # All there is may be half of the line that was to import a run of 0.4.x.
            old = self.legacy.read(run_id) if checkpoint is None else None
            if old is None:
                raise no_run(run_id)
            return _replay_of(old)
        return replay

    def start_of(self, run_id: str) -> Replay:
        """Give a replay in front of the first record that is folded."""
        return self._from_start(run_id, is_old=None)

    def _from_start(self, run_id: str, *, is_old: bool | None) -> Replay:
        """Give where folding starts; `is_old` None when nobody has looked at the ledger yet."""
        if not (self.legacy.starts_here(run_id) if is_old is None else is_old):
            return Replay(RunImage(run_id))
        old = self.legacy.imported_prefix(run_id)
        return Replay(RunImage(run_id, seq=old.records, head=old.head, size=old.bytes))

    def _fold_tail(self, replay: Replay, path: str, promised: int) -> None:
        made = 0
        try:
            for line in scan_lines(self._files, path, offset=replay.image.size, tail=replay.tail):
                record = replay.image.check(line)
                if MARK in line.data:
                    record = self.resolve(record)
                    made += weight_of(record.get("commit"))
                replay.apply(record, line)
                if made > MAX_STATE_WEIGHT:
                    made = _require_state(replay)
        except ChainBroken as error:
            error.details["promised_bytes"] = promised
            raise

    def attempt(self, run_id: str, image: RunImage) -> StepRecord | None:
        """Read the record of the pending attempt of an image."""
        if image.pending is None:
            return None
        _, offset, size = image.pending
        return StepRecord.from_dict(self._record_at(run_id, offset, size))

    def _record_at(self, run_id: str, offset: int, size: int) -> JsonObject:
        line = self._files.read(self._layout.ledger(run_id), offset, size)
        return self.resolve(json.loads(line or b""))

    def checkpoint_fault(self, run_id: str) -> CheckpointFault | None:
        """Say why the checkpoint of a run is not used; None when it is."""
        if self._files.info(self._layout.checkpoint(run_id)) is None:
            return "missing"
        checkpoint = self._read_checkpoint(run_id)
        if checkpoint is None:
            return "invalid"
        if checkpoint.digest is None:
            return "unfixed"
        path = self._layout.ledger(run_id)
        return None if self._from_checkpoint(run_id, path, checkpoint) else "mismatch"

    def resolve(self, record: JsonObject) -> JsonObject:
        """Give a record whose offloaded values are back in place.

        Raises:
            IntegrityError: a blob is missing or altered.
        """
        names = ("effect", "result", "commit")
        reading = Reading()
        try:
            return {
                k: self._blobs.unpack(v, reading) if k in names else v for k, v in record.items()
            }
        except IntegrityError as error:
            run_id, seq = record.get("run_id"), record.get("seq")
            raise IntegrityError(
                f"record {seq} of run {run_id!r}: {error}",
                hint=error.hint,
                **{**error.details, "run_id": run_id, "record": seq},
            ) from error

    def _read_checkpoint(self, run_id: str) -> Checkpoint | None:
        data = self._files.read(self._layout.checkpoint(run_id))
        checkpoint = parse_checkpoint(data) if data is not None else None
        return checkpoint if checkpoint is not None and checkpoint.is_of(run_id) else None

    def _from_checkpoint(self, run_id: str, path: str, checkpoint: Checkpoint) -> Replay | None:
        place = checkpoint.place
        line = last_line(self._files, path, place.size)
        if line is None:
            return None
        try:
            fixing = check_line(line, run_id=run_id, seq=place.seq)
            if not checkpoint.is_fixed_by(fixing):
                return None
            image = checkpoint.image()
            # What the fixing record itself put there was not known before it was written.
            image.beside = int(fixing["commit"].get(BESIDE, 0))
            run_from(image.header, {})
        except (ChainBroken, ValueError, KeyError, TypeError):
            return None
        variables, length = checkpoint.content["vars"], checkpoint.length
        return Replay(image, variables, covered=place.size, checkpoint_length=length)

    def _promised(self, run_id: str, checkpoint: Checkpoint | None) -> int:
        """Give the ledger length in bytes that a checkpoint or signed head vouches for."""
        promised = checkpoint.place.size if checkpoint else 0
        return max(promised, heads_extent(self._files, self._layout.heads(run_id)).bytes)

    @staticmethod
    def _require_size(run_id: str, size: int, promised: int) -> None:
        if size < promised:
            raise HeadMismatch(
                f"data loss or tampering: the ledger of run {run_id!r} has {size} bytes,"
                f" but {promised} bytes were checkpointed or signed",
                hint="restore the ledger from a backup, or inspect it: art ledger verify "
                + shell_word(run_id),
                run_id=run_id,
                size=size,
                signed_size=promised,
            )


def _require_state(replay: Replay) -> int:
    """Give how much the variables are; a few references can stand for any number of values."""
    weight = weight_of(replay.vars)
    if weight > MAX_STATE_WEIGHT:
        raise IntegrityError(
            f"the variables of run {replay.image.run_id!r} are more than {MAX_STATE_WEIGHT} values",
            hint="no run is written like that; do not trust where it came from",
            run_id=replay.image.run_id,
            limit=MAX_STATE_WEIGHT,
        )
    return weight


def _is_large(variables: JsonObject) -> bool:
    size = 0
    for value in variables.values():
        size += len(dump_any(value))
        if size > LARGE_BYTES:
            return True
    return False


def no_run(run_id: str) -> NotFound:
    """Give the error for a run of which nothing is there."""
    return NotFound(
        f"no run {run_id!r} in this store", hint="list them: art runs", kind="run", id=run_id
    )


def _replay_of(old: LegacyRun) -> Replay:
    image = RunImage(old.run.run_id, old.header)
    return Replay(image, old.run.vars, is_legacy=True, tail=old.tail)
