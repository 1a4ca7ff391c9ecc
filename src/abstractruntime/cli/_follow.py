"""Following ledgers: what a run of this process does as it does it, or what another one adds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from abstractruntime._json import mapping
from abstractruntime.core.models import RunStatus
from abstractruntime.core.outcome import ended_as
from abstractruntime.core.record_fields import (
    effect_payload,
    effect_type,
    result_object,
    terminal_status,
)
from abstractruntime.rendering.notes import note_of

if TYPE_CHECKING:
    from abstractruntime.cli._session import Session
    from abstractruntime.core.ports import Clock, Engine, StoredRecord
    from abstractruntime.core.store import Store

_PAUSE_S = 0.5
_NEAR = (4, 64)
_SHORT = 8
_OUTCOMES = {word.value: ended_as(word).value for word in RunStatus if word.is_terminal}


def follow(engine: Engine, run_id: str, *, after: int, clock: Clock) -> Iterator[StoredRecord]:
    """Give the records behind `after` as they are committed, until the run has ended."""
    while True:
        # Invariant: asked before reading, so that the last records are not missed.
        has_ended = engine.peek(run_id).status.is_terminal
        for item in records_behind(engine, run_id, after):
            after = item.seq
            yield item
        if has_ended:
            return
        clock.sleep(_PAUSE_S)


def records_behind(engine: Engine, run_id: str, after: int) -> list[StoredRecord]:
    """Give the records behind `after`; those before are read only when many are new."""
    for limit in _NEAR:
        found = engine.recent(run_id, limit)
        if not found or found[0].seq <= after + 1:
            return [item for item in found if item.seq > after]
    return list(engine.records(run_id, after=after))


@contextmanager
def telling(
    session: Session,
    engine: Store,
    root: str,
    labels: Mapping[str, str],
    *,
    steps: bool = False,
) -> Iterator[None]:
    """Say on stderr what the runs of a tree tell the user, and with `steps` all that they do.

    Lines of other runs than the root begin with the run.
    """

    def say(record: Mapping[str, Any]) -> None:
        run_id = record.get("run_id")
        place = "" if run_id == root else f"{str(run_id)[:_SHORT]}: "
        if steps and (line := _step_line(record, labels)):
            session.out.note(f"{place}{line}")
        note = note_of(record)
        if note is not None and effect_type(record) == "answer_user":
            first, *more = note.text.splitlines() or [""]
            session.out.note(f"{place}{note.kind}: {first}", *(f"  | {line}" for line in more))

    stop = engine.subscribe(say)
    try:
        yield
    finally:
        stop()


def _step_line(record: Mapping[str, Any], labels: Mapping[str, str]) -> str | None:
    kind = effect_type(record)
    if kind is None:
        return None
    if status := terminal_status(record):
        outcome = result_object(record).get("outcome") or _OUTCOMES.get(status, status)
        return f"{outcome}: run {record.get('run_id')}"
    if kind == "resume":
        return _answer_line(record, labels)
    node = str(record.get("node_id"))
    error = f": {record['error']}" if record.get("error") else ""
    return f"{record.get('status')}: {labels.get(node, node)} ({kind}){error}"


def _answer_line(record: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    """Say how a wait ended; one for a child that failed is no better than the child."""
    node = str(record.get("node_id"))
    output = mapping(mapping(effect_payload(record).get("payload")).get("output"))
    error = record.get("error") or (output.get("error") if output.get("success") is False else None)
    label = labels.get(node, node)
    return f"failed: {label}: {error}" if error else f"resumed: {label}"
