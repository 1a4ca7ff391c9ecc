"""The state of a run as its files tell it: checkpoint plus tail, or the whole ledger.

Rules:
1. The ledger is the truth. A checkpoint that is not readable, or names a record that the
   ledger does not hold at that place, is ignored and the ledger is folded from its start.
2. A ledger shorter than a checkpoint or a signed head of this run is data loss or
   tampering; nothing is changed then.
3. Reading changes nothing: a torn tail is left out and reported.
4. A run of 0.4.x that was not imported yet is read from its own checkpoint; one that was is
   folded from the record that imported it.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from abstractruntime._json import JsonObject
from abstractruntime.core.models import RunState, StepRecord
from abstractruntime.errors import ChainBroken, HeadMismatch, NotFound
from abstractruntime.storage._files.jsonl import Line, Tail, last_line, scan_lines
from abstractruntime.storage._store.blobs import Blobs
from abstractruntime.storage._store.header import is_terminal, read_fields, run_from
from abstractruntime.storage._store.legacy import LegacyRun, LegacyRuns
from abstractruntime.storage._store.record_lines import Chain, is_status_record, stored_result_of
from abstractruntime.storage._store.shadow import fold
from abstractruntime.storage.large_values import MARK

if TYPE_CHECKING:
    from abstractruntime.storage._files.fs import StoreFiles
    from abstractruntime.storage._files.layout import Layout

CHECKPOINT_FORMAT = 1
REMEMBERED_COMMANDS = 64


@dataclass(slots=True)
class Replay:
    """A run while its records are applied one after the other."""

    chain: Chain
    header: JsonObject = field(default_factory=dict)
    state: JsonObject = field(default_factory=dict)
    epoch: int = 0
    occurrence: int = 0
    pending: JsonObject | None = None
    pending_at: tuple[int, int] | None = None
    commands: deque[str] = field(default_factory=lambda: deque(maxlen=REMEMBERED_COMMANDS))
    has_status_record: bool = False
    is_legacy: bool = False
    checkpoint_size: int = 0
    checkpoint_bytes: int = 0
    tail: Tail = field(default_factory=Tail)

    @property
    def is_closed(self) -> bool:
        """Whether nothing is missing at the end of a finished run."""
        return not is_terminal(self.header) or self.has_status_record

    def apply(self, record: JsonObject, line: Line) -> None:
        """Apply one record whose references are resolved."""
        commit = record.get("commit")
        if commit is None:
            self.has_status_record = self.has_status_record or is_status_record(record)
            return
        fields = read_fields(commit)
        self.header.update(fields)
        if "status" in fields:
            self.has_status_record = False
        fold(self.state, commit, stored_result_of(record))
        self.epoch = commit.get("epoch", self.epoch)
        self.commands.extend(commit.get("cmd", ()))
        plan = commit.get("plan")
        if plan is not None:
            self.occurrence = max(self.occurrence, plan.get("occ", -1) + 1)
        self._track_pending(record, line, has_plan=plan is not None)

    def _track_pending(self, record: JsonObject, line: Line, *, has_plan: bool) -> None:
        if opens_attempt(record["status"], has_plan=has_plan):
            self.pending, self.pending_at = record, (line.offset, len(line.data))
        elif self.pending is not None and record["step_id"] == self.pending["step_id"]:
            self.pending = self.pending_at = None
        if is_terminal(self.header):
            self.pending = self.pending_at = None

    def run(self) -> RunState:
        return run_from(self.header, self.state)

    def pending_record(self) -> StepRecord | None:
        return StepRecord.from_dict(self.pending) if self.pending is not None else None


def opens_attempt(status: str, *, has_plan: bool) -> bool:
    """Tell whether a record leaves an effect to be performed: STARTED, or failed with tries left."""
    return status == "started" or (status == "failed" and has_plan)


class Recovery:
    """Reads the runs of one store; changes nothing."""

    def __init__(self, files: StoreFiles, layout: Layout, blobs: Blobs) -> None:
        self._files = files
        self._layout = layout
        self._blobs = blobs
        self.legacy = LegacyRuns(files, layout)

    def load(self, run_id: str, *, from_start: bool = False) -> Replay:
        """Rebuild a run; `from_start` takes nothing from a checkpoint.

        Raises:
            NotFound: no committed record of it exists.
            ChainBroken: a committed line contradicts the one before it.
            HeadMismatch: the ledger is shorter than a checkpoint or signed head says.
            IntegrityError: an offloaded value is missing or altered.
        """
        path = self._layout.ledger(run_id)
        checkpoint = self._read_checkpoint(run_id)
        is_old = self.legacy.starts_here(run_id) if checkpoint is None else None
        if is_old and (old := self.legacy.read(run_id)):
            return _replay_of(old)
        promised = self._promised(run_id, checkpoint)
        info = self._files.info(path)
        if info is None:
            self._require_size(run_id, 0, promised)
            raise self._not_found(run_id)
        replay = None
        if checkpoint is not None and not from_start:
            replay = self._from_checkpoint(run_id, path, checkpoint)
        replay = replay or self._from_start(run_id, is_old=is_old)
        replay.tail.committed = replay.tail.end = replay.checkpoint_size
        if info.size != replay.checkpoint_size:
            self._fold_tail(replay, path, promised)
        self._require_size(run_id, replay.tail.committed, promised)
        if replay.chain.seq == 0:
            # All there is may be half of the line that was to import a run of 0.4.x.
            old = self.legacy.read(run_id) if checkpoint is None else None
            if old is None:
                raise self._not_found(run_id)
            return _replay_of(old)
        return replay

    def _from_start(self, run_id: str, *, is_old: bool | None) -> Replay:
        """Give where folding starts; `is_old` None when nobody has looked at the ledger yet."""
        if not (self.legacy.starts_here(run_id) if is_old is None else is_old):
            return Replay(Chain(run_id))
        prefix = self.legacy.imported_prefix(run_id)
        return Replay(Chain(run_id, prefix.records, prefix.head), checkpoint_size=prefix.bytes)

    def _fold_tail(self, replay: Replay, path: str, promised: int) -> None:
        try:
            for line in scan_lines(
                self._files, path, offset=replay.checkpoint_size, tail=replay.tail
            ):
                record = replay.chain.follow(line.data, line.offset)
                if MARK in line.data:
                    record = self.resolve(record)
                self._apply(replay, record, line)
        except ChainBroken as error:
            error.details["promised_bytes"] = promised
            raise

    @staticmethod
    def _apply(replay: Replay, record: JsonObject, line: Line) -> None:
        try:
            replay.apply(record, line)
        except (KeyError, IndexError, ValueError, TypeError, AttributeError) as cause:
            raise ChainBroken(
                f"ledger of run {replay.chain.run_id!r}: the commit at byte {line.offset}"
                f" does not fit the state before it: {cause}",
                hint=f"art ledger verify {replay.chain.run_id}",
                run_id=replay.chain.run_id,
                offset=line.offset,
                line=replay.chain.seq,
            ) from cause

    def checkpoint_fault(self, run_id: str) -> Literal["missing", "invalid", "mismatch"] | None:
        """Say why the checkpoint of a run is not used; None when it is."""
        if self._files.info(self._layout.checkpoint(run_id)) is None:
            return "missing"
        checkpoint = self._read_checkpoint(run_id)
        if checkpoint is None:
            return "invalid"
        path = self._layout.ledger(run_id)
        return None if self._from_checkpoint(run_id, path, checkpoint) else "mismatch"

    def resolve(self, record: JsonObject) -> JsonObject:
        """Give a record whose offloaded values are back in place.

        Raises:
            IntegrityError: a blob is missing or altered.
        """
        names = ("effect", "result", "commit")
        return {k: self._blobs.unpack(v) if k in names else v for k, v in record.items()}

    def _read_checkpoint(self, run_id: str) -> JsonObject | None:
        data = self._files.read(self._layout.checkpoint(run_id))
        if data is None:
            return None
        try:
            checkpoint = json.loads(data)
            meta = checkpoint["_meta"]
            ours = meta["format"] == CHECKPOINT_FORMAT and checkpoint["run_id"] == run_id
            known = isinstance(checkpoint["vars"], dict) and meta["size"] > 0 and meta["seq"] >= 0
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
        checkpoint["_bytes"] = len(data)
        return checkpoint if ours and known else None

    def _from_checkpoint(self, run_id: str, path: str, checkpoint: JsonObject) -> Replay | None:
        meta = checkpoint["_meta"]
        line = last_line(self._files, path, meta["size"])
        if line is None:
            return None
        chain = Chain(run_id, meta["seq"])
        try:
            chain.follow(line.data, line.offset, linked=False)
            if chain.head != meta["head"]:
                return None
            return self._restore(chain, path, checkpoint, meta)
        except (ChainBroken, ValueError, KeyError, TypeError):
            return None

    def _restore(self, chain: Chain, path: str, checkpoint: JsonObject, meta: Any) -> Replay:
        header = {k: v for k, v in checkpoint.items() if k not in ("vars", "_meta", "_bytes")}
        run_from(header, {})
        replay = Replay(
            chain,
            header=header,
            state=checkpoint["vars"],
            epoch=meta["epoch"],
            occurrence=meta["occ"],
            checkpoint_size=meta["size"],
            checkpoint_bytes=checkpoint["_bytes"],
            has_status_record=is_terminal(header),
        )
        replay.commands.extend(meta.get("cmd", ()))
        if meta["pending"] is not None:
            offset, size = meta["pending"]["offset"], meta["pending"]["size"]
            data = self._files.read(path, offset, size) or b""
            replay.pending = self.resolve(json.loads(data))
            replay.pending_at = (offset, size)
        return replay

    def _promised(self, run_id: str, checkpoint: JsonObject | None) -> int:
        """Give the ledger length in bytes that a checkpoint or signed head vouches for."""
        promised = checkpoint["_meta"]["size"] if checkpoint else 0
        heads = self._layout.heads(run_id)
        info = self._files.info(heads)
        if info is None or not info.size:
            return int(promised)
        return max(int(promised), signed_offset(self._files, heads, info.size))

    @staticmethod
    def _require_size(run_id: str, size: int, promised: int) -> None:
        if size < promised:
            raise HeadMismatch(
                f"data loss or tampering: the ledger of run {run_id!r} has {size} bytes,"
                f" but {promised} bytes were checkpointed or signed",
                hint="restore the ledger from a backup, or inspect it: art ledger verify " + run_id,
                run_id=run_id,
                size=size,
                signed_size=promised,
            )

    def _not_found(self, run_id: str) -> NotFound:
        return NotFound(
            f"no run {run_id!r} in this store", hint="list them: art runs", kind="run", id=run_id
        )


def _replay_of(old: LegacyRun) -> Replay:
    return Replay(
        Chain(old.run.run_id),
        header=old.header,
        state=old.run.vars,
        is_legacy=True,
        tail=old.tail,
    )


def signed_offset(files: StoreFiles, path: str, size: int) -> int:
    """Give the ledger length that the last readable line of a heads file covers; 0 without one."""
    covered = 0
    for line in scan_lines(files, path, offset=_tail_start(files, path, size), tail=Tail()):
        try:
            covered = max(covered, int(json.loads(line.data)["offset"]))
        except (ValueError, KeyError, TypeError):
            continue
    return covered


def _tail_start(files: StoreFiles, path: str, size: int) -> int:
    """Give the start of a line a few lines before the end."""
    start = max(0, size - 8192)
    if start == 0:
        return 0
    data = files.read(path, start) or b""
    return start + data.find(b"\n") + 1
