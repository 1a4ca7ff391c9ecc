"""Nodes that send events to other runs, and that hear them again and again."""

from __future__ import annotations

from collections.abc import Iterable

from abstractruntime._json import JsonObject, JsonValue
from abstractruntime.core.models import EffectType
from abstractruntime.nodes._events import SCOPES, filled_text, scope_address, scope_name
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
from abstractruntime.nodes.keys import TEXT, older, settings

_ANY_EVENT = "*"
_SCOPE_SCHEMA = {"enum": list(SCOPES)}


def _scope_problem(element: Element, config: str) -> Iterable[Problem]:
    scope = element.config(config).get("scope")
    text = scope.strip().lower() if isinstance(scope, str) else ""
    if text and text not in SCOPES:
        yield Problem(
            f"{config}.scope {text!r} does not exist; session is used",
            pointer=f"/data/{config}/scope",
            severity="warning",
            hint="scopes are " + ", ".join(SCOPES),
        )


_DELIVERED: JsonObject = {
    "delivered": 1,
    "delivered_to": ["run-2"],
    "name": "paid",
    "scope": "session",
}
_PAID: JsonObject = {"event_id": "e1", "name": "paid", "payload": {"value": 3}}


@register
class EmitEventNode(EffectNode):
    type = "emit_event"
    family = "events"
    names_effect = False
    doc = (
        "Hands an event to the runs that listen to its name in its scope, and goes on at once. Each "
        "listener gets it once, also one that is busy or paused; nobody has to listen. A run does not "
        "hear itself. A payload that is no object arrives as `{value: ...}`."
    )
    inputs = (
        Pin(
            "name",
            "string",
            "Name of the event.",
            aliases=("event_name",),
            control_plane=True,
            role="emits",
        ),
        Pin(
            "scope",
            "string",
            "session, workflow, run or global.",
            control_plane=True,
            choices=SCOPES,
        ),
        Pin("payload", doc="What comes with it."),
        Pin(
            "session_id",
            "string",
            "Another session than that of this run.",
            aliases=("sessionId",),
            control_plane=True,
        ),
    )
    outputs = (
        Pin("delivered", "number", "How many runs got it."),
        Pin("delivered_to", "array", "Their ids."),
        Pin("wait_key", "string"),
        Pin("name", "string"),
        Pin("scope", "string"),
        Pin("resumed", "array", "One `{run_id, status}` for each run that was found."),
        Pin("available_listeners_in_session", "array", "Up to 15 names, when nobody got it."),
    )
    data_schema = settings(
        "effectConfig", name=TEXT, scope=_SCOPE_SCHEMA, session_id=TEXT, sessionId=older(TEXT)
    )
    examples = (
        Example(
            {"name": "paid", "payload": 3},
            output=_DELIVERED,
            asks={
                "emit_event": {
                    "scope": "session",
                    "name": "paid",
                    "payload": {"value": 3},
                    "max_steps": 0,
                }
            },
            result=_DELIVERED,
        ),
    )
    compat = (
        "Effects 10: name, scope and session never come from the ambient value. Effects 11: a busy "
        "listener gets the event later; scope `workflow` is the flow that the node was drawn in, `run` "
        "the root run, so that listeners can share them. The event id derives from the occurrence."
    )

    def check(self, element: Element) -> Iterable[Problem]:
        yield from _scope_problem(element, "effectConfig")
        sources = (element.pin_defaults.get("name"), element.pin_defaults.get("event_name"))
        is_wired = not element.wired.isdisjoint(("name", "event_name"))
        if not is_wired and not filled_text(*sources, element.config("effectConfig").get("name")):
            yield Problem(
                "the event has no name",
                pin="name",
                severity="warning",
                hint="connect the pin name, give it a default, or set effectConfig.name",
            )

    def plan(self, element: Element, inputs: JsonObject, scope: Scope) -> PlannedEffect:
        config = element.config("effectConfig")
        name = filled_text(inputs.get("name"), config.get("name"))
        if not name:
            raise NodeError(f"emit_event node '{element.id}' missing event name")
        kind = scope_name(inputs.get("scope"), config.get("scope"))
        payload: JsonObject = {
            "scope": kind,
            "name": name,
            "payload": _as_object(inputs.get("payload")),
            "max_steps": 0,
            **scope_address(kind, scope),
        }
        session = filled_text(
            inputs.get("session_id"), config.get("sessionId"), config.get("session_id")
        )
        if session:
            payload["session_id"] = session
        return PlannedEffect(EffectType.EMIT_EVENT.value, payload)


def _as_object(value: JsonValue) -> JsonObject:
    if isinstance(value, dict):
        return value
    return {} if value is None else {"value": value}


@register
class OnEventNode(EffectNode):
    type = "on_event"
    family = "events"
    is_trigger = True
    hears = True
    waits = "always"
    names_effect = False
    doc = (
        "Hears every event with its name in its scope; without a name, every event of the scope. For "
        "each it runs its branch, one after the other, and then waits again: until the branch reaches "
        "on_flow_end, fails, or somebody cancels. A node that nothing leads to runs as a listener of "
        "its own, beside the flow: it sees neither the flow's variables nor its outputs."
    )
    inputs = (
        Pin("name", "string", "Name of the event; blank for any.", control_plane=True),
        Pin(
            "scope",
            "string",
            "session, workflow, run or global.",
            control_plane=True,
            choices=SCOPES,
        ),
    )
    primary_pin = "event"
    outputs = (
        Pin("event", "object", "The whole envelope."),
        Pin("payload", doc="What came with the event."),
        Pin("event_id", "string"),
        Pin("name", "string"),
    )
    data_schema = settings("eventConfig", name=TEXT, scope=_SCOPE_SCHEMA)
    examples = (
        Example(
            {},
            output={"event": _PAID, "payload": {"value": 3}, "event_id": "e1", "name": "paid"},
            data={"eventConfig": {"name": "paid", "scope": "session"}},
            asks={"wait_event": {"scope": "session", "name": "paid", "details": {"listen": True}}},
            result=_PAID,
        ),
    )
    compat = (
        "Effects 10: name and scope never come from the ambient value. Effects 11: an event that comes "
        "during a branch is heard afterwards; scope `workflow` is the flow that the node was drawn in, "
        "`run` the root run."
    )

    def check(self, element: Element) -> Iterable[Problem]:
        return _scope_problem(element, "eventConfig")

    def plan(self, element: Element, inputs: JsonObject, scope: Scope) -> PlannedEffect:
        config = element.config("eventConfig")
        kind = scope_name(inputs.get("scope"), config.get("scope"))
        payload: JsonObject = {
            "scope": kind,
            "name": filled_text(inputs.get("name"), config.get("name")) or _ANY_EVENT,
            "details": {"listen": True},
            **scope_address(kind, scope),
        }
        return PlannedEffect(EffectType.WAIT_EVENT.value, payload)

    def rearms(self, element: Element, inputs: JsonObject) -> bool:
        return True

    def pins(self, element: Element, result: JsonValue) -> JsonObject:
        event = result if isinstance(result, dict) else {"payload": result}
        facts = {name: event.get(name) for name in ("payload", "event_id", "name")}
        return {"event": event, **facts}
