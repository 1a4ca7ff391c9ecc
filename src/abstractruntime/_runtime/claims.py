"""What a command says of another run, compared with the ledger of that run.

A command lies in an inbox until it is applied, and only ledgers are believed. So the end of a child
is taken from the child, and an event of a run from the record that emitted it; the command is no more
than a notice. What a person, or a program outside, asks for speaks for no run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from abstractruntime._json import dump_line, mapping, normalise
from abstractruntime._runtime.reads import with_large_values
from abstractruntime.core.commands import Command, Deliver, FailWait
from abstractruntime.core.derived_ids import delivery_id, is_delivery_id
from abstractruntime.core.models import JsonObject, RunState, WaitReason
from abstractruntime.core.policy import occurrence_id
from abstractruntime.core.ports import Engine
from abstractruntime.core.run_tree import root_of
from abstractruntime.effects.events import emitted_event
from abstractruntime.effects.subworkflow import hand_over, hand_over_id
from abstractruntime.errors import AbstractRuntimeError, StoreError

_FIRST_RECORDS: Final = 8


class Claims:
    """Judges commands that speak for other runs of one store.

    Args:
        engine: The store.
        traces: Gives the node traces of a run.
    """

    def __init__(self, engine: Engine, traces: Callable[[str], JsonObject]) -> None:
        self._engine = engine
        self._traces = traces

    def objection(self, run: RunState, command: Command) -> str | None:
        """Say why a command to `run` is not what another run stands for; None when it is.

        Raises:
            StoreError: the other run could not be read just now.
        """
        request = command.request
        # Commands that do not outlive their process were never out of its hands.
        if not isinstance(request, Deliver | FailWait) or not self._engine.keeps_commands:
            return None
        try:
            if child_id := _awaited_child(run, command.id, request.wait_key):
                return self._objection_to_end(run, command, child_id)
            if emitter := _emitter(request):
                return self._objection_to_event(command, emitter)
        except StoreError:
            raise
        except AbstractRuntimeError as error:
            return f"it cannot be compared: {error}"
        return "it names no run that emitted it" if is_delivery_id(command.id) else None

    def _objection_to_end(self, run: RunState, command: Command, child_id: str) -> str | None:
        child = self._engine.peek(child_id)
        if run.waiting is None or not child.status.is_terminal:
            return f"run {child_id!r} has not ended"
        child = with_large_values(self._engine, child)
        expected = hand_over(run, run.waiting, child, self._traces)
        is_same = _text(expected) == _text(command)
        return None if is_same else f"it is not what run {child_id!r} came to"

    def _objection_to_event(self, command: Command, emitter: str) -> str | None:
        for record in self._emissions(emitter):
            key, commit = str(record.get("idempotency_key")), mapping(record.get("commit"))
            occurrence = occurrence_id(key, commit.get("occ", -1))
            if delivery_id(emitter, occurrence) == command.id:
                is_same = self._is_event(command.request, emitter, record, occurrence)
                return None if is_same else f"it is not what run {emitter!r} emitted"
        return f"run {emitter!r} emitted no such event"

    def _is_event(self, request: Any, emitter: str, record: JsonObject, occurrence: str) -> bool:
        event = emitted_event(
            partial(root_of, self._engine.peek),
            self._engine.peek(emitter),
            str(record["node_id"]),
            record["effect"]["payload"],
            occurrence=occurrence,
            # Who emits again after a death does so at another time.
            at=str(mapping(request.payload).get("emitted_at")),
        )
        is_key = request.wait_key in (event.wait_key, event.wildcard_key)
        return is_key and dump_line(normalise(event.envelope())) == dump_line(request.payload)

    def _emissions(self, run_id: str) -> Iterator[JsonObject]:
        """Give the records with which a run began to emit events, the newest first."""
        limit, seen = _FIRST_RECORDS, 0
        while True:
            found = self._engine.recent(run_id, limit)
            for stored in reversed(found[: len(found) - seen]):
                effect = mapping(stored.record.get("effect"))
                if effect.get("type") == "emit_event" and stored.record.get("status") == "started":
                    yield self._resolved(stored.record)
            if len(found) < limit:
                return
            limit, seen = limit * 8, len(found)

    def _resolved(self, record: JsonObject) -> JsonObject:
        resolve: Any = getattr(self._engine, "resolve", None)
        resolved: JsonObject = resolve(record) if callable(resolve) else record
        return resolved


def _awaited_child(run: RunState, command_id: str, wait_key: str | None) -> str | None:
    """Give the child that a run waits for, if a command is about its end by id or by key."""
    wait = run.waiting
    if wait is None or wait.reason is not WaitReason.SUBWORKFLOW:
        return None
    child_id = (wait.details or {}).get("sub_run_id")
    is_meant = wait_key in (None, wait.wait_key) or command_id == hand_over_id(run, str(child_id))
    return str(child_id) if child_id and is_meant else None


def _emitter(request: Deliver | FailWait) -> str | None:
    payload = mapping(request.payload) if isinstance(request, Deliver) else {}
    run_id = mapping(payload.get("emitter")).get("run_id")
    return run_id if isinstance(run_id, str) and "event_id" in payload else None


def _text(command: Command) -> bytes:
    stored = command.to_dict()
    return dump_line(normalise({"kind": stored["kind"], "payload": stored["payload"]}))
