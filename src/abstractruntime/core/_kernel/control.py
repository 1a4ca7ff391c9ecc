"""Stopping a run from outside: cancel, pause, go on."""

from __future__ import annotations

from typing import Any

from abstractruntime.core._kernel.changes import Changes
from abstractruntime.core._kernel.transitions import Cancelled, Paused, Unpaused
from abstractruntime.core.limits import SETTABLE
from abstractruntime.core.models import JsonObject, RunState, RunStatus, WaitReason
from abstractruntime.core.ports import RunLog
from abstractruntime.core.vars import ensure_limits, get_namespace, get_runtime, is_paused


class Control(Changes):
    """The kernel's part for runs that somebody stops."""

    def cancel(self, log: RunLog, reason: str | None, commands: tuple[str, ...] = ()) -> None:
        """Cancel a live run; a finished one stays as it is."""
        if log.run.status.is_terminal:
            return
        _clear_control(log.run, "paused", "paused_at", "pause_reason")
        self._apply(log, Cancelled(reason))
        log.commit(
            self._records.internal(log.run, "control", action="cancel", reason=reason),
            self._records.terminal_status(log.run),
            commands=commands,
        )

    def pause(self, log: RunLog, reason: str | None, commands: tuple[str, ...] = ()) -> None:
        """Pause a live run; a run that asks a person is left alone, as are finished ones."""
        run = log.run
        asks = (
            run.status is RunStatus.WAITING
            and run.waiting
            and run.waiting.reason is WaitReason.USER
        )
        if run.status.is_terminal or is_paused(run.vars) or asks:
            self._acknowledge(log, commands)
            return
        control = get_namespace(get_runtime(run.vars), "control")
        control.update({"paused": True, "paused_at": self._clock.now_iso()})
        if reason:
            control["pause_reason"] = reason
        self._apply(log, Paused())
        log.commit(
            self._records.internal(run, "control", action="pause", reason=reason), commands=commands
        )

    def unpause(self, log: RunLog, commands: tuple[str, ...] = ()) -> None:
        """Let a paused run go on."""
        run = log.run
        if run.status.is_terminal or not is_paused(run.vars):
            self._acknowledge(log, commands)
            return
        _clear_control(run, "paused", "pause_reason")
        get_namespace(get_runtime(run.vars), "control")["resumed_at"] = self._clock.now_iso()
        self._apply(log, Unpaused())
        log.commit(self._records.internal(run, "control", action="unpause"), commands=commands)

    def set_limits(self, log: RunLog, updates: JsonObject, commands: tuple[str, ...] = ()) -> None:
        """Set limits of a run; names that are no limits are left out."""
        known = {name: value for name, value in updates.items() if name in SETTABLE}
        if not known:
            self._acknowledge(log, commands)
            return
        ensure_limits(log.run.vars).update(known)
        log.run.updated_at = self._clock.now_iso()
        log.commit(
            self._records.internal(log.run, "control", action="limits", updates=known),
            commands=commands,
        )

    def _acknowledge(self, log: RunLog, commands: tuple[str, ...], **facts: Any) -> None:
        if commands:
            log.commit(
                self._records.internal(log.run, "control", action="none", **facts),
                commands=commands,
            )


def _clear_control(run: RunState, *names: str) -> None:
    runtime = run.vars.get("_runtime")
    control = runtime.get("control") if isinstance(runtime, dict) else None
    if isinstance(control, dict):
        for name in names:
            control.pop(name, None)
