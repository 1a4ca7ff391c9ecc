"""`art ledger`: read and verify ledgers. Nothing here executes a flow."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from abstractruntime._json import JsonObject
from abstractruntime.cli._keyring import read_public_key, read_trust
from abstractruntime.cli._lazy import uses_store
from abstractruntime.cli._session import Session
from abstractruntime.cli._store import reading, resolve_run
from abstractruntime.cli.resume import RunArgument
from abstractruntime.core.ports import RunQuery
from abstractruntime.errors import ExitCode, NotFound, UsageError
from abstractruntime.signing import (
    BadHead,
    LedgerVerdict,
    SignedHead,
    TreeHead,
    VerifierKey,
    read_heads,
    verify_ledger,
)
from abstractruntime.storage.directory import DirectoryEngine

_ALL_RUNS = 1_000_000


@dataclass(frozen=True, slots=True)
class Case:
    """One ledger to judge; `heads` None means there is no heads file."""

    ledger: Path
    heads: Path | None = None
    run_id: str | None = None
    origin: str | None = None


@uses_store
def verify(
    session: Session,
    target: Annotated[
        str | None, typer.Argument(metavar="[RUN|FILE]", help="A run, or a ledger file.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every run of the store.")] = False,
    heads: Annotated[
        Path | None, typer.Option("--heads", metavar="FILE", help="Signed heads of a ledger file.")
    ] = None,
    vkey: Annotated[
        list[str],
        typer.Option("--vkey", metavar="VKEY|FILE", help="Trust these keys only; repeatable."),
    ] = [],  # noqa: B006 - the parser makes a new list for each call
    pin: Annotated[
        Path | None,
        typer.Option("--pin", metavar="FILE", help="Heads file seen earlier; it must still hold."),
    ] = None,
    require_signed: Annotated[
        bool, typer.Option("--require-signed", help="Refuse (3) what no trusted key signed.")
    ] = False,
) -> int:
    """Say whether a ledger is what it claims to be; offline, executes nothing.

    Exit code 0 valid, also when unfinished or unsigned; 1 invalid or shorter than a signed
    head; 3 when policy asks for signatures; 66 missing.
    """
    if everything == (target is not None):
        raise UsageError("name one run or ledger file, or --all", hint="art ledger verify @last")
    trust = read_trust(session)
    keys = tuple(read_public_key(key) for key in vkey) if vkey else trust.ledger_keys()
    cases = _cases(session, target, heads)
    pinned = last_head(pin) if pin is not None else None
    verdicts = [judge(case, keys, pinned) for case in cases]
    policy = trust.policy
    code = max(
        (
            verdict.exit_code(
                require_signed=require_signed or policy.require_signed_ledger,
                unsigned_tail_max=policy.unsigned_tail_max,
            )
            for verdict in verdicts
        ),
        key=_gravity,
        default=ExitCode.OK,
    )
    _emit(session, verdicts, many=everything)
    if code is ExitCode.REFUSED:
        session.out.note("refused: policy asks for a signature by a trusted host key")
    return int(code)


def _gravity(code: ExitCode) -> int:
    return (ExitCode.OK, ExitCode.REFUSED, ExitCode.FAILED).index(code)


def _cases(session: Session, target: str | None, heads: Path | None) -> list[Case]:
    if target is not None and Path(target).is_file():
        return [Case(Path(target), heads)]
    if heads is not None:
        raise NotFound(f"no ledger file '{target}'", hint="check the path", path=target)
    with reading(session) as engine:
        if target is None:
            ids = [header.run_id for header in engine.find(RunQuery(limit=_ALL_RUNS))]
            return [_case_of(engine, run_id) for run_id in sorted(ids)]
        return [_case_of(engine, resolve_run(engine, target))]


def _case_of(engine: DirectoryEngine, run_id: str) -> Case:
    heads = Path(engine.heads_path(run_id))
    ledger = Path(engine.ledger_path(run_id))
    return Case(ledger, heads if heads.exists() else None, run_id, engine.origin)


def judge(case: Case, keys: Iterable[VerifierKey], pin: TreeHead | None = None) -> LedgerVerdict:
    """Verify one ledger file."""
    found = heads_of(case.heads)
    with case.ledger.open("rb") as file:
        return verify_ledger(
            file, heads=found, keys=keys, origin=case.origin, run_id=case.run_id, pin=pin
        )


def heads_of(path: Path | None) -> list[SignedHead | BadHead]:
    if path is None:
        return []
    with path.open("rb") as file:
        return list(read_heads(file))


def last_head(path: Path) -> TreeHead:
    """Give the last head of a heads file that was kept.

    Raises:
        UsageError: the file holds none.
    """
    heads = [item.head for item in heads_of(path) if isinstance(item, SignedHead)]
    if not heads:
        raise UsageError(
            f"'{path}' holds no signed head", hint="keep a heads_<run>.jsonl file", path=str(path)
        )
    return heads[-1]


def _emit(session: Session, verdicts: list[LedgerVerdict], *, many: bool) -> None:
    documents = [verdict.to_dict() for verdict in verdicts]

    def text() -> Iterator[str]:
        for document in documents:
            yield from verdict_lines(document)

    if many:
        ok = all(verdict.ok for verdict in verdicts)
        whole = {"format": "art-verify-all/1", "ok": ok, "ledgers": documents}
        session.out.emit(whole, text=text, items="ledgers")
    else:
        session.out.emit(documents[0], text=text)


def verdict_lines(document: JsonObject) -> Iterator[str]:
    """Give a verdict for people: one line, then the defects and warnings."""
    signed = f"{document['signed_records']} of {document['records']} records signed"
    if document["signers"]:
        signed += f" by {', '.join(document['signers'])}"
    state = "final" if document["final"] else "unfinished"
    yield f"{document['verdict']}: run {document['run_id']}, {signed}, {state}"
    for defect in document["defects"]:
        yield (
            f"  {defect['code']}: record {defect['record']}, byte {defect['byte_offset']}:"
            f" expected {defect['expected']}, found {defect['found']}"
        )
    for warning in document["warnings"]:
        yield f"  note: {warning}"


@uses_store
def show(
    session: Session,
    run: RunArgument,
    since: Annotated[int, typer.Option("--after", metavar="SEQ", help="Only later records.")] = -1,
) -> int:
    """Show the records of a ledger, as they are stored."""
    with reading(session) as engine:
        run_id = resolve_run(engine, run)
        _emit_records(session, run_id, [i.record for i in engine.records(run_id, after=since)])
    return 0


@uses_store
def tail(
    session: Session,
    run: RunArgument,
    count: Annotated[int, typer.Option("-n", metavar="N", help="So many records.")] = 10,
) -> int:
    """Show the last records of a ledger."""
    with reading(session) as engine:
        run_id = resolve_run(engine, run)
        last = deque(engine.records(run_id), maxlen=max(count, 0))
        _emit_records(session, run_id, [item.record for item in last])
    return 0


def _emit_records(session: Session, run_id: str, records: list[JsonObject]) -> None:
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
    what = effect.get("type") or internal or ""
    if record.get("error"):
        what = f"{what} {json.dumps(record['error'], ensure_ascii=False)}"
    when = record.get("ended_at") or record.get("started_at")
    return record.get("seq"), record.get("status"), record.get("node_id"), what, when
