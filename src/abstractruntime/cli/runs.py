"""`art runs`: the runs of a store."""

from __future__ import annotations

from typing import Annotated

import typer

from abstractruntime.cli._inputs import parse_labels
from abstractruntime.cli._lazy import uses_store
from abstractruntime.cli._session import Session
from abstractruntime.cli._store import header_row, reading, started_facts
from abstractruntime.core.models import RunStatus, WaitReason
from abstractruntime.core.ports import RunQuery
from abstractruntime.rendering._records import mapping

_SCAN_LIMIT = 100_000


@uses_store
def runs(
    session: Session,
    status: Annotated[RunStatus | None, typer.Option("--status", help="Only these.")] = None,
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
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N")] = 50,
) -> int:
    """List runs, the latest change first."""
    wanted = parse_labels(label)
    query = RunQuery(
        status=status,
        wait_reason=waiting_on,
        workflow_id=workflow,
        root_only=not children,
        limit=_SCAN_LIMIT if wanted else limit,
    )
    rows = []
    with reading(session) as engine:
        for header in engine.find(query):
            labels = mapping(started_facts(engine, header.run_id).get("labels"))
            if wanted.items() <= labels.items() and header.updated_at >= (since or ""):
                rows.append(header_row(header, labels))
    rows = rows[:limit]
    document = {"format": "art-runs/1", "runs": rows, "errors": []}

    def text() -> list[str]:
        return session.out.table(
            ("run", "status", "waits for", "workflow", "updated"),
            [
                (
                    r["run_id"],
                    r["status"],
                    r["waiting_on"],
                    r["workflow_id"],
                    r["updated_at"][:19] + "Z",
                )
                for r in rows
            ],
        )

    session.out.emit(document, text=text, items="runs")
    return 0
