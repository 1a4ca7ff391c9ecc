"""`art ledger verify`: is a ledger, or an exported history, what it claims to be?"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from abstractruntime._files import lines_of, open_file, read_bounded
from abstractruntime.cli._files import MAX_HISTORY_BYTES, is_history, is_path
from abstractruntime.cli._judge import BundleJudge, verify_run
from abstractruntime.cli._keyring import LedgerTrust, ledger_trust, read_trust
from abstractruntime.cli._lazy import uses_store
from abstractruntime.cli._session import Session
from abstractruntime.cli._store import note_no_runs, reading, resolve_run
from abstractruntime.core.ports import RunQuery
from abstractruntime.errors import (
    ExitCode,
    NotFound,
    UsageError,
)
from abstractruntime.rendering.verdict_text import summary_line, verdict_lines
from abstractruntime.signing import (
    BadHead,
    LedgerVerdict,
    SignedHead,
    TreeHead,
    TrustPolicy,
    read_heads,
    verify_ledger,
)
from abstractruntime.signing.heads import MAX_HEAD_LINE_BYTES

if TYPE_CHECKING:
    from abstractruntime.cli._history_verdict import HistoryVerdict
    from abstractruntime.core.store import Contradiction

STDIN = "-"
_ALL_RUNS = 1_000_000


@uses_store
def verify(
    session: Session,
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN|FILE|-]", help="A run, a ledger file, or an exported history."
        ),
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
    policy = read_trust(session).policy
    trust = ledger_trust(session, vkey)
    if target is not None and is_path(target) and is_history(Path(target)):
        _refuse_options(heads, pin)
        from abstractruntime.cli._history_verdict import history_lines, judge_history

        data = read_bounded(Path(target), MAX_HISTORY_BYTES)
        history = judge_history(data, trust.keys, trust.revoked)
        document = history.to_dict()
        session.out.emit(document, text=lambda: history_lines(document, trust.retired))
        return _conclude(session, [history], policy, require_signed=require_signed)
    pinned = last_head(pin) if pin is not None else None
    verdicts = [
        replace(found, warnings=(*found.warnings, *trust.remarks(found.signers)))
        for found in _verdicts(session, target, heads, trust, pinned)
    ]
    _emit(session, verdicts, many=everything)
    return _conclude(session, verdicts, policy, require_signed=require_signed)


def _refuse_options(heads: Path | None, pin: Path | None) -> None:
    if heads is not None or pin is not None:
        raise UsageError(
            "an exported history holds its own signed heads",
            hint="leave --heads and --pin out",
            argument="--heads" if heads is not None else "--pin",
        )


def _conclude(
    session: Session,
    verdicts: Sequence[LedgerVerdict | HistoryVerdict],
    policy: TrustPolicy,
    *,
    require_signed: bool,
) -> int:
    """Give the gravest exit code of several verdicts."""
    codes = [
        verdict.exit_code(
            require_signed=require_signed or policy.require_signed_ledger,
            unsigned_tail_max=policy.unsigned_tail_max,
        )
        for verdict in verdicts
    ]
    code = max(codes, key=_gravity, default=ExitCode.OK)
    if code is ExitCode.REFUSED:
        session.out.note("refused: policy asks for a signature by a trusted host key")
    return int(code)


def _gravity(code: ExitCode) -> int:
    return (ExitCode.OK, ExitCode.REFUSED, ExitCode.FAILED).index(code)


def _verdicts(
    session: Session,
    target: str | None,
    heads: Path | None,
    trust: LedgerTrust,
    pin: TreeHead | None,
) -> list[LedgerVerdict]:
    judge = partial(verify_ledger, keys=trust.keys, revoked=trust.revoked, pin=pin)
    if target == STDIN:
        return [judge(sys.stdin.buffer, heads=heads_of(heads))]
    if target is not None and is_path(target):
        with open_file(Path(target)) as file:
            return [judge(file, heads=heads_of(heads))]
    if heads is not None:
        raise NotFound(f"no ledger file '{target}'", hint="check the path", path=target)
    with reading(session) as engine:
        if target is not None:
            run_id = resolve_run(engine, target)
            beside = [found for _, found in engine.health.contradictions(run_id)]
            return [verify_run(engine, run_id, trust, pin, beside=beside)]
        ids = {header.run_id for header in engine.find(RunQuery(limit=_ALL_RUNS))}
        ids.update([run_id for run_id, _ in engine.health.unlisted(ids)])
        by_run: dict[str, list[Contradiction]] = {run_id: [] for run_id in sorted(ids)}
        for run_id, found in engine.health.contradictions():
            by_run.setdefault(run_id, []).append(found)
        if not by_run:
            note_no_runs(session, engine)
        bundles = BundleJudge(engine)
        return [
            verify_run(engine, one, trust, pin, beside=told, bundles=bundles)
            for one, told in by_run.items()
        ]


def heads_of(path: Path | None) -> list[SignedHead | BadHead]:
    if path is None:
        return []
    with open_file(path) as file:
        return list(read_heads(lines_of(file, MAX_HEAD_LINE_BYTES)))


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
            yield summary_line(documents)

    if many:
        ok = all(verdict.ok for verdict in verdicts)
        whole = {"format": "art-verify-all/1", "ok": ok, "ledgers": documents}
        session.out.emit(whole, text=text, items="ledgers", line=session.out.lead_line)
    else:
        session.out.emit(documents[0], text=text, line=session.out.lead_line)
