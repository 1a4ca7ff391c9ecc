"""What others ask of a run: stop it, let it go on, end its wait.

The record that applies a request names the ids of the commands that asked for it; a request
that changes nothing is acknowledged. A command that speaks for another run, or is not what was
posted, is compared and not believed: it is noted, set aside, and does not count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from abstractruntime._json import mapping
from abstractruntime.core._kernel.brakes import Brakes
from abstractruntime.core._kernel.changes import Changes
from abstractruntime.core._kernel.waits import Waits
from abstractruntime.core.commands import (
    Altered,
    Answer,
    Cancel,
    Command,
    Deliver,
    FailWait,
    Pause,
    Request,
    SetLimits,
    Unknown,
    Unpause,
)
from abstractruntime.core.limits import (
    SETTABLE,
    change_limits,
    go_on_from,
    reached_limit,
    settable_run_limits,
)
from abstractruntime.core.models import RunState, RunStatus, StepRecord, WaitReason
from abstractruntime.core.ports import RunLog
from abstractruntime.core.vars import RUNTIME, ensure_limits, get_namespace, get_runtime, is_paused
from abstractruntime.errors import InvalidValue, WaitMismatch

_Ids = tuple[str, ...]
# Says why a command is not what another run stands for; None when it is, or speaks for nobody.
Objection = Callable[[RunState, Command], str | None]


class Control:
    """The kernel's part for requests from outside."""

    def __init__(
        self, changes: Changes, waits: Waits, brakes: Brakes, objection: Objection
    ) -> None:
        self._changes = changes
        self._waits = waits
        self._brakes = brakes
        self._objection = objection
        self._appliers: Mapping[type, Callable[[RunLog, Any, _Ids], None]] = {
            Cancel: self._cancel,
            Pause: self._pause,
            Unpause: self._unpause,
            SetLimits: self._set_limits,
            Answer: self._answer,
            Deliver: self._deliver,
            FailWait: self._fail_wait,
            Unknown: self._refuse,
            Altered: self._refuse,
        }

    def take(self, log: RunLog) -> None:
        """Apply the commands that wait for this run; each counts once.

        Of several events only the first is taken: the others stay in the inbox, in order,
        until the run waits for them again. What comes after the end of a run is void.
        """
        for command in log.take_commands():
            if log.run.status.is_terminal:
                break
            if _is_heard_later(log.run, command.request):
                continue
            objection = self._why_void(log.run, command)
            if objection is None:
                self.apply(log, command.request, (command.id,))
            else:
                facts = {"command": command.id, "refused": objection}
                log.commit(self._record(log, "set_aside", **facts))
                log.set_aside(command.id)

    def _why_void(self, run: RunState, command: Command) -> str | None:
        request = command.request
        return request.why if isinstance(request, Altered) else self._objection(run, command)

    def apply(self, log: RunLog, request: Request, commands: _Ids = ()) -> None:
        """Apply one request, and acknowledge the commands that asked for it."""
        self._appliers[type(request)](log, request, commands)

    def _cancel(self, log: RunLog, request: Cancel, commands: _Ids) -> None:
        run = log.run
        if request.if_listening and (not _listens_now(run) or is_paused(run.vars)):
            self._acknowledge(log, commands, refused="the run is not waiting for an event")
            return
        if run.status.is_terminal:
            return
        _clear_control(run, "paused", "paused_at", "pause_reason")
        go_on_from(run.vars)
        self._changes.apply(log, request)
        record = self._record(log, "cancel", reason=request.reason)
        self._changes.commit_ending(log, record, commands=commands)

    def _pause(self, log: RunLog, request: Pause, commands: _Ids) -> None:
        run = log.run
        if run.status.is_terminal or is_paused(run.vars) or _asks_a_person(run):
            self._acknowledge(log, commands)
            return
        control = get_namespace(get_runtime(run.vars), "control")
        control.update({"paused": True, "paused_at": self._changes.clock.now_iso()})
        if request.reason:
            control["pause_reason"] = request.reason
        self._changes.apply(log, request)
        log.commit(self._record(log, "pause", reason=request.reason), commands=commands)

    def _unpause(self, log: RunLog, request: Unpause, commands: _Ids) -> None:
        run, now_iso = log.run, self._changes.clock.now_iso
        if run.status.is_terminal or not is_paused(run.vars):
            self._acknowledge(log, commands)
            return
        _clear_control(run, "paused", "pause_reason")
        get_namespace(get_runtime(run.vars), "control")["resumed_at"] = now_iso()
        self._changes.apply(log, request)
        log.commit(self._record(log, "unpause"), commands=commands)

    def _set_limits(self, log: RunLog, request: SetLimits, commands: _Ids) -> None:
        warned = {name: value for name, value in request.updates.items() if name in SETTABLE}
        brakes = settable_run_limits(request.updates)
        if not warned and not brakes:
            self._acknowledge(log, commands)
            return
        if warned:
            ensure_limits(log.run.vars).update(warned)
        if brakes:
            change_limits(log.run.vars, brakes)
            self._brakes.release(log)
        log.run.updated_at = self._changes.clock.now_iso()
        log.commit(self._record(log, "limits", updates={**warned, **brakes}), commands=commands)

    def _refuse(self, log: RunLog, request: Unknown | Altered, commands: _Ids) -> None:
        self._acknowledge(log, commands, refused=f"unknown command {request.kind!r}")

    def _answer(self, log: RunLog, request: Answer, commands: _Ids) -> None:
        try:
            self._waits.answer(log, request, commands)
        except (WaitMismatch, InvalidValue) as error:
            self._acknowledge(log, commands, refused=str(error))

    def _deliver(self, log: RunLog, request: Deliver, commands: _Ids) -> None:
        self._answer(log, Answer(request.wait_key, request.payload), commands)

    def _fail_wait(self, log: RunLog, request: FailWait, commands: _Ids) -> None:
        try:
            self._waits.fail(log, request, commands)
        except WaitMismatch as error:
            self._acknowledge(log, commands, refused=str(error))

    def _acknowledge(self, log: RunLog, commands: _Ids, **facts: Any) -> None:
        """Note that a request changed nothing; one that was never posted leaves no record."""
        if commands:
            log.commit(self._record(log, "none", **facts), commands=commands)

    def _record(self, log: RunLog, action: str, **facts: Any) -> StepRecord:
        return self._changes.records.internal(log.run, "control", action=action, **facts)


def _listens_now(run: RunState) -> bool:
    return run.waiting is not None and run.waiting.listens


def _asks_a_person(run: RunState) -> bool:
    wait = run.waiting
    if run.status is not RunStatus.WAITING or wait is None or reached_limit(run.vars):
        return False
    return wait.reason is WaitReason.USER


def _clear_control(run: RunState, *names: str) -> None:
    control = mapping(mapping(run.vars.get(RUNTIME)).get("control"))
    for name in names:
        control.pop(name, None)


def _is_heard_later(run: RunState, request: Request) -> bool:
    """Tell whether a request stays in the inbox: the run is paused, or a listener that is busy."""
    if not isinstance(request, Deliver | FailWait):
        return False
    open_key = run.waiting.wait_key if run.waiting else None
    is_busy = open_key != request.wait_key and request.wait_key in (run.listening or ())
    return is_paused(run.vars) or (isinstance(request, Deliver) and is_busy)
