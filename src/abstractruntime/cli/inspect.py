"""`art inspect`: where a run stands and how it came there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated

import typer

from abstractruntime._json import JsonObject
from abstractruntime._text import log_line, painted_line, shell_word
from abstractruntime.cli._lazy import uses_store
from abstractruntime.cli._options import NoPagerOption, RunArgument
from abstractruntime.cli._output import Mode, render_value
from abstractruntime.cli._session import Session
from abstractruntime.cli._store import outcome_in, reading, resolve_run, run_document
from abstractruntime.core.run_tree import RunTree
from abstractruntime.core.store import Store
from abstractruntime.errors import AbstractRuntimeError, NotFound
from abstractruntime.rendering.timeline import Timeline, build_timeline
from abstractruntime.rendering.timeline_text import render_timeline

# A step has as many records at most, nearly always; what lies before is said to be left out.
_RECORDS_PER_STEP = 5
_LEAST_RECORDS = 200
# What is read unless somebody says how many steps: whatever the records hold, less than a second's worth.
_USUAL_STEPS, _MOST_BYTES = 200, 8_000_000


@uses_store
def inspect_(
    session: Session,
    run: RunArgument,
    step: Annotated[
        int | None, typer.Option("--step", metavar="SEQ", help="One record, by its seq.")
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps",
            "-n",
            metavar="N",
            min=1,
            max=1_000_000,
            help="At most so many steps; else 200, and 8 MB of records.",
        ),
    ] = None,
    debug: Annotated[
        bool, typer.Option("--debug", help="The calls in the code of a node that failed.")
    ] = False,
    no_pager: NoPagerOption = False,
) -> int:
    """Show where a run stands and how it came there. Exit code 0 whatever its status."""
    with reading(session) as engine:
        run_id = resolve_run(engine, run)
        if step is not None:
            record = find_record(engine, run_id, step)
            _emit_record(session, record, run_id, paged=not no_pager)
            return 0
        tree = RunTree(engine, run_id)
        labels = labels_of(engine, tree)
        document = run_document(engine, tree, labels=labels)
        # Who wants JSON wants no timeline, which takes most of the reading.
        is_text = session.out.mode is Mode.TEXT
        timeline = _timeline(engine, tree, steps, labels) if is_text else None

    def text() -> Iterator[str]:
        if timeline is not None:
            shown = render_timeline(
                timeline,
                run_document=document,
                width=session.out.width,
                colour=session.out.colour,
                max_steps=steps or _USUAL_STEPS,
                debug=debug,
                store=session.out.store,
            )
            yield from shown.rstrip("\n").split("\n")

    session.out.emit(document, text=text, line=painted_line, paged=not no_pager)
    return 0


def _timeline(
    engine: Store, tree: RunTree, steps: int | None, labels: Mapping[str, str]
) -> Timeline:
    """Give the last steps of a run; without a number those that are read soon."""
    wanted = max(_LEAST_RECORDS, (steps or _USUAL_STEPS) * _RECORDS_PER_STEP)
    most_bytes = _MOST_BYTES if steps is None else None
    recent = engine.recent(tree.run_id, wanted, most_bytes=most_bytes)
    return build_timeline(
        (engine.resolve(item.record) for item in recent),
        labels=labels,
        outcomes=_child_outcomes(engine, tree),
    )


def _child_outcomes(engine: Store, tree: RunTree) -> dict[str, str]:
    """Give what became of the runs that a run started; one that goes on is as far as what it waits for."""
    children = (run for run in tree.members() if run.parent_run_id == tree.run_id)
    return {
        run.run_id: run.outcome.value
        if run.status.is_terminal
        else outcome_in(engine, tree.seen_from(run.run_id)).value
        for run in children
    }


def find_record(engine: Store, run_id: str, seq: int) -> JsonObject:
    """Give one record of a run, with offloaded values in place.

    Raises:
        NotFound: the ledger has no such record.
    """
    for item in engine.records(run_id, after=seq - 1):
        if item.seq == seq:
            return engine.resolve(item.record)
    last = engine.head(run_id).records - 1
    raise NotFound(
        f"run {run_id!r} has no record {seq}",
        hint=f"its records are 0 to {last}; see: art ledger show {shell_word(run_id)}",
        kind="record",
        id=str(seq),
    )


def labels_of(engine: Store, tree: RunTree) -> dict[str, str]:
    """Give the names of nodes, as far as the bundle of the run is at hand."""
    from abstractruntime.cli._bundles import installed_bundle, node_labels

    try:
        return node_labels(installed_bundle(engine, tree).documents.values())
    except AbstractRuntimeError:
        # A run can be looked at without its bundle; node ids stand in.
        return {}


def _emit_record(session: Session, record: JsonObject, run_id: str, *, paged: bool) -> None:
    document = {"format": "art-ledger/1", "run_id": run_id, "records": [record]}
    lines = render_value(record).split("\n")
    session.out.emit(document, text=lambda: lines, items="records", line=log_line, paged=paged)
