"""`art snapshot`: named copies of a run that it can be put back to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from abstractruntime._json import JsonObject
from abstractruntime._text import shell_word
from abstractruntime.cli._lazy import uses_store
from abstractruntime.cli._options import RunArgument
from abstractruntime.cli._session import Session
from abstractruntime.cli._store import reading, resolve_run, run_document, writing
from abstractruntime.core.models import RunState
from abstractruntime.core.outcome import outcome_of
from abstractruntime.core.run_tree import RunTree
from abstractruntime.core.store import RunSnapshot, Store
from abstractruntime.errors import NotFound, UsageError

SNAPSHOTS_FORMAT = "art-snapshots/1"
_MOST = 100_000
_NEAR = 5


@uses_store
def create(
    session: Session,
    run: RunArgument,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="TEXT", help="Default: the outcome of the run now."),
    ] = None,
    description: Annotated[
        str | None, typer.Option("--description", metavar="TEXT", help="What it is for.")
    ] = None,
    tag: Annotated[
        list[str], typer.Option("--tag", metavar="TEXT", help="Mark it; repeatable.")
    ] = [],  # noqa: B006 - the parser makes a new list for each call
    step: Annotated[
        int | None, typer.Option("--at", metavar="SEQ", min=0, help="As it was after this record.")
    ] = None,
) -> int:
    """Keep a copy of a run as it is now, or as it was after a record.

    Children are runs of their own and are not in it.
    """
    with writing(session) as engine:
        run_id = resolve_run(engine, run)
        snapshot = engine.snapshots.create(
            run_id,
            name=name or outcome_of(engine.peek(run_id)).value,
            description=description,
            tags=tag,
            step=step,
        )
    _emit(session, [snapshot])
    session.out.note(
        f"  = hint: put the run back: art snapshot restore {shell_word(snapshot.snapshot_id)}"
    )
    return 0


@uses_store
def list_(
    session: Session,
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="Only those of this run.")
    ] = None,
    tag: Annotated[
        list[str], typer.Option("--tag", metavar="TEXT", help="Only those with it; repeatable.")
    ] = [],  # noqa: B006 - the parser makes a new list for each call
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, max=_MOST)] = 50,
) -> int:
    """List snapshots, the newest first."""
    with reading(session) as engine:
        run_id = resolve_run(engine, run) if run is not None else None
        listed = engine.snapshots.list(run_id=run_id, limit=_MOST if tag else limit)
        found = [one for one in listed if not tag or set(tag) & set(one.tags)][:limit]
        damaged = [snapshot_id for snapshot_id, _ in engine.health.snapshots()]
        if not found:
            _note_none(session, engine, run_id, tag)
    _emit(session, found)
    if damaged:
        session.out.note(f"damaged and left out: {', '.join(damaged)}; see: art doctor")
    return 0


@uses_store
def restore(
    session: Session,
    snapshot: Annotated[
        str, typer.Argument(metavar="SNAPSHOT", help="Id, or the unique beginning of one.")
    ],
) -> int:
    """Put a waiting or finished run back to a snapshot, by a record of its own.

    Nothing is executed and nothing is erased: the ledger keeps what happened since. What
    effects came to since is used again where they are asked the same.
    """
    with writing(session) as engine:
        state = engine.snapshots.restore(_resolve(engine, snapshot))
        document = run_document(engine, RunTree(engine, state.run_id))
    session.out.emit(
        document,
        text=lambda: session.out.table(("run", "outcome"), [(state.run_id, document["outcome"])]),
    )
    session.out.note(
        f"run {state.run_id} is as it was; see: art inspect {shell_word(state.run_id)}"
    )
    return 0


def _note_none(session: Session, engine: Store, run_id: str | None, tags: Sequence[str]) -> None:
    place = f"of run {run_id}" if run_id else f"in the store '{engine.address}'"
    marked = f" with tag {' or '.join(tags)}" if tags else ""
    session.out.note(f"no snapshots{marked} {place}")
    run = run_id or "RUN"
    hint = f"keep one: art snapshot create {shell_word(run)}"
    if tags:
        hint = "see all: art snapshot list"
    session.out.note(f"  = hint: {hint}")


def _resolve(engine: Store, text: str) -> str:
    """Give the id of the one snapshot that begins so.

    Raises:
        NotFound: no snapshot.
        UsageError: several snapshots begin like this, or the text is blank.
        DamagedSnapshotError: this is the id of one that cannot be read.
    """
    if not text.strip():
        raise UsageError(
            "the id of the snapshot is blank", hint="see: art snapshot list", argument="SNAPSHOT"
        )
    known = [item.snapshot_id for item in engine.snapshots.list(limit=_MOST)]
    found = [one for one in known if one.startswith(text)]
    if text in found or len(found) == 1:
        return text if text in found else found[0]
    if found:
        raise UsageError(
            f"{len(found)} snapshots begin with {text!r}",
            hint="give more of the id: " + ", ".join(found[:_NEAR]),
            argument="SNAPSHOT",
        )
    for snapshot_id, cause in engine.health.snapshots():
        if snapshot_id == text:
            raise cause
    raise NotFound(
        f"no snapshot {text!r} in the store {engine.address!r}",
        hint="see: art snapshot list",
        kind="snapshot",
        id=text,
    )


def _emit(session: Session, snapshots: Sequence[RunSnapshot]) -> None:
    rows = [_row(snapshot) for snapshot in snapshots]
    document = {"format": SNAPSHOTS_FORMAT, "snapshots": rows}

    def text() -> list[str]:
        names = ("snapshot_id", "run_id", "name", "outcome", "created_at")
        return session.out.table(
            ("snapshot", "run", "name", "outcome", "created"),
            [[row[name] for name in names] for row in rows],
        )

    session.out.emit(document, text=text, items="snapshots")


def _row(snapshot: RunSnapshot) -> JsonObject:
    state = snapshot.run_state
    return {
        "snapshot_id": snapshot.snapshot_id,
        "run_id": snapshot.run_id,
        "name": snapshot.name,
        "description": snapshot.description,
        "tags": list(snapshot.tags),
        "status": state.get("status"),
        "outcome": outcome_of(RunState.from_dict(state)).value,
        "step_id": snapshot.step_id,
        "created_at": snapshot.created_at,
    }
