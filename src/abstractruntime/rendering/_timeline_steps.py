"""How one record changes a step of the timeline: pure functions, record in, value out."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from abstractruntime._json import mapping
from abstractruntime.core.record_fields import (
    attempt_number,
    effect_payload,
    effect_type,
    record_status,
    result_object,
    text_or_none,
)
from abstractruntime.rendering._timeline_model import Answer, Attempt, Note, Step, Wait

if TYPE_CHECKING:
    from collections.abc import Mapping

    from abstractruntime._json import JsonObject, JsonValue

PREVIEW_CHARS: Final = 2000


def preview(value: JsonValue) -> str:
    """Give compact JSON, cut after 2000 characters with an ellipsis; total over any value."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    return shorten(text)


def shorten(text: str) -> str:
    return text if len(text) <= PREVIEW_CHARS else text[: PREVIEW_CHARS - 1] + "…"


def seq(record: Mapping[str, Any]) -> int | None:
    seq = record.get("seq")
    return seq if isinstance(seq, int) else None


def is_retry(step: Step, record: Mapping[str, Any]) -> bool:
    """Tell whether a record with a new step id is the next attempt of `step`.

    A failed attempt and one that a crash cut off are both followed by a higher number.
    """
    return (
        attempt_number(record) > step.attempts[-1].number
        and step.status in ("failed", "started")
        and step.node_id == record.get("node_id")
        and step.effect_type == effect_type(record)
    )


def bare_step(record: Mapping[str, Any], labels: Mapping[str, str]) -> Step:
    node_id = text_or_none(record.get("node_id")) or ""
    return Step(
        seq=seq(record),
        step_id=text_or_none(record.get("step_id")),
        node_id=node_id,
        label=labels.get(node_id, node_id),
        effect_type=effect_type(record),
        status=record_status(record),
        attempts=(_attempt_of(record),),
    )


def _attempt_of(record: Mapping[str, Any]) -> Attempt:
    return Attempt(
        number=attempt_number(record),
        status=record_status(record),
        started_at=text_or_none(record.get("started_at")),
        ended_at=text_or_none(record.get("ended_at")),
        error=text_or_none(record.get("error")),
    )


def with_attempt(step: Step, record: Mapping[str, Any]) -> Step:
    """Give the step with this record as its latest attempt, or as the outcome of it."""
    attempt, last = _attempt_of(record), step.attempts[-1]
    if attempt.number == last.number:
        return replace(step, attempts=(*step.attempts[:-1], attempt))
    if last.status == "started":
        last = replace(last, status="interrupted")
    return replace(step, attempts=(*step.attempts[:-1], last, attempt))


def with_outcome(step: Step, record: Mapping[str, Any]) -> Step:
    status, result = record_status(record), result_object(record)
    wait = _wait_of(record) if status == "waiting" else step.wait
    details = mapping(mapping(result.get("wait")).get("details"))
    children = merge(step.children, children_of(result), children_of(details))
    shown = record.get("result")
    return replace(
        step,
        status=status,
        wait=wait,
        children=children,
        note=_note_of(record) if status == "completed" else step.note,
        result=preview(shown) if shown is not None and status == "completed" else step.result,
        error=text_or_none(record.get("error")),
    )


def _wait_of(record: Mapping[str, Any]) -> Wait:
    wait = mapping(result_object(record).get("wait"))
    choices = wait.get("choices")
    return Wait(
        reason=text_or_none(wait.get("reason")) or "",
        wait_key=text_or_none(wait.get("wait_key")),
        prompt=text_or_none(wait.get("prompt")),
        choices=tuple(str(choice) for choice in choices) if isinstance(choices, list) else (),
        allow_free_text=wait.get("allow_free_text") is not False,
        until=text_or_none(wait.get("until")),
        since=text_or_none(record.get("ended_at")) or text_or_none(record.get("started_at")),
    )


def answers(record: Mapping[str, Any], wait: Wait) -> bool:
    """Tell whether a resume record fits a wait; a side without a key matches any."""
    key = text_or_none(effect_payload(record).get("wait_key"))
    return key is None or wait.wait_key is None or key == wait.wait_key


def with_answer(step: Step, wait: Wait, record: Mapping[str, Any]) -> Step:
    """Give the step with its wait closed by a resume record."""
    children = merge(step.children, children_of(mapping(effect_payload(record).get("payload"))))
    answered = replace(wait, answer=answer_of(record))
    return replace(step, status="completed", wait=answered, children=children)


def answer_of(record: Mapping[str, Any]) -> Answer:
    payload = effect_payload(record).get("payload")
    return Answer(
        seq=seq(record),
        actor=text_or_none(result_object(record).get("actor")),
        at=text_or_none(record.get("ended_at")) or text_or_none(record.get("started_at")),
        payload=preview(payload),
        timed_out=mapping(payload).get("timed_out") is True,
    )


def children_of(value: JsonObject) -> tuple[str, ...]:
    child = text_or_none(value.get("sub_run_id"))
    return (child,) if child else ()


def merge(*groups: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(child for group in groups for child in group))


def _note_of(record: Mapping[str, Any]) -> Note | None:
    """Give the text of a message to the user: `answer_user`, or an `abstract.*` event."""
    payload, kind = effect_payload(record), effect_type(record)
    if kind == "answer_user":
        shown = result_object(record).get("message", payload.get("message"))
        level = text_or_none(payload.get("level")) or "message"
        return Note(level, _plain(shown))
    name = text_or_none(payload.get("name")) or ""
    if kind != "emit_event" or not name.startswith("abstract."):
        return None
    body = payload.get("payload")
    text = mapping(body).get("text", mapping(body).get("message", body))
    return Note(name, _plain(text))


def _plain(value: JsonValue) -> str:
    return shorten(value) if isinstance(value, str) else preview(value)
