"""Events: handing one over to the runs that wait for it.

An event reaches the runs that wait for its key, or for the wildcard `*` of its scope, at
that moment; a paused one gets it when it goes on. A listener, which waits for its key again
and again, gets it also when it is busy: as soon as it waits again. No run hears itself. The
id of the hand-over derives from the emitting occurrence: an emitter that died and repeats
itself delivers nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple, Protocol

from abstractruntime.core.commands import Command, Deliver
from abstractruntime.core.derived_ids import delivery_id
from abstractruntime.core.event_keys import build_event_wait_key
from abstractruntime.core.handlers import EffectContext
from abstractruntime.core.models import (
    Effect,
    JsonObject,
    RunState,
    RunStatus,
    WaitReason,
    WaitState,
)
from abstractruntime.core.ports import EffectOutcome, RunHeader, RunQuery
from abstractruntime.effects.waits import allows_free_text, continuation, stripped_texts
from abstractruntime.errors import InvalidValue

WILDCARD: Final = "*"
LISTENER_LIMIT: Final = 10_000
_MOST_NAMES = 15
_WAITING = RunQuery(status=RunStatus.WAITING, wait_reason=WaitReason.EVENT)
RootOf = Callable[[str], str]
_SCOPES = "scopes are session, workflow, run and global"


class Listener(NamedTuple):
    """A run that waits, or listens, for an event, or for any event of its scope."""

    run_id: str
    workflow_id: str
    wait_key: str


class EventHost(Protocol):
    """What events need of the runtime."""

    def has_registry(self) -> bool: ...

    def root_run_id(self, run_id: str) -> str: ...

    def listeners(self, query: RunQuery) -> list[RunHeader]: ...

    def deliver(
        self, listener: Listener, command: Command, *, max_steps: int, sender: str | None
    ) -> JsonObject:
        """Hand a command of a run, or of someone else, to one run, and give `{run_id, status[, error]}`.

        A run that is not driven at once counts as running; the status is then that it took
        the command, whatever it came to since.
        """
        ...


@dataclass(frozen=True, slots=True)
class Event:
    """One event on its way.

    Attributes:
        delivery_id: Names this emission; a repetition has the same one.
        payload: What a listener gets as `payload` of the envelope.
        emitter: `{run_id, workflow_id, node_id}`, or where else it comes from.
    """

    name: str
    scope: str
    wait_key: str
    session_id: str | None
    payload: JsonObject
    emitted_at: str
    emitter: JsonObject
    delivery_id: str
    event_id: str | None

    def envelope(self) -> JsonObject:
        return {
            "event_id": self.event_id,
            "name": self.name,
            "scope": self.scope,
            "session_id": self.session_id,
            "payload": self.payload,
            "emitted_at": self.emitted_at,
            "emitter": self.emitter,
        }

    @property
    def wildcard_key(self) -> str:
        return self.wait_key.removesuffix(self.name) + WILDCARD


class WaitEvent:
    """Handler of `wait_event`: parks until an event with its key arrives."""

    def __init__(self, host: EventHost) -> None:
        self._host = host

    def __call__(self, ctx: EffectContext, effect: Effect) -> EffectOutcome:
        payload = effect.payload
        key, name = payload.get("wait_key"), payload.get("name") or payload.get("event_name")
        if not key and not name:
            return EffectOutcome.failed("wait_event requires payload.wait_key or payload.name")
        prompt, details = payload.get("prompt"), payload.get("details")
        return EffectOutcome.waiting(
            WaitState(
                reason=WaitReason.EVENT,
                wait_key=str(key or _wait_key(self._host.root_run_id, ctx.run, payload, str(name))),
                prompt=prompt if isinstance(prompt, str) and prompt.strip() else None,
                choices=stripped_texts(payload.get("choices")),
                allow_free_text=allows_free_text(payload),
                details=details if isinstance(details, dict) else None,
                **continuation(ctx, effect),
            )
        )


def _wait_key(root_of: RootOf, run: RunState, payload: JsonObject, name: str) -> str:
    try:
        return build_event_wait_key(
            scope=str(payload.get("scope") or "session"),
            name=name,
            session_id=payload.get("session_id") or event_session(root_of, run),
            workflow_id=payload.get("workflow_id") or run.workflow_id,
            run_id=payload.get("run_id") or _own_run(root_of, run, payload),
        )
    except ValueError as error:
        raise InvalidValue(f"event {name!r}: {error}", hint=_SCOPES) from error


def _own_run(root_of: RootOf, run: RunState, payload: JsonObject) -> str:
    """Give the run whose scope is meant when none is named: with `of_root` that of the whole tree."""
    return root_of(run.run_id) if payload.get("of_root") else run.run_id


class EmitEvent:
    """Handler of `emit_event`."""

    def __init__(self, host: EventHost) -> None:
        self._host = host

    def __call__(self, ctx: EffectContext, effect: Effect) -> EffectOutcome:
        payload = effect.payload
        if not _name(payload):
            return EffectOutcome.failed("emit_event requires payload.name")
        event = emitted_event(
            self._host.root_run_id,
            ctx.run,
            ctx.node_id,
            payload,
            occurrence=ctx.occurrence_id,
            at=ctx.clock.now_iso(),
        )
        found = [Listener(*known) for known in ctx.remembered or ()]
        if not found:
            found = find_listeners(self._host, event)
        if found and not self._host.has_registry():
            return EffectOutcome.failed(
                f"emit_event: {event.wait_key!r} has listeners, but the runtime has no workflow_registry"
            )
        if found and ctx.remembered is None:
            # A repetition must reach the runs that the first attempt found, and no others.
            ctx.remember([list(listener) for listener in found])
        steps = _steps(payload.get("max_steps"))
        return EffectOutcome.completed(deliver_event(self._host, event, found, max_steps=steps))


def emitted_event(
    root_of: RootOf, run: RunState, node_id: str, payload: JsonObject, *, occurrence: str, at: str
) -> Event:
    """Give the event that an `emit_event` effect with this payload and occurrence of a run stands for."""
    name = _name(payload)
    scope = str(payload.get("scope") or "session").strip().lower()
    session_id = payload.get("session_id") or run.session_id
    if not session_id and scope == "session":
        session_id = event_session(root_of, run)
    return Event(
        name=name,
        scope=scope,
        wait_key=_wait_key(root_of, run, payload, name),
        session_id=session_id,
        payload=as_event_payload(payload.get("payload")),
        emitted_at=at,
        emitter={"run_id": run.run_id, "workflow_id": run.workflow_id, "node_id": node_id},
        delivery_id=delivery_id(run.run_id, occurrence),
        event_id=payload.get("event_id") or f"{run.run_id}:{node_id}:{occurrence}",
    )


def _name(payload: JsonObject) -> str:
    return str(payload.get("name") or payload.get("event_name") or "").strip()


def event_session(root_of: RootOf, run: RunState) -> str:
    """Give the id of the session scope of a run's events: its session, or else the root of its tree."""
    return run.session_id or root_of(run.run_id)


