"""`art test`: running the cases of flows, and making cases from runs."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from abstractruntime._json import JsonObject
from abstractruntime._text import shell_word
from abstractruntime.cli._case_report import Tested, case_lines, junit_report
from abstractruntime.cli._cases import CASES, Flows, Found, find_cases, only_flow
from abstractruntime.cli._lazy import uses_store
from abstractruntime.cli._outputs import CASE, JUNIT, require_free_place, rewrite, write_result
from abstractruntime.cli._program import code_services
from abstractruntime.cli._sandbox import require_confined
from abstractruntime.cli._session import Session
from abstractruntime.cli._store import reading, resolve_run, run_document
from abstractruntime.core.run_tree import RunTree
from abstractruntime.errors import ExitCode, UsageError
from abstractruntime.testing.cases import (
    CaseResult,
    Recorded,
    load_case_document,
    parse_case,
    run_case,
    save_case,
    updated,
)
from abstractruntime.visualflow_compiler import Services


@uses_store
def run_cases(
    session: Session,
    path: Annotated[Path, typer.Argument(metavar="DIR|FLOW|CASE", help="What to test.")],
    pattern: Annotated[
        str | None,
        typer.Option("--filter", metavar="TEXT", help="Only cases whose file or name has this."),
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Write what came into the cases that fail.")
    ] = False,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write a JUnit report, too.")
    ] = None,
    save_from: Annotated[
        str | None, typer.Option("--save-from", metavar="RUN", help="Make a case of a run.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where --save-from writes."),
    ] = None,
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Run code nodes in this process.")
    ] = False,
) -> int:
    """Run the cases of flows: in memory, with a clock of their own, without a network.

    Exit code 1 when a case fails.
    """
    flows = Flows()
    if save_from is not None:
        if update or junit or pattern:
            raise UsageError("--save-from stands alone", hint="run the saved case afterwards")
        return _save(session, flows, path, save_from, output)
    if output is not None:
        raise UsageError("-o is for --save-from", hint="reports: --junit FILE, or --json > FILE")
    cases = find_cases(path, pattern)
    done = [_tested(session, found, flows, update=update, trust_code=trust_code) for found in cases]
    if junit is not None:
        write_result(
            session, junit, junit_report(done).encode(), kind=JUNIT, mode=0o644, inputs=[path]
        )
    return _report(session, done)


def _tested(
    session: Session, found: Found, flows: Flows, *, update: bool, trust_code: bool
) -> Tested:
    entry, documents = flows.load(found.flow, found.case.entry)
    services = _services(session, trust_code=trust_code)
    before = time.monotonic()
    result = run_case(found.case, documents, entry=entry, services=services)
    seconds = time.monotonic() - before
    if result.ok or not update:
        return Tested(found, entry, result.problems, seconds)
    return _updated(session, found, entry, result, seconds)


def _services(session: Session, *, trust_code: bool) -> Services:
    home = "bwrap" if session.config.get("sandbox") == "bwrap" else "worker"
    services = code_services(trust_code=trust_code, sandbox=home)
    require_confined(session, services.code)
    return services


def _updated(
    session: Session, found: Found, entry: str, result: CaseResult, seconds: float
) -> Tested:
    """Write what came as what is expected; what no expectation can mend stays a problem."""
    before = found.case.expect
    expect = updated(before, result.actual)
    kept = tuple(p for p in result.problems if p.where.split("/")[0] not in before)
    if expect == before:
        return Tested(found, entry, result.problems, seconds)
    document = {**load_case_document(found.file), "expect": expect}
    rewrite(session, found.file, _rendered(document, found.file))
    return Tested(found, entry, kept, seconds, is_updated=True)


def _rendered(document: JsonObject, file: Path) -> bytes:
    """Give a case as text in the language of its file.

    Raises:
        UsageError: it is YAML with comments, which would be lost.
    """
    if file.suffix == ".json":
        return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
    if file.exists() and any(
        line.lstrip().startswith("#") for line in file.read_text().splitlines()
    ):
        raise UsageError(
            f"'{file}' has comments, which updating would lose",
            hint="correct its expectations by hand",
            path=str(file),
        )
    import yaml

    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100).encode()


# -- saving ----------------------------------------------------------------------------------


def _save(session: Session, flows: Flows, path: Path, run: str, output: Path | None) -> int:
    flow = only_flow(path)
    document, tree = _recorded(session, run)
    if document["parent_run_id"] is not None:
        raise UsageError(
            f"run {document['run_id']!r} was started by another one",
            hint=f"save that one: art test {shell_word(path)} --save-from {shell_word(document['parent_run_id'])}",
        )
    _, documents = flows.load(flow, document["workflow_id"])
    services = _services(session, trust_code=False)
    saved = save_case(document, tree, documents, services=services)
    home = flow if flow.is_dir() else flow.parent
    target = output or home / CASES / f"{document['run_id']}.json"
    case = _with_flow(saved.document, flow, target) if flow.is_file() else saved.document
    if output is None:
        require_free_place(session, target.parent)
        target.parent.mkdir(exist_ok=True)
    write_result(session, target, _rendered(case, target), kind=CASE, mode=0o644, inputs=[flow])
    for where in saved.left_out:
        session.out.note(f"left out, as it differs from run to run: {where}")
    found = Found(target, parse_case(case), flow)
    done = Tested(found, document["workflow_id"], (), 0.0, is_updated=True)
    session.out.emit(report_document([done]), text=lambda: [str(target)], items="cases")
    return 0


def _recorded(session: Session, run: str) -> tuple[JsonObject, list[Recorded]]:
    with reading(session) as engine:
        run_id = resolve_run(engine, run)
        tree = RunTree(engine, run_id)
        recorded = [
            Recorded(
                item.run_id,
                item.workflow_id,
                tuple(engine.resolve(record.record) for record in engine.records(item.run_id)),
            )
            for item in tree.members()
        ]
        return run_document(engine, tree), recorded


def _with_flow(case: JsonObject, flow: Path, target: Path) -> JsonObject:
    relative = os.path.relpath(flow.resolve(), target.resolve().parent)
    head = {name: case[name] for name in ("format", "name")}
    return {**head, "flow": relative, **case}


# -- reports ---------------------------------------------------------------------------------


def _report(session: Session, done: Sequence[Tested]) -> int:
    failed = sum(not item.ok for item in done)
    session.out.emit(
        report_document(done),
        text=lambda: (line for item in done for line in case_lines(item)),
        items="cases",
    )
    total = f"{len(done)} case{'s' if len(done) != 1 else ''}"
    session.out.note(f"{total}: {f'{failed} failed' if failed else 'all passed'}")
    return int(ExitCode.FAILED if failed else ExitCode.OK)


def report_document(done: Sequence[Tested]) -> JsonObject:
    """Give the `art-test/1` document."""
    failed = sum(not item.ok for item in done)
    return {
        "format": "art-test/1",
        "ok": not failed,
        "passed": len(done) - failed,
        "failed": failed,
        "cases": [item.to_dict() for item in done],
    }
