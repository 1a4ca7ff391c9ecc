"""`art runs`: the runs of a store."""

from __future__ import annotations

from typing import Annotated

import typer

from abstractruntime._json import JsonObject
from abstractruntime._ports_system import SystemClock
from abstractruntime._text import painted_line, shell_word
from abstractruntime.cli._errors import error_document
from abstractruntime.cli._inputs import parse_label_filter
from abstractruntime.cli._lazy import uses_store
from abstractruntime.cli._moments import moment_of
from abstractruntime.cli._run_rows import SCAN_LIMIT, Listed, Listing, Sort, Wanted, list_runs
from abstractruntime.cli._session import Session
from abstractruntime.cli._store import note_no_runs, reading
from abstractruntime.core.models import WaitReason
from abstractruntime.core.ports import RunQuery
from abstractruntime.core.store import Store
from abstractruntime.errors import Quarantined, UsageError
from abstractruntime.rendering.run_table import render_runs
from abstractruntime.rendering.terminal import Palette

_USUAL = 50
_COLUMNS = ("run_id", "outcome", "waiting_on", "workflow_id", "updated_at")


@uses_store
def runs(  # noqa: PLR0917 - the options of the command
    session: Session,
    status: Annotated[
        list[Listed],
        typer.Option("--status", help="Only these, by outcome or status; repeatable."),
    ] = [],  # noqa: B006 - the parser makes a new list for each call
    waiting_on: Annotated[
        list[WaitReason], typer.Option("--waiting-on", help="Only these; repeatable.")
    ] = [],  # noqa: B006 - as above
    workflow: Annotated[
        list[str], typer.Option("--workflow", metavar="ID", help="Only of these; repeatable.")
    ] = [],  # noqa: B006 - as above
    label: Annotated[
        list[str], typer.Option("--label", metavar="K=V", help="Only these; repeatable.")
    ] = [],  # noqa: B006 - the parser makes a new list for each call
    search: Annotated[
        list[str],
        typer.Option(
            "--search", metavar="TEXT", help="In id, flow, labels, question, error; repeatable."
        ),
    ] = [],  # noqa: B006 - as above
    since: Annotated[
        str | None,
        typer.Option(
            "--since", metavar="TIME", help="Changed then or after: 2h, yesterday, a date."
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="Changed before: like --since.")
    ] = None,
    children: Annotated[bool, typer.Option("--children", help="Child runs too.")] = False,
    sort: Annotated[Sort, typer.Option("--sort", help="Times: the latest first.")] = Sort.UPDATED,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", metavar="N", min=1, help="Else 50.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", "-a", help="However many there are.")] = False,
) -> int:
    """List runs, the latest change first.

    The outcome is what became of a run: succeeded, failed, cancelled, waiting, running, paused,
    limited, interrupted (nobody drives it), quarantined or damaged. `completed` asks for all
    that the ledger calls so, failed ones too. A damaged run stops nothing: the exit code stays 0.
    With -q only the ids are printed. Of an option that is given several times, one has to fit.
    """
    if all_ and limit is not None:
        raise UsageError(
            f"--all and --limit {limit} do not go together", hint="leave one of them out"
        )
    now = SystemClock().now()
    wanted = Wanted(
        status=frozenset(status),
        waiting_on=frozenset(waiting_on),
        workflow=frozenset(workflow),
        labels=parse_label_filter(label),
        since=moment_of(since, now=now, option="--since") if since is not None else "",
        until=moment_of(until, now=now, option="--until") if until is not None else None,
        search=tuple(search),
        children=children,
        sort=sort,
        limit=SCAN_LIMIT if all_ else min(limit or _USUAL, SCAN_LIMIT),
    )
    with reading(session) as engine:
        listing = list_runs(engine, wanted)
        if not listing.total:
            _note_none(session, engine)
    document = {
        "format": "art-runs/1",
        "total": listing.total,
        "runs": listing.rows,
        "errors": [error_document(cause)["error"] for cause in listing.damage.values()],
    }
    out = session.out

    def text() -> list[str]:
        if not out.is_terminal:
            return out.table(_COLUMNS, map(_cells, listing.rows))
        palette = Palette(out.colour)
        return list(render_runs(listing.rows, now=now, width=out.width, palette=palette))

    ids = [row["run_id"] for row in listing.rows]
    out.emit(document, text=text, items="runs", line=painted_line, brief=lambda: ids)
    _note(session, listing)
    return 0


def _note_none(session: Session, engine: Store) -> None:
    if not engine.find(RunQuery(limit=1)):
        note_no_runs(session, engine)
    else:
        session.out.note(f"no run of the store '{engine.address}' fits")
        session.out.note("  = hint: those that it has: art runs --all")


def _cells(row: JsonObject) -> list[str | None]:
    *cells, updated = (row[name] for name in _COLUMNS)
    return [*cells, updated and f"{updated[:19]}Z"]


def _note(session: Session, listing: Listing) -> None:
    for run_id, cause in listing.damage.items():
        is_damage = not isinstance(cause, Quarantined)
        session.out.note(f"{'damaged' if is_damage else 'quarantined'}: run {run_id}: {cause}")
        hint = (
            f"see what is left: art ledger verify {shell_word(run_id)}" if is_damage else cause.hint
        )
        session.out.note(f"  = hint: {hint}")
    if listing.total > len(listing.rows):
        session.out.note(f"{len(listing.rows):,} of {listing.total:,} runs; all of them: --all")
