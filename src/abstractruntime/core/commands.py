"""Commands: durable requests to a run that someone else may own.

A command counts once: the record that applies it names its id, and a run that is asked
again under the same id does nothing. What cannot be applied is acknowledged as refused, so
that no command blocks those behind it.

The stored form is `{"id", "kind", "payload", "created_at"}`. It is read tolerantly: whoever
wrote it may be older or newer than this version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from abstractruntime._json import JsonObject

_NO_REASON = "no reason given"


@dataclass(frozen=True, slots=True)
class Cancel:
    """End the run; with `if_listening` only while it waits for an event, and refused otherwise."""

    kind: ClassVar[str] = "cancel"
    reason: str | None = None
    if_listening: bool = False


@dataclass(frozen=True, slots=True)
class Pause:
    """Stop the run at its next step, until it is unpaused; a question to a person stays open."""

    kind: ClassVar[str] = "pause"
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Unpause:
    """Let a paused run go on."""

    kind: ClassVar[str] = "unpause"


@dataclass(frozen=True, slots=True)
class Answer:
    """End the open wait with a payload; None as key or occurrence matches any.

    `actor` is who answers, for the record. A run that is paused, does not wait, or waits for
    something else refuses it.
    """

    kind: ClassVar[str] = "resume"
    wait_key: str | None = None
    payload: Any = None
    actor: str | None = None
    occurrence: int | None = None


@dataclass(frozen=True, slots=True)
class Deliver:
    """End the wait for an event, or for a child, with what came of it.

    It stays in the inbox while the run is paused, or is a listener that is busy.
    """

    kind: ClassVar[str] = "deliver"
    wait_key: str | None = None
    payload: Any = None


@dataclass(frozen=True, slots=True)
class FailWait:
    """End the open wait because what it waits for cannot come; a paused run gets it later."""

    kind: ClassVar[str] = "fail_wait"
    wait_key: str | None = None
    error: str = _NO_REASON


@dataclass(frozen=True, slots=True)
class SetLimits:
    """Set limits of the run; names that are no limits are left out."""

    kind: ClassVar[str] = "limits"
    updates: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unknown:
    """A request that this version does not know, as another one stored it; always refused."""

    kind: str
    payload: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Altered:
    """Not a request any more: what lies in the inbox is not what was posted there; always set aside."""

    kind: ClassVar[str] = "altered"
    why: str = _NO_REASON


Request = Cancel | Pause | Unpause | Answer | Deliver | FailWait | SetLimits | Unknown | Altered


@dataclass(frozen=True, slots=True)
class Command:
    """A request under the id by which it counts once; `created_at` is set when it is stored."""

    id: str
    request: Request
    created_at: str = ""

    def to_dict(self) -> JsonObject:
        """Give the stored form."""
        return {
            "id": self.id,
            "kind": self.request.kind,
            "payload": _payload_of(self.request),
            "created_at": self.created_at,
        }

    @classmethod
    def from_dict(cls, data: Any) -> Command:
        """Read the stored form.

        Raises:
            ValueError: it is no command.
        """
        facts = data if isinstance(data, dict) else {}
        command_id, kind = facts.get("id"), facts.get("kind")
        payload, created_at = facts.get("payload") or {}, facts.get("created_at") or ""
        if not isinstance(command_id, str) or not isinstance(kind, str):
            raise ValueError("a command has an id and a kind")  # noqa: TRY004 - it was read, not passed
        if not isinstance(payload, dict) or not isinstance(created_at, str):
            raise ValueError("a command has an object as payload and a time")  # noqa: TRY004
        read = _READERS.get(kind)
        return cls(command_id, read(payload) if read else Unknown(kind, payload), created_at)


def _payload_of(request: Request) -> JsonObject:
    if isinstance(request, Unknown):
        return request.payload
    payload = {part.name: getattr(request, part.name) for part in fields(request)}
    if payload.get("if_listening") is False:
        del payload["if_listening"]  # a cancel without a condition names none
    return payload


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


_READERS: Mapping[str, Callable[[JsonObject], Request]] = {
    Cancel.kind: lambda p: Cancel(_text(p.get("reason")), bool(p.get("if_listening"))),
    Pause.kind: lambda p: Pause(_text(p.get("reason"))),
    Unpause.kind: lambda _: Unpause(),
    Answer.kind: lambda p: Answer(
        _text(p.get("wait_key")), p.get("payload"), _text(p.get("actor")), p.get("occurrence")
    ),
    Deliver.kind: lambda p: Deliver(_text(p.get("wait_key")), p.get("payload")),
    FailWait.kind: lambda p: FailWait(_text(p.get("wait_key")), str(p.get("error") or _NO_REASON)),
    SetLimits.kind: lambda p: SetLimits(u if isinstance(u := p.get("updates"), dict) else {}),
}
