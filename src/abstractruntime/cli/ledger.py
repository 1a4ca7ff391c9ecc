"""`art ledger show` and `tail`: the records of a ledger, as they are stored."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from abstractruntime._json import mapping
from abstractruntime._ports_system import SystemClock
from abstractruntime._text import shell_word
from abstractruntime.cli._follow import follow
from abstractruntime.cli._lazy import uses_store
from abstractruntime.cli._options import RunArgument
from abstractruntime.cli._output import Mode
from abstractruntime.cli._session import Session
from abstractruntime.cli._store import reading, resolve_run
from abstractruntime.core.record_fields import is_completion, result_object, terminal_status
from abstractruntime.errors import UsageError
from abstractruntime.rendering.notes import note_of

if TYPE_CHECKING:
    from abstractruntime._json import JsonObject
    from abstractruntime.core.ports import StoredRecord

_MOST = 1_000_000


@uses_store
def show(
    session: Session,
    run: RunArgument,
    since: Annotated[int, typer.Option("--after", metavar="SEQ", help="Only later records.")] = -1,
) -> int:
    """Show the records of a ledger, as they are stored.

    With --jsonl, stdout gets the stored bytes: what `art ledger verify -` reads.
    """
    with reading(session) as engine:
        run_id = resolve_run(engine, run)
        _emit_records(session, run_id, engine.records(run_id, after=since))
        last = engine.recent(run_id, 1)
        if last and last[0].seq <= since:
            session.out.note(f"no record of run {run_id} is after {since}")
            session.out.note(f"  = hint: see all: art ledger show {shell_word(run_id)}")
    return 0


@uses_store
def tail(
    session: Session,
    run: RunArgument,
    count: Annotated[int, typer.Option("-n", metavar="N", min=1, help="So many records.")] = 10,
    is_followed: Annotated[
        bool, typer.Option("-f", "--follow", help="Then the new ones, until the run has ended.")
    ] = False,
) -> int:
    """Show the last records of a ledger, and with -f those that come."""
    if is_followed and session.out.mode is Mode.JSON:
        raise UsageError(
            "a document cannot grow", hint="use --jsonl with -f, which prints line by line"
        )
    with reading(session) as engine:
        run_id = resolve_run(engine, run)
        stored = engine.recent(run_id, min(count, _MOST))
        if not is_followed:
            _emit_records(session, run_id, stored)
            return 0
        # What is shown first are the same records, up to the end as it is now.
        after = stored[0].seq - 1 if stored else -1
        for item in follow(engine, run_id, after=after, clock=SystemClock()):
            _emit_record(session, item)
            if not session.out.is_read:
                return 0
    return 0


def _emit_record(session: Session, item: StoredRecord) -> None:
    if session.out.mode is Mode.JSONL:
        session.out.raw_bytes([item.line])
    else:
        first, word, *more = ("" if cell is None else str(cell) for cell in _row(item.record))
        rest = "".join(f"\t{cell}" for cell in more)
        session.out.stream(item.record, text=session.out.marked(f"{first}\t", word, rest))


def _emit_records(session: Session, run_id: str, stored: Iterable[StoredRecord]) -> None:
    if session.out.mode is Mode.JSONL:
        session.out.raw_bytes(item.line for item in stored)
        return
    records = [item.record for item in stored]
    document = {"format": "art-ledger/1", "run_id": run_id, "records": records}

    def text() -> list[str]:
        return session.out.table(
            ("seq", "status", "node", "what", "ended"), [_row(record) for record in records]
        )

    session.out.emit(document, text=text, items="records")


def _row(record: JsonObject) -> tuple[Any, ...]:
    result = record.get("result")
    internal = result.get("internal") if isinstance(result, dict) else None
    effect = record.get("effect") or {}
    what, word = effect.get("type") or internal or "", record.get("status")
    if is_completion(record):
        output = mapping(result_object(record).get("output"))
        failed = output.get("success") is False and output.get("node") == record.get("node_id")
        what = f"the run ends with an error: {output.get('error')}" if failed else "the run ends"
        word = "failed" if failed else word
    elif terminal_status(record) is not None and (note := note_of(record)):
        what, word = f"run {note.text}", result_object(record).get("outcome") or word
    elif note := note_of(record):
        what = f"{what} {note.text}"
    if record.get("error"):
        what = f"{what} {json.dumps(record['error'], ensure_ascii=False)}"
    when = record.get("ended_at") or record.get("started_at")
    return record.get("seq"), word, record.get("node_id"), what, when
