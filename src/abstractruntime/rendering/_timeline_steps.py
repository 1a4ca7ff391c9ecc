"""How one record changes a step of the timeline: pure functions, record in, value out."""

from __future__ import annotations

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
from abstractruntime.core.run_tree import choice_text
from abstractruntime.rendering._timeline_model import Answer, Attempt, Step, Wait
from abstractruntime.rendering.notes import note_of, preview

if TYPE_CHECKING:
    from collections.abc import Mapping

    from abstractruntime._json import JsonObject

_ENDED_BADLY: Final = frozenset({"failed", "cancelled"})
_HELD: Final = frozenset({"paused", "limited", "interrupted", "quarantined"})


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
        note=note_of(record) or step.note,
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
        choices=tuple(map(choice_text, choices)) if isinstance(choices, list) else (),
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
    status = "failed" if record_status(record) == "failed" else "completed"
    error = text_or_none(record.get("error"))
    return replace(step, status=status, wait=answered, children=children, error=error)


def with_children(step: Step, outcomes: Mapping[str, str]) -> Step:
    """Give the step with what became of the runs that it started; it is no better than they are."""
    known = {child: outcomes[child] for child in step.children if child in outcomes}
    bad = [word for word in known.values() if word in _ENDED_BADLY]
    held = [word for word in known.values() if word in _HELD]
    status = step.status
    if status == "completed":
        status = next(iter(bad), status)
    elif status == "waiting":
        status = next(iter(held), status)
    return replace(step, child_outcomes=known, status=status)


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
