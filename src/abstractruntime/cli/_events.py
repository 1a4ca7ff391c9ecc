"""What `serve`, `tick` and `emit` say of the trees of runs that they drive."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from abstractruntime._text import shell_word
from abstractruntime.cli._errors import Defect, as_known_error, error_document, error_lines
from abstractruntime.core.outcome import Outcome
from abstractruntime.errors import AbstractRuntimeError, RunFailed

if TYPE_CHECKING:
    from abstractruntime._json import JsonObject
    from abstractruntime._runtime.serve import ServeEvent
    from abstractruntime.cli._output import Output

EVENT_FORMAT = "art-serve-event/1"

_REASONS = {
    "timer": "its deadline passed",
    "command": "something was posted to it",
    "child": "a child ended",
    "woken": "an event or an unpause woke it",
    "interrupted": "nobody drove it",
}


def error_of(event: ServeEvent) -> AbstractRuntimeError | None:
    """Give why a tree could not go on, as an error that can be shown."""
    if event.error is None:
        return None
    known = as_known_error(event.error)
    if known is not None:
        return known
    kind = type(event.error).__name__
    return Defect(
        f"a defect of abstractruntime: {kind}: {event.error}",
        hint=f"repeat it alone, which keeps the details: art tick {shell_word(event.run_id)}",
        run_id=event.run_id,
    )


def _run_failure(event: ServeEvent) -> RunFailed | None:
    """Give why a tree that went on came to a bad end."""
    if event.outcome is not Outcome.FAILED or event.failure is None:
        return None
    from abstractruntime.rendering.failure_text import failure_text

    return RunFailed(
        failure_text(event.failure.to_dict()),
        hint=f"see what happened: art inspect {shell_word(event.run_id)}",
        run_id=event.run_id,
    )


def event_document(event: ServeEvent) -> JsonObject:
    """Give the `art-serve-event/1` document."""
    error = error_of(event) or _run_failure(event)
    return {
        "format": EVENT_FORMAT,
        "at": event.at,
        "event": event.kind,
        "run_id": event.run_id,
        "reason": event.reason,
        "status": event.status.value if event.status else None,
        "outcome": event.outcome.value if event.outcome else None,
        "error": error_document(error)["error"] if error else None,
        "retry_s": event.retry_s,
    }


def event_line(out: Output, event: ServeEvent) -> str:
    """Give the line for people."""
    run = f"{event.at} run {event.run_id}: "
    if event.kind == "advanced":
        outcome = event.outcome.value if event.outcome else "unreadable"
        failure = _run_failure(event)
        why = f": {failure}" if failure else ""
        return out.marked(run, outcome, f"{why}; it went on as {_REASONS[event.reason]}")
    return out.marked(run, event.kind, f": {error_of(event)}")


def complain_of(out: Output, event: ServeEvent) -> None:
    """Say on stderr why a tree could not go on, and when it is tried again."""
    if error := error_of(event):
        out.complain(_complaint(error, event.retry_s))


def _complaint(error: AbstractRuntimeError, retry_s: float | None) -> Iterator[str]:
    yield from error_lines(error)
    if retry_s is not None:
        yield f"  = note: it is tried again after {retry_s:g} s"
