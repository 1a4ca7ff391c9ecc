"""Snapshots of the runs of a directory store: named copies that a run can be put back to.

Rules:
1. They lie in `snapshots/` below the store, one JSON file each, and name the record after which
   the run was in that state.
2. A run is put back only to a state that its ledger leads to: the copy is compared with the
   ledger at the record that it names.
3. What people say of a snapshot is in no ledger. A digest over all of it shows a change, and no
   more than that.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from typing import TYPE_CHECKING

from abstractruntime._json import dump_line, mapping, normalise
from abstractruntime._text import shell_word
from abstractruntime.core.models import RunState
from abstractruntime.core.records import RecordFactory
from abstractruntime.errors import AbstractRuntimeError, IntegrityError, NotFound, UsageError
from abstractruntime.storage._files.jsonl import Line
from abstractruntime.storage._store.host_edits import commit_state, isolated_run, state_text
from abstractruntime.storage.large_values import holds_references
from abstractruntime.storage.snapshots import Snapshot, SnapshotFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from abstractruntime.core.ports import StoredRecord
    from abstractruntime.core.store import Damage
    from abstractruntime.storage._store.engine import DirectoryEngine

RESTORE = "restore_snapshot"

# Beside the fields of the run, as in a checkpoint; whoever reads only the run ignores it.
_META, _DIGEST = "_meta", "sha256"
_EVERY = 1_000_000_000
_NAME = re.compile(r"snapshot_(.*)\.json", re.DOTALL)


class DirectorySnapshots:
    """The snapshots of one store; see `core.store.RunSnapshots`."""

    def __init__(self, engine: DirectoryEngine) -> None:
        self._engine = engine
        self._directory = engine.services.layout.snapshots
        self.stored = SnapshotFiles(self._directory, engine.services.files)

    def create(
        self,
        run_id: str,
        *,
        name: str,
        description: str | None = None,
        tags: list[str] | None = None,
        step: int | None = None,
    ) -> Snapshot:
        self._engine.require_own(run_id)
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
        snapshot.run_state[_META][_DIGEST] = _digest(snapshot)
        self.stored.save(snapshot)
        return snapshot

    def restore(self, snapshot_id: str) -> RunState:
        """Put a waiting or finished run back to the state of a snapshot, by one `control` record.

        Nothing is executed. When the run goes on, it reuses what effects came to since the
        snapshot was taken, as long as their payloads are equal.
        """
        found = self._loaded(snapshot_id)
        state = isolated_run(_state_of(found))
        after = _require_recorded(self._engine, found, state)
        with contextlib.closing(self._engine.open(found.run_id)) as log:
            if log.run.status.value == "running":
                raise UsageError(
                    f"run {found.run_id!r} is running; only a waiting or finished run can be put back",
                    hint=f"cancel it first: art cancel {shell_word(found.run_id)}",
                    argument="snapshot",
                    run_id=found.run_id,
                )
            services = self._engine.services
            state.updated_at = services.clock.now_iso()
            commit_state(
                log,
                RecordFactory(services.clock, services.ids),
                state,
                reuse_after=after,
                action=RESTORE,
                snapshot_id=found.snapshot_id,
            )
        return self._engine.peek(found.run_id)

    def damaged(self) -> Iterator[Damage]:
        """Give the ids of snapshots that are not as they were saved, each with what is wrong with it."""
        for snapshot_id in self._ids():
            try:
                self._loaded(snapshot_id)
            except AbstractRuntimeError as cause:
                yield snapshot_id, cause

    def contradicted(
        self, is_asked: Callable[[str], bool] = lambda _: True
    ) -> Iterator[tuple[str, Damage]]:
        """Give run id and damage of the snapshots of runs that no record leads to; reads whole ledgers."""
        for snapshot_id in self._ids():
            try:
                found = self._loaded(snapshot_id)
            except AbstractRuntimeError:
                continue  # `damaged` has it
            if is_asked(found.run_id):
                try:
                    _require_recorded(self._engine, found, isolated_run(_state_of(found)))
                except AbstractRuntimeError as cause:
                    yield found.run_id, (snapshot_id, cause)

    def _ids(self) -> list[str]:
        names = sorted(self._engine.services.files.names(self._directory))
        return [match.group(1) for match in map(_NAME.fullmatch, names) if match]

    def list(
        self, *, run_id: str | None = None, tag: str | None = None, limit: int = 100
    ) -> list[Snapshot]:
        """Give the newest snapshots that are as they were saved and match every given filter."""
        found = self.stored.list(run_id=run_id, tag=tag, limit=_EVERY)
        return [snapshot for snapshot in found if _is_whole(snapshot)][: max(0, limit)]

    def _loaded(self, snapshot_id: str) -> Snapshot:
        found = self.stored.load(snapshot_id)
        if found is None:
            raise NotFound(
                f"no snapshot {snapshot_id!r} in this store",
                hint="list them: art snapshot list",
                kind="snapshot",
                id=snapshot_id,
            )
        if found.snapshot_id != snapshot_id or not _is_whole(found):
            raise IntegrityError(
                f"snapshot {snapshot_id!r} is not as it was saved",
                hint="take another one: art snapshot create",
                snapshot_id=snapshot_id,
            )
        return found


def _is_whole(snapshot: Snapshot) -> bool:
    """Tell whether a snapshot agrees with its own digest; one without is not as it was saved."""
    return mapping(snapshot.run_state.get(_META)).get(_DIGEST) == _digest(snapshot)


def _digest(snapshot: Snapshot) -> str:
    state = dict(snapshot.run_state)
    state[_META] = {k: v for k, v in mapping(state.get(_META)).items() if k != _DIGEST}
    # When it was last saved is stamped by whoever saves it, and shown to nobody.
    content = {**snapshot.to_dict(), "run_state": state, "updated_at": None}
    return hashlib.sha256(dump_line(normalise(content))).hexdigest()


def state_at(
    engine: DirectoryEngine, run_id: str, step: int | None = None
) -> tuple[RunState, StoredRecord]:
    """Give a run as it was after a record, and that record; None means the last one.

    Reads the ledger from its start and checks its chain on the way.

    Raises:
        NotFound: no such run, or it has no such record.
        ChainBroken: a record does not follow from the one before it.
    """
    run, last = None, None
    for run, last in _states(engine, run_id):  # noqa: B007 - the last one is the answer
        if last.seq == step:
            break
    if run is None or last is None or last.seq != (last.seq if step is None else step):
        raise NotFound(
            f"run {run_id!r} has no record {step}",
            hint=f"see its records: art ledger show {shell_word(run_id)}",
            kind="record",
            id=step,
            run_id=run_id,
        )
    return run(), last


def _states(
    engine: DirectoryEngine, run_id: str
) -> Iterator[tuple[Callable[[], RunState], StoredRecord]]:
    """Give each record that is folded, with what gives the run as it is then."""
    replay = engine.services.recovery.start_of(run_id)
    for stored in engine.records(run_id, after=replay.image.seq - 1):
        line = Line(stored.offset, stored.line)
        record = replay.image.check(line)
        if holds_references(stored.line):
            record = engine.resolve(record)
        replay.apply(record, line)
        yield replay.run, stored


def _require_recorded(engine: DirectoryEngine, snapshot: Snapshot, state: RunState) -> int:
    """Give the ordinal of the record that leads to the state of a snapshot.

    Raises:
        IntegrityError: there is none, or not where the snapshot says.
        NotFound: there is no such run.
    """
    wanted, meta = state_text(state), mapping(snapshot.run_state.get(_META))
    for run, stored in _states(engine, snapshot.run_id):
        place = stored.seq, stored.record.get("record_hash")
        if place == (meta.get("seq"), meta.get("head")) and state_text(run()) == wanted:
            return stored.seq
    raise IntegrityError(
        f"snapshot {snapshot.snapshot_id!r} does not match the ledger of run {snapshot.run_id!r}",
        hint="take another one: art snapshot create " + shell_word(snapshot.run_id) + " --at SEQ",
        snapshot_id=snapshot.snapshot_id,
        run_id=snapshot.run_id,
    )


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
