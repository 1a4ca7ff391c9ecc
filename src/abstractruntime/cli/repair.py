"""`art repair`: mend what is wrong with the files of a run, as far as the ledger allows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from abstractruntime._json import JsonObject
from abstractruntime._text import shell_word
from abstractruntime.cli._confirm import YesOption, require_consent
from abstractruntime.cli._lazy import uses_store
from abstractruntime.cli._options import RunArgument
from abstractruntime.cli._session import Session
from abstractruntime.cli._store import reading, resolve_run, writing
from abstractruntime.errors import ExitCode, UsageError

REPAIR_FORMAT = "art-repair/1"


@uses_store
def repair(
    session: Session,
    run: RunArgument,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only say what would be done; the default.")
    ] = False,
    apply: Annotated[bool, typer.Option("--apply", help="Do it, and record it.")] = False,
    yes: YesOption = False,
) -> int:
    """Say what repair would do to a run, or do it.

    Checkpoint, index and inbox are rebuilt from the ledger; lost or changed lines are never
    made up. Exit code 0 when nothing is wrong, or repair can mend it or did; 1 when something
    is wrong that it cannot mend; 75 when somebody drives the run.
    """
    if plan and apply:
        raise UsageError("--plan and --apply exclude each other", hint="leave one of them out")
    with writing(session) if apply else reading(session) as engine:
        run_id = resolve_run(engine, run)
        planned = engine.care.plan_repair(run_id)
        is_done = apply and bool(planned.steps)
        if is_done:
            steps = "; ".join(step["text"] for step in planned.to_dict()["steps"])
            require_consent(f"Repair run {run_id}: {steps}?", yes=yes)
        left = engine.care.repair(planned) if is_done else planned
    document = {
        "format": REPAIR_FORMAT,
        **planned.to_dict(),
        "applied": is_done,
        "left": [finding.to_dict() for finding in left.findings] if is_done else [],
    }
    session.out.emit(document, text=lambda: _lines(document))
    _notes(session, document)
    is_bad = left.blocked_by or (is_done and any(f.level == "error" for f in left.findings))
    return int(ExitCode.FAILED if is_bad else ExitCode.OK)


def _lines(document: JsonObject) -> Iterator[str]:
    for finding in document["findings"]:
        yield f"{finding['level']}: {finding['code']}: {finding['message']}"
        if finding["hint"]:
            yield f"  = hint: {finding['hint']}"
    for step in document["steps"]:
        yield f"{'done' if document['applied'] else 'would'}: {step['text']}"


def _notes(session: Session, document: JsonObject) -> None:
    run_id = document["run_id"]
    if document["blocked"]:
        session.out.note(f"run {run_id} cannot be repaired; restore its files from a backup")
    elif not document["steps"]:
        session.out.note(f"run {run_id} needs no repair")
    elif not document["applied"]:
        session.out.note(f"  = hint: do it: art repair {shell_word(run_id)} --apply")
    for finding in document["left"]:
        session.out.note(f"left: {finding['code']}: {finding['message']}")
