"""`art show`: whatever a name stands for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from abstractruntime.cli import bundle, inspect, ledger
from abstractruntime.cli._bundles import Request, bundle_document, compile_bundle
from abstractruntime.cli._history_verdict import HISTORY_MARKS
from abstractruntime.cli._lazy import uses_store
from abstractruntime.cli._session import Session


@uses_store
def show(
    session: Session,
    what: Annotated[
        str,
        typer.Argument(metavar="RUN|FILE", help="A run, a bundle, a flow, a ledger or a history."),
    ],
) -> int:
    """Show a run, a bundle, a flow, a ledger or a history, by looking at what is named."""
    path = Path(what)
    if not path.is_file():
        return inspect.inspect_(session, what)
    with path.open("rb") as file:
        start = file.read(2)
    if start == b"PK":
        return bundle.show(session, path)
    if path.suffix == ".jsonl" or is_history_document(path):
        return ledger.verify(session, what)
    return _show_flow(session, path)


def is_history_document(path: Path) -> bool:
    """Say whether a JSON file is an exported history; a flow document is none."""
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and set(document) >= HISTORY_MARKS


def _show_flow(session: Session, path: Path) -> int:
    loaded, _ = compile_bundle(Request(path))
    document = bundle_document(loaded, file=str(path))
    session.out.emit(document, text=lambda: bundle.bundle_lines(document))
    return 0
