"""Snapshots of the runs of a directory store: named copies that a run can be put back to.

They lie in `snapshots/` below the store, one JSON file each, and name the record after
which the run was in that state.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from abstractruntime.core.models import RunState
from abstractruntime.core.records import RecordFactory
from abstractruntime.errors import AbstractRuntimeError, IntegrityError, NotFound, UsageError
from abstractruntime.storage._files.jsonl import Line
from abstractruntime.storage._store.host_edits import commit_state, isolated_run
from abstractruntime.storage._store.image import RunImage
from abstractruntime.storage._store.recovery import Replay
from abstractruntime.storage.large_values import holds_references
from abstractruntime.storage.snapshots import JsonSnapshotStore, Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from abstractruntime.core.ports import StoredRecord
    from abstractruntime.core.store import Damage
    from abstractruntime.storage._store.engine import DirectoryEngine

RESTORE = "restore_snapshot"

# Beside the fields of the run, as in a checkpoint; whoever reads only the run ignores it.
_META = "_meta"
_NAME = re.compile(r"snapshot_(.*)\.json", re.DOTALL)


class DirectorySnapshots:
    """The snapshots of one store; see `core.store.RunSnapshots`."""

    def __init__(self, engine: DirectoryEngine) -> None:
        self._engine = engine
        self._directory = engine.services.layout.snapshots
        self.stored = JsonSnapshotStore(self._directory)

    def create(
        self,
        run_id: str,
        *,
        name: str,
        description: str | None = None,
        tags: list[str] | None = None,
        step: int | None = None,
    ) -> Snapshot:
        run, record = state_at(self._engine, run_id, step)
        snapshot = Snapshot.from_run(
            run=run,
            name=name,
            description=description,
            tags=tags,
            step_id=str(record.record["step_id"]),
        )
        snapshot.snapshot_id = self._engine.services.ids.step_id()
        snapshot.run_state[_META] = {"seq": record.seq, "head": record.record["record_hash"]}
        self.stored.save(snapshot)
        return snapshot

    def restore(self, snapshot_id: str) -> RunState:
        """Put a waiting or finished run back to the state of a snapshot, by one `control` record.

        Nothing is executed. When the run goes on, it reuses what effects came to since the
        snapshot was taken, as long as their payloads are equal.
        """
        found = self._loaded(snapshot_id)
        state = isolated_run(_state_of(found))
        with contextlib.closing(self._engine.open(found.run_id)) as log:
            if log.run.status.value == "running":
                raise UsageError(
                    f"run {found.run_id!r} is running; only a waiting or finished run can be put back",
                    hint=f"cancel it first: art cancel {found.run_id}",
                    argument="snapshot",
                    run_id=found.run_id,
                )
            services = self._engine.services
            state.updated_at = services.clock.now_iso()
            commit_state(
                log,
                RecordFactory(services.clock, services.ids),
                state,
                reuse_after=_seq_of(self._engine, found),
                action=RESTORE,
                snapshot_id=found.snapshot_id,
            )
        return self._engine.peek(found.run_id)

    def damaged(self) -> Iterator[Damage]:
        """Give the ids of snapshots that cannot be read, each with what is wrong with it."""
        for name in sorted(self._engine.services.files.names(self._directory)):
            if match := _NAME.fullmatch(name):
                try:
                    self.stored.load(match.group(1))
                except AbstractRuntimeError as cause:
                    yield match.group(1), cause

    def list(
        self, *, run_id: str | None = None, tag: str | None = None, limit: int = 100
    ) -> list[Snapshot]:
        return self.stored.list(run_id=run_id, tag=tag, limit=limit)

    def _loaded(self, snapshot_id: str) -> Snapshot:
        found = self.stored.load(snapshot_id)
        if found is None:
            raise NotFound(
                f"no snapshot {snapshot_id!r} in this store",
                hint="list them: art snapshot list",
                kind="snapshot",
                id=snapshot_id,
            )
        return found


def state_at(
    engine: DirectoryEngine, run_id: str, step: int | None = None
) -> tuple[RunState, StoredRecord]:
    """Give a run as it was after a record, and that record; None means the last one.

    Reads the ledger from its start and checks its chain on the way.

    Raises:
        NotFound: no such run, or it has no such record.
        ChainBroken: a record does not follow from the one before it.
    """
    replay, last = Replay(RunImage(run_id)), None
    for last in engine.records(run_id):
        line = Line(last.offset, last.line)
        record = replay.image.check(line)
        if holds_references(last.line):
            record = engine.resolve(record)
        replay.apply(record, line)
        if last.seq == step:
            break
    if last is None or last.seq != (last.seq if step is None else step):
        raise NotFound(
            f"run {run_id!r} has no record {step}",
            hint=f"see its records: art ledger show {run_id}",
            kind="record",
            id=step,
            run_id=run_id,
        )
    return replay.run(), last


def _state_of(snapshot: Snapshot) -> RunState:
    try:
        run = RunState.from_dict(snapshot.run_state)
    except (KeyError, ValueError, TypeError, AttributeError) as cause:
        raise IntegrityError(
            f"snapshot {snapshot.snapshot_id!r} does not hold the state of a run: {cause!r}",
            hint="take another one",
            snapshot_id=snapshot.snapshot_id,
        ) from cause
    if run.run_id == snapshot.run_id:
        return run
    raise IntegrityError(
        f"snapshot {snapshot.snapshot_id!r} of run {snapshot.run_id!r} holds run {run.run_id!r}",
        hint="take another one",
        snapshot_id=snapshot.snapshot_id,
    )


def _seq_of(engine: DirectoryEngine, snapshot: Snapshot) -> int:
    """Give the ordinal of the record after which the snapshot was taken; -1 where unknown."""
    meta = snapshot.run_state.get(_META)
    seq, head = (meta.get("seq"), meta.get("head")) if isinstance(meta, dict) else (None, None)
    if not isinstance(seq, int):
        return -1
    stored = next(iter(engine.records(snapshot.run_id, after=seq - 1)), None)
    return seq if stored is not None and stored.record.get("record_hash") == head else -1
