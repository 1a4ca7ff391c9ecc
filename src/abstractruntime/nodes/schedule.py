"""The node that runs its branch at given times."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timezone

from abstractruntime._json import JsonObject, JsonValue
from abstractruntime.core.models import EffectType, format_time, parse_moment
from abstractruntime.nodes._events import filled_text
from abstractruntime.nodes.base import (
    EffectNode,
    Element,
    Example,
    NodeError,
    Pin,
    PlannedEffect,
    Problem,
    Scope,
    register,
)
from abstractruntime.nodes.interaction import as_flag
from abstractruntime.nodes.keys import TEXT, settings
from abstractruntime.nodes.schedules import Schedule, read_schedule

_DEFAULT = "15s"  # Compat: of a node that says nothing, as in 0.4.x.
_SETTING = "/data/eventConfig/schedule"
_ANY_TIME = datetime(2026, 1, 1, tzinfo=timezone.utc)


@register
class OnScheduleNode(EffectNode):
    type = "on_schedule"
    family = "schedule"
    is_trigger = True
    waits = "always"
    names_effect = False
    doc = (
        "Runs its branch when the schedule is due, and then waits for the next time: an interval such "
        "as 200ms, 15s, 5m, 1.5h or 1d, a moment in ISO 8601 (once), or a cron expression with five "
        "fields, or six with seconds first. An interval is counted from when the last turn was due, is "
        "first due one interval after the start, and repeats no faster than every 100 ms. After a "
        "standstill it runs once, however many turns were missed. Without `recurrent` it runs once. A schedule that is empty or cannot be read is an error."
    )
    inputs = (
        Pin("schedule", "string", "When to run.", control_plane=True),
        Pin("recurrent", "boolean", "Whether to run again and again.", control_plane=True),
        Pin("timezone", "string", "Time zone of a cron expression.", control_plane=True),
    )
    primary_pin = "timestamp"
    outputs = (
        Pin("timestamp", "string", "When this turn began."),
        Pin("scheduled_for", "string", "When this turn was due."),
        Pin("recurrent", "boolean", "Whether another turn follows."),
    )
    data_schema = settings(
        "eventConfig",
        schedule=TEXT,
        recurrent={"type": ["boolean", "string"], "default": True},
        timezone=TEXT,
    )
    examples = (
        Example(
            {"schedule": "10m"},
            output={
                "scheduled_for": "2026-01-02T03:14:05.000000+00:00",
                "recurrent": True,
                "timestamp": "2026-01-02T03:14:05+00:00",
            },
            asks={"wait_until": {"until": "2026-01-02T03:14:05.000000+00:00"}},
            result={"timestamp": "2026-01-02T03:14:05+00:00"},
        ),
    )
    compat = (
        "Effects 4: waking stores `timestamp`; turns are anchored at when they were due. Effects 10: "
        "inputs never come from the ambient value. Effects 16: cron expressions work. Effects 18: "
        '`recurrent` reads "no" and "false" as false, and the pin says what holds.'
    )

    def check(self, element: Element) -> Iterable[Problem]:
        if "schedule" in element.wired:
            return
        try:
            schedule = _schedule(element, element.pin_defaults)
            schedule.first(_ANY_TIME)
        except NodeError as error:
            if "timezone" not in element.wired:
                yield Problem(
                    str(error), pin="schedule", hint=_hint(element), pointer=_pointer(element)
                )
            return
        if not _given(element, element.pin_defaults):
            yield Problem(
                "has no schedule; it runs every 15 s",
                pin="schedule",
                hint='set eventConfig.schedule, such as "10m"',
                severity="warning",
            )
        if schedule.hasty:
            yield Problem(
                f"is to repeat every {_said(element, element.pin_defaults)!r}; it repeats every 100 ms",
                "VF116",
                pin="schedule",
                hint="write an interval of at least 100ms",
                pointer=_pointer(element),
            )

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


def _schedule(element: Element, inputs: Mapping[str, JsonValue]) -> Schedule:
    zone = filled_text(inputs.get("timezone"), element.config("eventConfig").get("timezone"))
    return read_schedule(_said(element, inputs), zone)


def _said(element: Element, inputs: Mapping[str, JsonValue]) -> JsonValue:
    """Give what says when: the pin, or else the setting if the pin is null or blank."""
    given = _given(element, inputs)
    filled = [v for v in given if v is not None and not (isinstance(v, str) and not v.strip())]
    return next(iter(filled or given), _DEFAULT)


def _given(element: Element, inputs: Mapping[str, JsonValue]) -> list[JsonValue]:
    sources = (inputs, element.config("eventConfig"))
    return [source["schedule"] for source in sources if "schedule" in source]


def _recurrent(element: Element, inputs: JsonObject) -> bool:
    value = inputs.get("recurrent")
    if value is None:
        value = element.config("eventConfig").get("recurrent")
    return as_flag(value, default=True)


def _wait(until: datetime) -> PlannedEffect:
    return PlannedEffect(EffectType.WAIT_UNTIL.value, {"until": format_time(until)})


def _hint(element: Element) -> str:
    where = "the pin's default" if "schedule" in element.pin_defaults else "eventConfig.schedule"
    return f"correct {where}"


def _pointer(element: Element) -> str:
    is_in_block = "schedule" in element.config("eventConfig")
    return "" if "schedule" in element.pin_defaults or not is_in_block else _SETTING
