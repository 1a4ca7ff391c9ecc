"""`art graph`: a flow, or how far a run of it came, as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from abstractruntime._text import log_line, painted_line
from abstractruntime.cli._bundles import entry_of, installed_bundle, open_bundle_or_flow
from abstractruntime.cli._lazy import uses_store
from abstractruntime.cli._options import ForceOption
from abstractruntime.cli._output import Painted, paint
from abstractruntime.cli._outputs import PICTURES, write_result
from abstractruntime.cli._session import Session
from abstractruntime.cli._store import outcome_in, reading, resolve_run
from abstractruntime.core.outcome import failure_of
from abstractruntime.core.run_tree import RunTree
from abstractruntime.errors import NotFound, UsageError
from abstractruntime.visualflow_compiler import drawing
from abstractruntime.visualflow_compiler.document import FlowDocument

if TYPE_CHECKING:
    from abstractruntime.visualflow_compiler.drawing import NodeOutcome
    from abstractruntime.visualflow_compiler.graph import FlowGraph

# Each has a function of its own in `drawing`, which is loaded when it is asked for.


class Form(str, Enum):
    ASCII = "ascii"
    MERMAID = "mermaid"
    DOT = "dot"
    SVG = "svg"


@dataclass(frozen=True, slots=True)
class Shown:
    """What is drawn: a flow, and of a run also how far it came."""

    flow: FlowGraph
    run_id: str | None = None
    outcomes: Mapping[str, NodeOutcome] | None = None


@uses_store
def graph(
    session: Session,
    what: Annotated[str, typer.Argument(metavar="FLOW|BUNDLE|RUN", help="What to draw.")],
    form: Annotated[
        Form, typer.Option("--format", metavar="ascii|mermaid|dot|svg", help="Form of the picture.")
    ] = Form.ASCII,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Default: stdout.")
    ] = None,
    data: Annotated[
        bool, typer.Option("--data", help="Draw pure nodes and the ways of values, too.")
    ] = False,
    entry: Annotated[
        str | None, typer.Option("--entry", metavar="ID", help="Which flow of a bundle.")
    ] = None,
    force: ForceOption = False,
) -> int:
    """Draw a flow, or with the id of a run, how far it came.

    Nothing but this tool is needed: no network, no Graphviz.
    """
    shown = _shown(session, what, entry)
    picture = drawing.draw_flow(shown.flow, data=data, outcomes=shown.outcomes)
    rendered: str = getattr(drawing, f"render_{form.value}")(picture)
    lines: list[str] = rendered.removesuffix("\n").split("\n")
    if form is Form.ASCII and session.out.colour:
        painted = drawing.render_ascii(picture, paint)
        lines = [Painted(line) for line in painted.removesuffix("\n").split("\n")]
    if output is not None:
        picture_data = rendered.encode("utf-8", "replace")
        given = [Path(what)]
        write_result(
            session,
            output,
            picture_data,
            kind=PICTURES[form],
            mode=0o644,
            inputs=given,
            force=force,
        )
        session.out.note(f"wrote {output}")
    document = {
        "format": "art-graph/1",
        "flow_id": shown.flow.flow.id,
        "run_id": shown.run_id,
        "file": str(output) if output else None,
        "title": picture.title,
        "description": picture.description,
        **picture.to_dict(),
    }
    shown_lines = lines if output is None else []
    session.out.emit(document, text=lambda: shown_lines, items="nodes", line=_line)
    return 0


def _line(line: str) -> str:
    # What a flow calls its nodes may begin a line; it is none of our words.
    return painted_line(line) if isinstance(line, Painted) else log_line(line)


def _shown(session: Session, what: str, entry: str | None) -> Shown:
    path = Path(what)
    if path.is_dir():
        raise UsageError(
            f"'{path}' is a directory, expected a flow, a bundle or a run",
            hint="name a document in it",
            path=str(path),
        )
    return _of_file(path, entry) if path.exists() or path.suffix else _of_run(session, what, entry)


def _of_file(path: Path, entry: str | None) -> Shown:
    found = open_bundle_or_flow(path)
    if isinstance(found, FlowDocument):
        return Shown(found.graph)
    return Shown(found.documents[entry_of(found, entry)].graph)


def _of_run(session: Session, what: str, entry: str | None) -> Shown:
    if entry is not None:
        raise UsageError("--entry is for bundles", hint="a run shows the flow that it executes")
    with reading(session) as engine:
        run_id = resolve_run(engine, what)
        tree = RunTree(engine, run_id)
        state, documents = tree.state(), installed_bundle(engine, tree).documents
        document = documents.get(state.workflow_id)
        if document is None:
            raise NotFound(
                f"run {run_id!r} executes {state.workflow_id!r}, which is no flow of its bundle",
                hint="draw the run above it",
                kind="flow",
                id=state.workflow_id,
            )
        flow = document.graph
        failed = [run.run_id for run in tree.states() if failure_of(run) is not None]
        # What was offloaded tells nothing of how often a node was done.
        records = (item.record for item in engine.records_with(run_id, drawing.OUTCOME_WORDS))
        outcome = outcome_in(engine, tree)
        outcomes = drawing.run_outcomes(flow, state, records, failed_runs=failed, outcome=outcome)
    return Shown(flow, run_id, outcomes)
