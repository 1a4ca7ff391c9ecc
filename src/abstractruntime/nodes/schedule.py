"""The node that runs its branch at given times."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import ClassVar

from abstractruntime._json import JsonObject, JsonValue
from abstractruntime.core.models import EffectType, format_time, parse_moment
from abstractruntime.nodes._effect_examples import EFFECT_EXAMPLES
from abstractruntime.nodes._events import filled_text
from abstractruntime.nodes.base import (
    EffectNode,
    Element,
    NodeError,
    Pin,
    PlannedEffect,
    Problem,
    Scope,
    register,
)
from abstractruntime.nodes.interaction import as_flag
from abstractruntime.nodes.schedules import Schedule, read_schedule

_DEFAULT = "15s"


@register
class OnSchedule(EffectNode):
    type = "on_schedule"
    family = "schedule"
    is_trigger = True
    names_effect = False
    doc = (
        "Runs its branch when the schedule is due, and then waits for the next time: an interval such "
        "as 200ms, 15s, 5m, 1.5h or 1d, a moment in ISO 8601 (once), or a cron expression with five "
        "fields, or six with seconds first. An interval is counted from when the last turn was due, is "
        "first due one interval after the start, and repeats no faster than every 100 ms. After a "
        "standstill it runs once, however many turns were missed. Without `recurrent` it runs once."
    )
    inputs = (
        Pin("schedule", "string", "When to run.", control_plane=True),
        Pin("recurrent", "boolean", "Whether to run again and again.", control_plane=True),
        Pin("timezone", "string", "Time zone of a cron expression.", control_plane=True),
    )
    outputs = (
        Pin("timestamp", "string", "When this turn began."),
        Pin("scheduled_for", "string", "When this turn was due."),
        Pin("recurrent", "boolean", "Whether another turn follows."),
    )
    data_schema: ClassVar[JsonObject] = {
        "eventConfig": {
            "type": "object",
            "properties": {
                "schedule": {"type": "string"},
                "recurrent": {"type": ["boolean", "string"]},
                "timezone": {"type": "string"},
            },
        },
    }
    examples = EFFECT_EXAMPLES["on_schedule"]
    compat = (
        "Effects 4: waking stores `timestamp`; turns are anchored at when they were due. Effects 10: "
        "inputs never come from the ambient value. Effects 16: cron expressions work. Effects 18: "
        '`recurrent` reads "no" and "false" as false, and the pin says what holds.'
    )

    def check(self, element: Element) -> Iterable[Problem]:
        if element.wired.isdisjoint(("schedule", "timezone")):
            try:
                _schedule(element, dict(element.pin_defaults))
            except NodeError as error:
                yield Problem("schedule", str(error), pin="schedule", hint=_hint(element))

    def plan(self, element: Element, inputs: JsonObject, scope: Scope) -> PlannedEffect:
        return _wait(_schedule(element, inputs).first(scope.now()))

    def replan(
        self, element: Element, inputs: JsonObject, scope: Scope, before: JsonObject
    ) -> PlannedEffect:
        schedule, now = _schedule(element, inputs), scope.now()
        due = before.get("scheduled_for")
        anchor = parse_moment(due) if isinstance(due, str) else now
        return _wait(schedule.following(anchor, now))

    def rearms(self, element: Element, inputs: JsonObject) -> bool:
        return _recurrent(element, inputs) and _schedule(element, inputs).repeats

    def echo(self, element: Element, inputs: JsonObject, effect: PlannedEffect) -> JsonObject:
        again = self.rearms(element, inputs)
        return {"scheduled_for": effect.payload["until"], "recurrent": again}

    def pins(self, element: Element, result: JsonValue) -> JsonObject:
        # What a person answered instead of the clock says nothing about the schedule.
        facts = result if isinstance(result, dict) else {}
        return {name: facts[name] for name in ("timestamp",) if name in facts}

    def primary(self, element: Element, record: JsonObject) -> JsonValue:
        return record.get("timestamp")


def _schedule(element: Element, inputs: JsonObject) -> Schedule:
    config = element.config("eventConfig")
    text = filled_text(inputs.get("schedule"), config.get("schedule"))
    zone = filled_text(inputs.get("timezone"), config.get("timezone"))
    return read_schedule(text or _DEFAULT, zone)


def _recurrent(element: Element, inputs: JsonObject) -> bool:
    value = inputs.get("recurrent")
    if value is None:
        value = element.config("eventConfig").get("recurrent")
    return True if value is None else as_flag(value)


def _wait(until: datetime) -> PlannedEffect:
    return PlannedEffect(EffectType.WAIT_UNTIL.value, {"until": format_time(until)})


def _hint(element: Element) -> str:
    where = "the pin's default" if "schedule" in element.pin_defaults else "eventConfig.schedule"
    return f"correct {where}"
