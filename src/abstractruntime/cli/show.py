"""`art show`: whatever a name stands for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from abstractruntime._files import open_file
from abstractruntime.cli._files import is_history_document, is_path
from abstractruntime.cli._lazy import uses_store
from abstractruntime.cli._options import NoPagerOption
from abstractruntime.cli._session import Session


@uses_store
def show(
    session: Session,
    what: Annotated[
        str,
        typer.Argument(metavar="RUN|FILE", help="A run, a bundle, a flow, a ledger or a history."),
    ],
    no_pager: NoPagerOption = False,
) -> int:
    """Show a run, a bundle, a flow, a ledger or a history, by looking at what is named."""
    path = Path(what)
    if not is_path(what):
        from abstractruntime.cli.inspect import inspect_

        return inspect_(session, what, no_pager=no_pager)
    with open_file(path) as file:
        start = file.read(2)
    if start == b"PK":
        from abstractruntime.cli.bundle import show as show_bundle

        return show_bundle(session, path)
    if path.suffix == ".jsonl" or is_history_document(path):
        from abstractruntime.cli.verify import verify

        return verify(session, what)
    return _show_flow(session, path, paged=not no_pager)


def _show_flow(session: Session, path: Path, *, paged: bool) -> int:
    from abstractruntime.cli._bundles import bundle_document
    from abstractruntime.cli._packing import Request, compile_bundle
    from abstractruntime.cli.bundle import bundle_lines

    loaded, _ = compile_bundle(Request(path))
    document = bundle_document(loaded, file=str(path))
    session.out.emit(document, text=lambda: bundle_lines(document), paged=paged)
    return 0