def as_event_payload(value: Any) -> JsonObject:
    """Give an object; anything else is wrapped as `{"value": ...}`, nothing as `{}`."""
    if isinstance(value, dict):
        return value
    return {} if value is None else {"value": value}


def find_listeners(host: EventHost, event: Event, *, limit: int = LISTENER_LIMIT) -> list[Listener]:
    """Give the runs that wait for an event now, then the busy ones that listen to it."""
    keys = (event.wait_key, event.wildcard_key)
    waiting = host.listeners(replace(_WAITING, wait_keys=keys, limit=limit))
    found = {run.run_id: (run, str(run.wait_key)) for run in waiting}
    for status in (RunStatus.WAITING, RunStatus.RUNNING):
        for run in host.listeners(RunQuery(status=status, listens_to=keys, limit=limit)):
            found.setdefault(run.run_id, (run, next(key for key in keys if key in run.listening)))
    found.pop(str(event.emitter.get("run_id")), None)
    return [Listener(run.run_id, run.workflow_id, key) for run, key in found.values()]


def deliver_event(
    host: EventHost, event: Event, listeners: list[Listener], *, max_steps: int
) -> JsonObject:
    """Hand an event to runs that wait for it, and say who got it."""
    resumed = [_deliver_to(host, event, listener, max_steps) for listener in listeners]
    delivered = [to["run_id"] for to in resumed if to["status"] not in ("skipped", "error")]
    result: JsonObject = {
        "wait_key": event.wait_key,
        "name": event.name,
        "scope": event.scope,
        "delivered": len(delivered),
        "delivered_to": delivered,
        "resumed": resumed,
    }
    names = [] if delivered else _names_waited_for(host, event)
    if names:
        result["available_listeners_in_session"] = names
    return result


def _deliver_to(host: EventHost, event: Event, listener: Listener, max_steps: int) -> JsonObject:
    request = Deliver(listener.wait_key, event.envelope())
    command = Command(event.delivery_id, request, event.emitted_at)
    return host.deliver(listener, command, max_steps=max_steps, sender=event.emitter.get("run_id"))


def _names_waited_for(host: EventHost, event: Event) -> list[str]:
    """Give what else is waited for in the scope of an event that nobody waited for."""
    prefix = event.wait_key.removesuffix(event.name)
    found = host.listeners(replace(_WAITING, wait_key_prefix=prefix, limit=LISTENER_LIMIT))
    return sorted({str(run.wait_key).removeprefix(prefix) for run in found})[:_MOST_NAMES]


def _steps(value: Any) -> int:
    try:
        return max(0, int(value or 0))
    except (TypeError, ValueError):
        return 0
