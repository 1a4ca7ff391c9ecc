"""Nodes that talk to a person, wait for a moment, or wait for an event."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone

from abstractruntime._json import JsonObject, JsonValue
from abstractruntime._near import close_names
from abstractruntime.core.models import format_time
from abstractruntime.nodes._shown import shown_value
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
from abstractruntime.nodes.keys import flag, settings

_UNIT_SECONDS = {"seconds": 1, "minutes": 60, "hours": 3600}
_EARLIEST = datetime(2000, 1, 1, tzinfo=timezone.utc)
"""No run is at an earlier time."""
_LEVELS = {"message": "message", "warning": "warning", "error": "error", "warn": "warning"}


def as_flag(value: JsonValue, *, default: bool = False) -> bool:
    """Read a boolean as authors write it: true, 1, "yes", "on"; any other text is false.

    Null says nothing, so it is the default.
    """
    if value is None:
        return default
    if isinstance(value, str):
        return value.strip().lower() in ("true", "1", "yes", "on")
    return bool(value)


_ASKED = (str, int, float)


def _odd_choices(choices: JsonValue, kinds: tuple[type, ...]) -> Iterable[Problem]:
    """Find choices that a person cannot tell apart, or cannot make."""
    for place, choice in enumerate(choices if isinstance(choices, list) else ()):
        if not isinstance(choice, kinds) or choice == "":
            what = f"choice {place + 1} is {shown_value(choice)}, expected a text that says it"
        elif choice in choices[:place]:
            what = f"choice {place + 1} repeats {shown_value(choice)}"
        else:
            continue
        yield Problem(what, "VF210", pin="choices", hint='write texts, such as ["yes", "no"]')


@register
class AskUserNode(EffectNode):
    type = "ask_user"
    needs = ("prompt",)
    family = "interaction"
    bare_input = "prompt"
    waits = "always"
    doc = (
        "Asks a person and waits for the answer, as long as it takes. All keys of the answer become "
        "output pins; `response` is the answer itself."
    )
    inputs = (
        Pin("prompt", "string", default="Please respond:"),
        Pin("choices", "array", default=[], strict=True),
    )
    primary_pin = "response"
    outputs = (
        Pin("response", "string", role="speech"),
        Pin("prompt", "string"),
        Pin("choices", "array"),
    )
    data_schema = settings("effectConfig", allowFreeText=flag(default=True))
    examples = (
        Example(
            {"prompt": "Publish?", "choices": ["yes", "no"]},
            output={"prompt": "Publish?", "choices": ["yes", "no"], "response": "yes"},
            asks={
                "ask_user": {
                    "prompt": "Publish?",
                    "choices": ["yes", "no"],
                    "allow_free_text": True,
                }
            },
            result={"response": "yes"},
        ),
    )
    compat = (
        "Effects 12: a null or empty prompt is the default prompt; a missing answer is null. "
        "Effects 3: `prompt` and `choices` survive a restart."
    )

    def check(self, element: Element) -> Iterable[Problem]:
        config = element.config("effectConfig")
        is_closed = config.get("allowFreeText") is False
        has_choices = "choices" in element.wired or element.pin_defaults.get("choices")
        if is_closed and not has_choices:
            yield Problem(
                "allows no free text and offers no choices",
                "VF113",
                pin="choices",
                hint="connect choices, or allow free text",
                pointer="/data/effectConfig",
            )

    def doubts(self, element: Element, inputs: JsonObject) -> Iterable[Problem]:
        return _odd_choices(inputs.get("choices"), _ASKED)

    def output_names(self, element: Element) -> frozenset[str] | None:
        return None  # every key of the answer

    def plan(self, element: Element, inputs: JsonObject, scope: Scope) -> PlannedEffect:
        prompt, choices = inputs.get("prompt"), inputs.get("choices", [])
        allow = element.config("effectConfig").get("allowFreeText")
        payload = {
            "prompt": "Please respond:" if prompt in (None, "") else prompt,
            "choices": choices if isinstance(choices, list) else None,
            "allow_free_text": as_flag(allow, default=True),
        }
        return PlannedEffect("ask_user", payload)

    def echo(self, element: Element, inputs: JsonObject, effect: PlannedEffect) -> JsonObject:
        return {"prompt": effect.payload["prompt"], "choices": effect.payload["choices"]}

    def pins(self, element: Element, result: JsonValue) -> JsonObject:
        if isinstance(result, dict):
            return {"response": None, **result}
        return {"response": result}


_DONE: JsonObject = {"message": "done", "level": "message"}


@register
class AnswerUserNode(EffectNode):
    type = "answer_user"
    needs = ("message",)
    family = "interaction"
    bare_input = "message"
    doc = "Shows a message to the user and goes on."
    inputs = (
        Pin("message", "string", default=""),
        Pin("level", "string", default="message", choices=tuple(_LEVELS)),
    )
    primary_pin = "message"
    outputs = (Pin("message", "string"), Pin("level", "string"))
    examples = (
        Example({"message": "done"}, output=_DONE, asks={"answer_user": _DONE}, result=_DONE),
    )
    compat = "Effects 12: a null message is the empty text."

    def plan(self, element: Element, inputs: JsonObject, scope: Scope) -> PlannedEffect:
        message, level = inputs.get("message"), inputs.get("level")
        payload = {
            "message": "" if message is None else message,
            "level": _LEVELS.get(str(level).strip().lower(), "message"),
        }
        return PlannedEffect("answer_user", payload)

    def pins(self, element: Element, result: JsonValue) -> JsonObject:
        record = result if isinstance(result, dict) else {"message": result}
        return {"message": record.get("message"), "level": record.get("level")}


@register
class WaitUntilNode(EffectNode):
    type = "wait_until"
    needs = ("duration",)
    family = "interaction"
    waits = "always"
    doc = (
        "Waits for a time span (`durationType` seconds, minutes or hours) or until a moment (`timestamp`, "
        "ISO 8601, UTC unless it says otherwise). The deadline is fixed when the node is reached."
    )
    inputs = (Pin("duration"),)
    outputs = (
        Pin("until", "string"),
        Pin("ready", "boolean"),
        Pin("scheduled_for", "string"),
        Pin("timestamp", "string"),
    )
    data_schema = settings("effectConfig", durationType={"enum": [*_UNIT_SECONDS, "timestamp"]})
    examples = (
        Example(
            {"duration": 5},
            output={"until": "2026-01-02T03:09:05+00:00", "ready": True},
            data={"effectConfig": {"durationType": "minutes"}},
            asks={"wait_until": {"until": "2026-01-02T03:09:05.000000+00:00"}},
            result={"until": "2026-01-02T03:09:05+00:00", "ready": True},
        ),
    )
    compat = (
        "Effects 4: waking stores the pins. A time that cannot be read, or is missing, and a `durationType` "
        "that there is not, are errors; 0.4.x did not wait then, or took them for seconds."
    )

    def check(self, element: Element) -> Iterable[Problem]:
        try:
            unit = _unit(element)
        except NodeError as error:
            yield Problem(
                str(error),
                hint=_unit_hint(element.config("effectConfig")["durationType"]),
                pointer="/data/effectConfig/durationType",
            )
            return
        if "duration" not in element.pin_defaults or "duration" in element.wired:
            return
        value = element.pin_defaults["duration"]
        try:
            length = _checked(value, unit)
        except NodeError as error:
            yield Problem(str(error), pin="duration", hint="correct the pin's default")
            return
        if length < 0:
            # Compat: as recorded from 0.4.2, such a wait is over at once.
            yield Problem(
                f"is to wait for {shown_value(value)} {unit}, so it does not wait at all",
                pin="duration",
                hint="write a time that is not negative, or delete the node",
                severity="warning",
            )

    def plan(self, element: Element, inputs: JsonObject, scope: Scope) -> PlannedEffect:
        unit, duration = _unit(element), inputs.get("duration")
        if unit == "timestamp":
            return PlannedEffect("wait_until", {"until": _moment(duration)})
        seconds = _length(duration, unit) * _UNIT_SECONDS[unit]
        return PlannedEffect("wait_until", {"until": _after(scope.now(), seconds)})


def _unit(element: Element) -> str:
    unit = element.config("effectConfig").get("durationType")
    if unit in (None, ""):
        return "seconds"
    if isinstance(unit, str) and unit in (*_UNIT_SECONDS, "timestamp"):
        return unit
    raise NodeError(
        f"durationType is {shown_value(unit)}, expected seconds, minutes, hours or timestamp"
    )


def _unit_hint(unit: JsonValue) -> str:
    near = close_names(unit, _UNIT_SECONDS) if isinstance(unit, str) else []
    return f"did you mean {near[0]!r}?" if near else "write the time in hours"


def _length(value: JsonValue, unit: str) -> float:
    """Read how long to wait; what cannot be read must not become no wait, or a short one."""
    is_number = not isinstance(value, bool) and "_" not in str(value)
    try:
        number = float(value) if is_number else math.nan
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        shown = "nothing" if value is None else shown_value(value)
        raise NodeError(f"cannot wait for {shown}: expected a number of {unit}")
    return number


def _after(now: datetime, seconds: float) -> str:
    try:
        return format_time(now + timedelta(seconds=seconds))
    except OverflowError:
        raise NodeError(f"a delay of {seconds:g} seconds is beyond the calendar") from None


def _checked(value: JsonValue, unit: str) -> float:
    """Give how long a run would wait, without end for a moment; whenever it runs."""
    if unit == "timestamp":
        if not _moment(value):
            raise NodeError("cannot wait for nothing: expected a moment")
        return math.inf
    length = _length(value, unit)
    _after(_EARLIEST, length * _UNIT_SECONDS[unit])
    return length


def _moment(value: JsonValue) -> str:
    """Give the text of a moment as written; a blank one is left to the effect to refuse."""
    text = "" if value is None else str(value).strip()
    if not text:
        return text
    try:
        datetime.fromisoformat(text.upper().replace("Z", "+00:00"))
    except ValueError:
        raise NodeError(
            f"'{text}' is not a moment, expected ISO 8601 like 2030-01-31T09:00:00+00:00"
        ) from None
    return text


@register
class WaitEventNode(EffectNode):
    type = "wait_event"
    family = "interaction"
    bare_input = "event_key"
    waits = "always"
    doc = (
        "Waits until someone resumes the run with this wait key. The key is used as it stands: an "
        "emitted event needs the full form `evt:<scope>:<id>:<name>`."
    )
    inputs = (
        Pin("event_key", "string", default="default", role="awaits"),
        Pin("prompt", "string"),
        Pin("choices", "array", strict=True),
        Pin("allow_free_text", "boolean", default=True),
    )
    primary_pin = "event_data"
    outputs = (Pin("event_data", "object"), Pin("event_key", "string"))
    examples = (
        Example(
            {"event_key": "evt:session:s1:paid"},
            output={"event_key": "evt:session:s1:paid", "event_data": {"amount": 3}},
            asks={"wait_event": {"wait_key": "evt:session:s1:paid", "allow_free_text": True}},
            result={"amount": 3},
        ),
    )
    compat = 'Effects 18: `allow_free_text` reads "no" and "false" as false. `event_key` survives a restart.'

    def doubts(self, element: Element, inputs: JsonObject) -> Iterable[Problem]:
        if inputs.get("event_key", "default") in (None, ""):
            yield Problem(
                "fails whenever it runs: the wait key is empty",
                "VF319",
                pin="event_key",
                hint="write the key that the run is resumed with",
            )
        yield from _odd_choices(inputs.get("choices"), (str,))

    def plan(self, element: Element, inputs: JsonObject, scope: Scope) -> PlannedEffect:
        key = inputs.get("event_key", "default")
        payload: JsonObject = {"wait_key": key if key is None else str(key)}
        prompt = inputs.get("prompt")
        if isinstance(prompt, str) and prompt.strip():
            payload["prompt"] = prompt
        choices = inputs.get("choices")
        if isinstance(choices, list):
            kept = [c for c in choices if isinstance(c, str) and c.strip()]
            payload |= {"choices": kept} if kept else {}
        payload["allow_free_text"] = as_flag(inputs.get("allow_free_text"), default=True)
        return PlannedEffect("wait_event", payload)

    def echo(self, element: Element, inputs: JsonObject, effect: PlannedEffect) -> JsonObject:
        return {"event_key": effect.payload["wait_key"]}

    def pins(self, element: Element, result: JsonValue) -> JsonObject:
        return {"event_data": result}
