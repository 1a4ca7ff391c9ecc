"""`art runs`: the runs of a store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice
from typing import Annotated

import typer

from abstractruntime._json import JsonObject
from abstractruntime.cli._errors import error_document
from abstractruntime.cli._inputs import parse_labels
from abstractruntime.cli._lazy import uses_store
from abstractruntime.cli._session import Session
from abstractruntime.cli._store import header_row, reading
from abstractruntime.core.models import RunStatus, WaitReason, format_time, parse_moment
from abstractruntime.core.ports import RunHeader, RunQuery
from abstractruntime.core.store import Store
from abstractruntime.errors import AbstractRuntimeError, Quarantined, UsageError

_SCAN_LIMIT = 100_000
_EVERYTHING = 1_000_000_000
_DAMAGED, _QUARANTINED = "damaged", "quarantined"
_UNKNOWN = (
    "workflow_id", "waiting_on", "wait_key", "until", "created_at", "updated_at",
    "parent_run_id", "session_id",
)  # fmt: skip


class Listed(str, Enum):
    """What a list says of a run: its status, or what is wrong with it."""

    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DAMAGED = _DAMAGED
    QUARANTINED = _QUARANTINED


@dataclass(slots=True)
class Listing:
    """The rows of a list of runs, and what is wrong with the damaged ones among them."""

    rows: list[JsonObject] = field(default_factory=list)
    damage: dict[str, AbstractRuntimeError] = field(default_factory=dict)

    def add_damaged(self, row: JsonObject, cause: AbstractRuntimeError) -> None:
        self.rows.append({**row, "status": _state_of(cause)})
        self.damage[row["run_id"]] = cause

    def keep(self, status: str, limit: int) -> None:
        """Keep the rows of one status."""
        self.rows = [row for row in self.rows if row["status"] == status][:limit]
        kept = {row["run_id"] for row in self.rows}
        self.damage = {run_id: why for run_id, why in self.damage.items() if run_id in kept}


def _state_of(cause: AbstractRuntimeError) -> str:
    return _QUARANTINED if isinstance(cause, Quarantined) else _DAMAGED


@uses_store
def runs(
    session: Session,
    status: Annotated[Listed | None, typer.Option("--status", help="Only these.")] = None,
    waiting_on: Annotated[
        WaitReason | None, typer.Option("--waiting-on", help="Only these.")
    ] = None,
    workflow: Annotated[str | None, typer.Option("--workflow", metavar="ID")] = None,
    label: Annotated[
        list[str], typer.Option("--label", metavar="K=V", help="Only these; repeatable.")
    ] = [],  # noqa: B006 - the parser makes a new list for each call
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Changed at or after, ISO-8601.")
    ] = None,
    children: Annotated[bool, typer.Option("--children", help="Child runs too.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1)] = 50,
) -> int:
    """List runs, the latest change first.

    A damaged run is listed as such and stops nothing: the exit code stays 0.
    """
    wanted, limit = parse_labels(label), min(limit, _SCAN_LIMIT)
    earliest = parse_time(since) if since else ""
    # What is wrong with a run stands in no row: all are looked at.
    found = status if status in {Listed.DAMAGED, Listed.QUARANTINED} else None
    query = RunQuery(
        status=RunStatus(status.value) if status and not found else None,
        wait_reason=waiting_on,
        workflow_id=workflow,
        root_only=not children,
        limit=_SCAN_LIMIT if wanted or since or found else limit,
    )
    is_filtered = any((not found and status, waiting_on, workflow, wanted, since))
    with reading(session) as engine:
        listing = _listing(engine, query, query.limit if found else limit, wanted, earliest)
        if not is_filtered:
            _add_unlisted(listing, engine, query.limit)
        if found:
            listing.keep(found.value, limit)
    document = {
        "format": "art-runs/1",
        "runs": listing.rows,
        "errors": [error_document(cause)["error"] for cause in listing.damage.values()],
    }
    session.out.emit(document, text=lambda: _table(session, listing.rows), items="runs")
    for run_id, cause in listing.damage.items():
        session.out.note(f"{_state_of(cause)}: run {run_id}: {cause}")
        is_damage = not isinstance(cause, Quarantined)
        hint = f"see what is left: art ledger verify {run_id}" if is_damage else cause.hint
        session.out.note(f"  = hint: {hint}")
    return 0


def _table(session: Session, rows: list[JsonObject]) -> list[str]:
    names = ("run_id", "status", "waiting_on", "workflow_id", "updated_at")
    cells = [[row[name] for name in names] for row in rows]
    for cell in cells:
        cell[-1] = cell[-1] and cell[-1][:19] + "Z"
    return session.out.table(("run", "status", "waits for", "workflow", "updated"), cells)


def _listing(
    engine: Store,
    query: RunQuery,
    limit: int,
    wanted: Mapping[str, str],
    earliest: str,
) -> Listing:
    listing = Listing()
    for header in engine.find(query):
        if len(listing.rows) >= limit:
            break
        if header.updated_at >= earliest:
            _list_run(listing, engine, query, header, wanted)
    return listing


def _add_unlisted(listing: Listing, engine: Store, limit: int) -> None:
    """Add damaged runs without an index row; they have no time, so they come last."""
    if len(listing.rows) >= limit:
        return
    known = {header.run_id for header in engine.find(RunQuery(limit=_EVERYTHING))}
    for run_id, cause in islice(engine.health.unlisted(known), limit - len(listing.rows)):
        row: JsonObject = {"run_id": run_id, "status": _DAMAGED, **dict.fromkeys(_UNKNOWN)}
        listing.add_damaged({**row, "labels": {}}, cause)


def parse_time(text: str) -> str:
    """Give a moment as the store writes it; one without a time zone is UTC.

    Raises:
        UsageError: it is no ISO-8601 time.
    """
    try:
        return format_time(parse_moment(text))
    except (ValueError, OverflowError) as cause:
        raise UsageError(
            f"{text!r} is not an ISO-8601 time",
            hint="use a form such as 2026-01-31 or 2026-01-31T08:00:00Z",
            argument="--since",
        ) from cause


def _list_run(
    listing: Listing, engine: Store, query: RunQuery, header: RunHeader, wanted: Mapping[str, str]
) -> None:
    """Add a run as its ledger tells it, when it is wanted, or when damage hides what it is."""
    try:
        labels = engine.origin(header.run_id).labels
        if not wanted.items() <= labels.items():
            return
        found = RunHeader.of(engine.peek(header.run_id))
    except AbstractRuntimeError as error:
        cause = engine.health.damage(header.run_id) or error
        listing.add_damaged(header_row(header, {}), cause)
        return
    if not _is_meant(query, found):
        return
    if aside := engine.health.set_aside(header.run_id):
        listing.add_damaged(header_row(found, labels), aside)
    else:
        listing.rows.append(header_row(found, labels))


def _is_meant(query: RunQuery, found: RunHeader) -> bool:
    """Tell whether a run is what was asked for, whatever the index said."""
    asked = {
        "status": query.status,
        "wait_reason": query.wait_reason,
        "workflow_id": query.workflow_id,
    }
    is_asked = all(value in (None, getattr(found, name)) for name, value in asked.items())
    return is_asked and not (query.root_only and found.parent_run_id is not None)
