"""The turns of a session: its root runs as question, answer and cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from abstractruntime._history._sources import descendants
from abstractruntime._json import mapping
from abstractruntime.core.models import moment_or_none
from abstractruntime.core.outcome import outcome_of
from abstractruntime.core.record_fields import (
    effect_payload,
    effect_type,
    record_status,
    result_object,
    text_or_none,
)
from abstractruntime.core.usage import total_usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from abstractruntime._history._sources import HistorySource
    from abstractruntime._json import JsonObject, JsonValue
    from abstractruntime.core.models import RunState

_PROMPT_KEYS: Final = ("prompt", "message", "task")
_ANSWER_KEYS: Final = ("response", "answer", "message", "text", "content")
_LATE_ANSWER_KEYS: Final = ("answer", "response", "message", "text", "content")


def session_turns(source: HistorySource, session_id: str, turn_limit: int) -> list[JsonObject]:
    """Give the latest turns of a session, oldest first.

    Where a session has chat turns, its other runs are left out.
    """
    candidates = source.session_roots(session_id, max(1000, 5 * turn_limit))
    kinds = {run.run_id: kind for run in candidates if (kind := _kind(run)) is not None}
    runs = [run for run in candidates if run.run_id in kinds]
    if "chat" in kinds.values():
        runs = [run for run in runs if kinds[run.run_id] == "chat"]
    runs.sort(key=lambda run: (run.created_at, run.run_id))
    return [_turn(source, run, kinds[run.run_id]) for run in runs[-max(1, turn_limit) :]]


def _kind(run: RunState) -> str | None:
    """Give `chat`, `scheduled` or `run`; None for runs of the runtime itself."""
    if run.workflow_id.startswith("__"):
        return None
    schedule = mapping(run.vars.get("_meta")).get("schedule")
    if run.workflow_id.startswith("scheduled:") or isinstance(schedule, dict):
        return "scheduled"
    messages = mapping(run.vars.get("context")).get("messages")
    return "chat" if isinstance(messages, list) else "run"


def _turn(source: HistorySource, run: RunState, kind: str) -> JsonObject:
    records = [line.record for line in source.lines(run.run_id)]
    asked = _question_holder(run)
    return {
        "run_id": run.run_id,
        "workflow_id": run.workflow_id,
        "kind": kind,
        "status": run.status.value,
        "outcome": outcome_of(run).value,
        "created_at": run.created_at,
        "updated_at": run.updated_at,
        "prompt": _prompt(asked),
        "attachments": _attachments(asked),
        "answer": _answer(run, records),
        "answer_meta": _answer_meta(run),
        "stats": _stats(source, run.run_id, records),
    }


def _question_holder(run: RunState) -> JsonObject:
    given = run.vars.get("input_data")
    return given if isinstance(given, dict) else run.vars


def _prompt(asked: JsonObject) -> str | None:
    context = mapping(asked.get("context"))
    found = [_first_text(asked, _PROMPT_KEYS), _first_text(context, ("task", "message"))]
    return next((text for text in found if text), None) or _first_user_message(context)


def _first_user_message(context: JsonObject) -> str | None:
    messages = context.get("messages")
    users = [m for m in _objects(messages) if m.get("role") == "user"]
    return next((text for m in users if (text := text_or_none(m.get("content")))), None)


def _attachments(asked: JsonObject) -> list[JsonValue]:
    for holder in (asked, mapping(asked.get("context"))):
        found = holder.get("attachments")
        if isinstance(found, list):
            return found
    return []


def _answer(run: RunState, records: list[JsonObject]) -> str | None:
    output = mapping(run.output)
    inner = output["result"] if "result" in output else output.get("output")
    found = _first_text(output, _ANSWER_KEYS) or text_or_none(inner)
    found = found or _first_text(mapping(inner), _ANSWER_KEYS)
    if found:
        return found
    return next((text for record in reversed(records) if (text := _late_answer(record))), None)


def _late_answer(record: JsonObject) -> str | None:
    if record_status(record) != "completed":
        return None
    result = result_object(record)
    if effect_type(record) == "answer_user":
        shown = result.get("message") or effect_payload(record).get("message")
        return text_or_none(shown)
    output = result.get("output")
    return text_or_none(output) or _first_text(mapping(output), _LATE_ANSWER_KEYS)


def _answer_meta(run: RunState) -> JsonObject | None:
    output = mapping(run.output)
    for holder in (output, mapping(output.get("result")), mapping(output.get("output"))):
        if isinstance(holder.get("meta"), dict):
            return mapping(holder["meta"])
    return None


def _stats(source: HistorySource, run_id: str, records: list[JsonObject]) -> JsonObject:
    every = list(records)
    for child in descendants(source, run_id)[1:]:
        every += (line.record for line in source.lines(child))
    usage = total_usage(every)
    duration = _span_ms(every)
    return {
        "duration_ms": duration,
        "llm_calls": usage.llm_calls,
        "tool_calls": usage.tool_calls,
        "usage": {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "total_tokens": usage.total_tokens,
        },
        "tok_s": round(usage.output_tokens * 1000 / duration, 2) if duration else None,
    }


def _span_ms(records: Iterable[Mapping[str, Any]]) -> float | None:
    moments = [
        moment
        for record in records
        for moment in map(moment_or_none, (record.get("started_at"), record.get("ended_at")))
        if moment is not None
    ]
    if not moments:
        return None
    return round((max(moments) - min(moments)).total_seconds() * 1000, 2)


def _first_text(holder: JsonObject, keys: tuple[str, ...]) -> str | None:
    return next((text for key in keys if (text := text_or_none(holder.get(key)))), None)


def _objects(value: JsonValue) -> list[JsonObject]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
