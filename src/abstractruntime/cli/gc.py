"""`art gc`: remove what no run of a store needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from abstractruntime._json import JsonObject
from abstractruntime._ports_system import SystemClock
from abstractruntime.cli._confirm import YesOption, require_consent
from abstractruntime.cli._lazy import uses_store
from abstractruntime.cli._session import Session
from abstractruntime.cli._store import reading, resolve_run, writing
from abstractruntime.core.store import Store
from abstractruntime.errors import ExitCode, NotFound, UsageError
from abstractruntime.rendering.terminal import plural

GC_FORMAT = "art-gc/1"
_DAY_S = 86_400.0
_MIN_GRACE_S = 3600


@uses_store
def gc(
    session: Session,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would go; the default.")
    ] = False,
    apply: Annotated[bool, typer.Option("--apply", help="Remove it.")] = False,
    grace: Annotated[
        float,
        typer.Option("--grace", metavar="DAYS", min=0, max=36_500, help="What is younger stays."),
    ] = 7.0,
    purge: Annotated[
        list[str],
        typer.Option(
            "--purge", metavar="RUN", help="Remove this finished run and all below it; repeatable."
        ),
    ] = [],  # noqa: B006 - the parser makes a new list for each call
    quarantine: Annotated[
        bool, typer.Option("--quarantine", help="Torn bytes that recovery kept aside, too.")
    ] = False,
    yes: YesOption = False,
) -> int:
    """Say which files no run needs, or remove them; runs may go on meanwhile.

    Runs go only when they are purged by name; of each a tombstone stays, which names the
    head of its ledger. The bundle of a live run always stays.
    """
    if dry_run and apply:
        raise UsageError("--dry-run and --apply exclude each other", hint="leave one of them out")
    if grace * _DAY_S < _MIN_GRACE_S:
        raise UsageError(
            f"a grace period of {grace:g} days is too short: what runs are just writing could go",
            hint="use 0.042 (an hour) or more",
            argument="--grace",
        )
    with writing(session) if apply else reading(session) as engine:
        plan = engine.care.plan_collection(
            grace_s=grace * _DAY_S,
            now=SystemClock().now(),
            purge=[_run_to_purge(engine, text) for text in purge],
            quarantine=quarantine,
        )
        if apply and (lost := _lost(plan.to_dict(), quarantine=quarantine)):
            require_consent(f"Remove {lost}?", yes=yes, loses=True)
        report = engine.care.collect(plan).to_dict() if apply else None
    document = _document(plan.to_dict(), report)
    session.out.emit(document, text=lambda: _lines(document), items="items")
    _notes(session, document)
    return int(ExitCode.OK)


def _lost(plan: JsonObject, *, quarantine: bool) -> str:
    """Name what somebody may miss; what no run needs is nothing of the kind."""
    lost = [_purge_in_words(part) for part in plan["purges"] if part["runs"]]
    aside = [item for item in plan["items"] if item["kind"] == "quarantine"] if quarantine else []
    if aside:
        lost.append(f"{plural(len(aside), 'file')} of torn bytes")
    return ", ".join(lost)


def _purge_in_words(part: JsonObject) -> str:
    below = [run for run in part["runs"] if run != part["run_id"]]
    more = f" with {', '.join(below)} below it" if below else ""
    return f"run {part['run_id']}{more} ({part['size_bytes']} bytes)"


def _run_to_purge(engine: Store, text: str) -> str:
    try:
        return resolve_run(engine, text)
    except NotFound:
        return text  # it may be the run of a purge that was interrupted


def _document(plan: JsonObject, report: JsonObject | None) -> JsonObject:
    kept = report["kept"] if report is not None else []
    going = [item for item in plan["items"] if item not in kept]
    return {
        "format": GC_FORMAT,
        "applied": report is not None,
        "size_bytes": sum(part["size_bytes"] for part in (*plan["purges"], *going)),
        "purges": plan["purges"],
        "items": going,
        "kept": kept,
    }


def _lines(document: JsonObject) -> Iterator[str]:
    for part in document["purges"]:
        yield f"run\t{part['run_id']}\t{part['size_bytes']}"
    for item in document["items"]:
        yield f"{item['kind']}\t{item['path']}\t{item['size_bytes']}"


def _notes(session: Session, document: JsonObject) -> None:
    runs = sum(len(part["runs"]) for part in document["purges"])
    verb = "removed" if document["applied"] else "would remove"
    what = f"{plural(len(document['items']), 'file')} and {plural(runs, 'run')}"
    session.out.note(f"{verb} {what}, {document['size_bytes']} bytes")
    if document["kept"]:
        session.out.note(f"note: {len(document['kept'])} files had changed meanwhile, and stay")
    if not document["applied"] and (document["items"] or runs):
        session.out.note("  = hint: remove them: the same with --apply")
