"""`art export-history`: a run with its records and children as one document."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated

import typer

from abstractruntime._history.export import export_history as build_history
from abstractruntime._json import JsonObject
from abstractruntime._text import shell_word
from abstractruntime.cli._keyring import read_trust
from abstractruntime.cli._lazy import uses_store
from abstractruntime.cli._options import ForceOption, RunArgument
from abstractruntime.cli._outputs import HISTORY, write_result
from abstractruntime.cli._session import Session
from abstractruntime.cli._store import check_index, reading, resolve_run
from abstractruntime.core.run_tree import RunTree
from abstractruntime.core.store import Store
from abstractruntime.errors import IntegrityError


@uses_store
def export_history(
    session: Session,
    run: RunArgument,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Default: stdout.")
    ] = None,
    tail: Annotated[
        int | None,
        typer.Option("--tail", metavar="N", min=1, help="Only the last N records per run."),
    ] = None,
    include_session: Annotated[
        bool, typer.Option("--session", help="Add the turns of the run's session.")
    ] = False,
    force: ForceOption = False,
) -> int:
    """Write a run with its records and children as one document; see `art schema history`."""
    vkeys = [key.vkey for key in read_trust(session).ledger_keys()]
    with reading(session) as engine:
        check_index(session, engine)
        run_id = resolve_run(engine, run)
        document = build_history(
            engine,
            run_id,
            include_session=include_session,
            ledger_mode="full" if tail is None else "tail",
            ledger_max_items=tail or 0,
            heads=signed_notes(engine, run_id),
            vkeys=vkeys,
        )
    if output is None:
        session.out.raw_document(document)
        return 0
    data = _encoded(document)
    write_result(session, output, data, kind=HISTORY, mode=0o600, force=force)
    receipt = {
        "format": "art-export/1",
        "run_id": run_id,
        "file": str(output),
        "size_bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    session.out.emit(receipt, text=lambda: [f"{output} ({len(data)} bytes)"])
    return 0


def _encoded(document: JsonObject) -> bytes:
    # Its whole text would take up to four times as much for the time being.
    data = bytearray()
    for chunk in json.JSONEncoder(indent=2, ensure_ascii=False).iterencode(document):
        data += chunk.encode()
    return bytes(data + b"\n")


def signed_notes(engine: Store, run_id: str) -> dict[str, list[str]]:
    """Give the signed notes of a run and its children, by run id, as they are stored.

    Raises:
        IntegrityError: a stored head holds no note.
    """
    return {
        run.run_id: [
            _note(run.run_id, line)
            for line in engine.heads.lines(run.run_id)
            if line.endswith(b"\n")
        ]
        for run in RunTree(engine, run_id).members()
    }


def _note(run_id: str, line: bytes) -> str:
    try:
        note = json.loads(line)["note"]
    except (ValueError, TypeError, KeyError, RecursionError):
        note = None
    if isinstance(note, str):
        return note
    raise IntegrityError(
        f"the signed heads of run {run_id!r} are damaged: a line holds no note",
        hint=f"see which: art ledger verify {shell_word(run_id)}",
        run_id=run_id,
    )
