"""What is wrong with the files of a store, found without changing any of them.

Rules:
1. The ledger of a run is folded from its start here, whatever a checkpoint says, unless whoever asks
   wants less of it.
2. A damaged run is a finding, and stops no other.
3. A finding that repair can mend names the `step` which does it; any other says what a
   person can do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal

from abstractruntime._text import shell_word
from abstractruntime.core.models import RunState
from abstractruntime.core.ports import RunHeader, RunQuery
from abstractruntime.core.store import Fault, Level
from abstractruntime.errors import (
    AbstractRuntimeError,
    ChainBroken,
    HeadMismatch,
    IntegrityError,
    NotFound,
    Refused,
    UsageError,
)
from abstractruntime.storage._care.gc import plan_gc
from abstractruntime.storage._care.purge import altered_tombstones
from abstractruntime.storage._care.run_snapshots import DirectorySnapshots
from abstractruntime.storage._files.fs import file_name
from abstractruntime.storage._files.layout import is_id, run_ids

if TYPE_CHECKING:
    from abstractruntime.storage._store.engine import DirectoryEngine
    from abstractruntime.storage._store.recovery import Replay
    from abstractruntime.storage._store.services import Services

Step = Literal[
    "restore_store_file",
    "import",
    "cut_torn_tail",
    "close_run",
    "rebuild_checkpoint",
    "update_index",
    "set_commands_aside",
    "clear_inbox",
    "remove_temp_files",
    "release",
]
# A ledger that is shorter than this is folded as fast as a checkpoint is read.
_CHECKPOINT_WORTH_BYTES = 64 * 1024
_ORPHAN_AGE_S = 24 * 3600.0
_TEMP = ".tmp"


def findings_of_run(
    engine: DirectoryEngine, run_id: str, *, from_start: bool = True
) -> Iterator[Fault]:
    """Give everything that is wrong with one run, or what its checkpoint and what follows it show.

    Raises:
        NotFound: nothing of it is there.
    """
    services = engine.services
    if (lost := engine.lost) is not None:
        step: Step | None = "restore_store_file" if len(lost.details["named"]) == 1 else None
        yield Fault("store_file_lost", "error", run_id, str(lost), lost.hint, step)
    try:
        replay = services.recovery.load(run_id, from_start=from_start)
    except NotFound:
        if services.files.info(services.layout.ledger(run_id)) is None:
            raise
        message = "its first record was never completed, so it does not exist"
        yield Fault("unborn", "note", run_id, message, "start it again")
        return
    except AbstractRuntimeError as cause:
        yield _damage(run_id, cause)
        return
    yield from _tail(run_id, replay)
    if replay.is_legacy:
        yield _legacy(run_id)
    else:
        yield from _checkpoint(services, run_id, replay)
        yield from _ending(run_id, replay)
    yield from _index(engine, replay.run())
    yield from _inbox(services, run_id, replay)
    yield from _temp_files(services, run_id)
    if (reason := engine.set_aside(run_id)) is not None:
        yield Fault("quarantined", "warning", run_id, str(reason), reason.hint, "release")


def _damage(run_id: str, cause: AbstractRuntimeError) -> Fault:
    if isinstance(cause, ChainBroken):
        line, offset = cause.details.get("line"), cause.details.get("offset")
        hint = f"nothing is skipped; restore the ledger from a backup, or see it: art ledger verify {shell_word(run_id)}"
        return Fault("bad_line", "error", run_id, f"line {line} at byte {offset}: {cause}", hint)
    if isinstance(cause, HeadMismatch):
        return Fault("ledger_too_short", "error", run_id, str(cause), cause.hint)
    code = "damaged" if isinstance(cause, IntegrityError) else "unreadable"
    return Fault(code, "error", run_id, str(cause), cause.hint)


def _tail(run_id: str, replay: Replay) -> Iterator[Fault]:
    if torn := replay.tail.torn_bytes:
        message = (
            f"torn tail of {torn} bytes behind byte {replay.tail.committed}, never acknowledged"
        )
        hint = "the next write cuts it and keeps a copy"
        yield Fault("torn_tail", "note", run_id, message, hint, "cut_torn_tail")


def _legacy(run_id: str) -> Fault:
    message = "written by version 0.4.x and not imported yet"
    if is_id(run_id):
        return Fault("not_imported", "note", run_id, message, "the first write does it", "import")
    hint = "its id allows reading only; finish it with 0.4.x"
    return Fault("not_imported", "note", run_id, message, hint)


def _checkpoint(services: Services, run_id: str, replay: Replay) -> Iterator[Fault]:
    fault: str | None = services.recovery.checkpoint_fault(run_id)
    if fault is None and not replay.covered:
        stored = services.recovery.load(run_id)
        if (stored.image, stored.vars) != (replay.image, replay.vars):
            fault = "differs"
    if fault is None or (fault == "missing" and replay.tail.committed < _CHECKPOINT_WORTH_BYTES):
        return
    message, level = _CHECKPOINT_FAULTS[fault]
    hint = f"rebuild it from {replay.image.seq} records; the ledger is fine"
    yield Fault(f"checkpoint_{fault}", level, run_id, message, hint, "rebuild_checkpoint")


_CHECKPOINT_FAULTS: dict[str, tuple[str, Level]] = {
    "missing": ("its checkpoint is missing; opening it reads the whole ledger", "note"),
    "invalid": ("its checkpoint cannot be read", "warning"),
    "unfixed": ("its checkpoint is of a format that no record fixes, so it is not used", "note"),
    "mismatch": ("its checkpoint does not match the ledger, so it is not used", "error"),
    "differs": ("its checkpoint holds another state than the ledger leads to", "error"),
}


def _ending(run_id: str, replay: Replay) -> Iterator[Fault]:
    if not replay.image.is_closed:
        message = f"it is {replay.image.header['status']}, but the record that closes it is missing"
        yield Fault("not_closed", "note", run_id, message, "the next write adds it", "close_run")


def _index(engine: DirectoryEngine, run: RunState) -> Iterator[Fault]:
    rows = engine.find(RunQuery(id_prefix=run.run_id, limit=0))
    row = next((row for row in rows if row.run_id == run.run_id), None)
    if row != RunHeader.of(run):
        message = "the index of runs shows another state of it" if row else "the index lacks it"
        hint = "the index is only a cache; deleting it loses nothing"
        yield Fault("index_stale", "warning", run.run_id, message, hint, "update_index")


def _inbox(services: Services, run_id: str, replay: Replay) -> Iterator[Fault]:
    if not is_id(run_id):
        return
    waiting = services.inboxes.read(run_id)
    for name, why in services.inboxes.altered(waiting):
        message = f"command {name} is not what was posted: {why}"
        hint = "whoever drives the run next moves it to the quarantine; send it again"
        yield Fault("command_altered", "error", run_id, message, hint, "set_commands_aside")
    if waiting and replay.image.is_terminal:
        message = f"{len(waiting)} commands wait for it, but it has ended"
        yield Fault("inbox_stale", "note", run_id, message, None, "clear_inbox")


def temp_files(services: Services, run_id: str) -> list[str]:
    """Give the paths of what interrupted writes of a run left behind."""
    layout, files = services.layout, services.files
    starts = tuple(f"{file_name(p)}." for p in (layout.checkpoint(run_id), layout.heads(run_id)))
    found = []
    for directory in (layout.root, layout.originals):
        names = files.names(directory)
        found += [f"{directory}/{n}" for n in names if n.startswith(starts) and n.endswith(_TEMP)]
    if is_id(run_id):
        inbox = layout.inbox(run_id)
        found += [f"{inbox}/{name}" for name in files.names(inbox) if name.endswith(_TEMP)]
    return sorted(found)


def _temp_files(services: Services, run_id: str) -> Iterator[Fault]:
    if found := temp_files(services, run_id):
        message = f"{len(found)} files were left by interrupted writes"
        hint = "they are never read"
        yield Fault("temp_files", "note", run_id, message, hint, "remove_temp_files")


def findings_of_store(
    engine: DirectoryEngine, is_whole: Callable[[str], bool] = lambda _: True
) -> Iterator[Fault]:
    """Give everything that is wrong with a store, run by run, then what belongs to no run.

    Args:
        engine: The store.
        is_whole: Tells the runs whose ledgers are read from their start; what needs all of them
            is not looked for when one is not.
    """
    services = engine.services
    ids = sorted(run_ids(services.files.names(services.layout.root)))
    for run_id in ids:
        yield from findings_of_run(engine, run_id, from_start=is_whole(run_id))
    for run_id in services.inboxes.runs_with_commands():
        if run_id not in ids:
            message, hint = "commands wait for it, but there is no such run", "remove its inbox"
            yield Fault("inbox_orphan", "warning", run_id, message, hint)
    for owner, (_, cause) in DirectorySnapshots(engine).contradicted(is_whole):
        yield Fault("snapshot_mismatch", "error", owner, str(cause), cause.hint)
    for run_id in altered_tombstones(services):
        message = f"the tombstone of run {run_id} is not as it was written"
        hint = "believe nothing in it; the head may be kept elsewhere"
        yield Fault("tombstone_altered", "error", None, message, hint)
    if all(map(is_whole, ids)):
        yield from _orphans(engine)


def _orphans(engine: DirectoryEngine) -> Iterator[Fault]:
    now = engine.services.clock.now()
    try:
        items = plan_gc(engine, grace_s=_ORPHAN_AGE_S, now=now).items
    except (IntegrityError, Refused, UsageError):
        return  # while a run is damaged nobody can say what it needs
    count = sum(item.kind in ("artifact", "blob") for item in items)
    if count:
        message = f"{count} artifacts and blobs are needed by no run"
        hint = "garbage collection removes them"
        yield Fault("orphan_artifacts", "note", None, message, hint)
