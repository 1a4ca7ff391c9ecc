"""How a long run goes: one line on stderr, rewritten on a terminal, now and then elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from abstractruntime._text import log_line
from abstractruntime.cli._output import Mode, talk
from abstractruntime.core.limits import LimitUse, limit_uses

if TYPE_CHECKING:
    from abstractruntime._runtime.runtime import Runtime
    from abstractruntime._runtime.tree_context import RuntimeContext
    from abstractruntime.cli._interrupts import StopFlag
    from abstractruntime.cli._session import Session
    from abstractruntime.core.models import RunState
    from abstractruntime.core.ports import Clock, RunLog

_ON_TERMINAL_S, _ELSEWHERE_S = 1.0, 30.0
_LOOK_EVERY = 16
_USUAL_COLUMNS = 80
_START_OF_LINE, _REST_OF_LINE = "\r", "\x1b[K"


@dataclass
class Progress:
    """Counts the steps of a tree of runs, and says from time to time how far it has come.

    Args:
        clock: Time.
        say: Takes text for stderr.
        width: Columns of the terminal on which the line is rewritten; None elsewhere.
    """

    clock: Clock
    say: Callable[[str], None]
    width: int | None = None
    _steps: int = 0
    _node: str = ""
    _sizes: dict[str, int] = field(default_factory=dict)
    _warned: set[tuple[str, str]] = field(default_factory=set)
    _is_shown: bool = False

    def __post_init__(self) -> None:
        self._began_s = self._said_s = self.clock.monotonic()

    def watch(self, runtime: Runtime, labels: Mapping[str, str]) -> None:
        """Count what a runtime does; `labels` are the names that authors gave nodes."""
        runtime.on_step = partial(self.note, labels=labels, tree=runtime.trees)

    def note(
        self,
        run: RunState,
        log: RunLog,
        labels: Mapping[str, str] | None = None,
        tree: RuntimeContext | None = None,
    ) -> None:
        """Count a step that is about to be done."""
        if not self._steps:
            self._began_s = self._said_s = self.clock.monotonic()
        self._steps += 1
        self._node = (labels or {}).get(run.current_node, run.current_node)
        size = log.ledger_bytes
        self._sizes[run.run_id] = size or 0
        # Few runs come near to a limit: after the first steps one look in so many is soon enough,
        # as the last fifth of a larger limit has more of them.
        if (run.used or {}).get("steps", 0) < 5 * _LOOK_EVERY or self._steps % _LOOK_EVERY == 0:
            self._warn(run, size, tree)

    def poll(self) -> None:
        """Say how far it has come, if that was not said for a while."""
        now_s = self.clock.monotonic()
        pause_s = _ELSEWHERE_S if self.width is None else _ON_TERMINAL_S
        if self._steps and now_s - self._said_s >= pause_s:
            self._said_s = now_s
            self._show(self._line(now_s))

    def end(self) -> None:
        """Take the line back: what follows says how it ended."""
        if self._is_shown:
            self.say(_START_OF_LINE + _REST_OF_LINE)
            self._is_shown = False

    def rest(self) -> None:
        """Take the line back, and begin anew with what is driven next."""
        self.end()
        self._steps = 0
        self._sizes.clear()

    def _line(self, now_s: float) -> str:
        # Most runs end before anything is said.
        from abstractruntime.rendering.terminal import format_bytes, format_duration, plural

        elapsed = format_duration(1000 * (now_s - self._began_s))
        size = format_bytes(sum(self._sizes.values()))
        return f"running: {plural(self._steps, 'step')}, at {self._node}, {elapsed}, ledger {size}"

    def _show(self, text: str) -> None:
        if self.width is None:
            self.say(f"{log_line(text)}\n")
            return
        from abstractruntime.rendering.terminal import fit

        self.say(_START_OF_LINE + fit(log_line(text), max(1, self.width - 1)) + _REST_OF_LINE)
        self._is_shown = True

    def _warn(self, run: RunState, size: int | None, tree: RuntimeContext | None) -> None:
        used: dict[str, int | None] = {"ledger_bytes": size}
        is_begun = bool((run.used or {}).get("steps"))
        if tree is not None and run.parent_run_id is not None and not is_begun:
            # What a tree uses grows with each of its children, which is when it is looked at.
            used |= {"depth": tree.depth_of(run), "runs": tree.runs_of(run)}
        for use in limit_uses(run, used):
            # Of what a tree uses, once is enough: every further child would say it again.
            whose = "" if use.limit in {"depth", "runs"} else run.run_id
            if use.is_near and (whose, use.limit) not in self._warned:
                self._warned.add((whose, use.limit))
                self.end()
                self.say(f"{log_line(_warning(run.run_id, use))}\n")


def _warning(run_id: str, use: LimitUse) -> str:
    return f"warning: run {run_id} is near to its limit: {use.limit}, {use.used} of {use.maximum}"


def columns_of(descriptor: int) -> int:
    """Give the width of a terminal, or a usual one where it does not tell."""
    try:
        return os.get_terminal_size(descriptor).columns or _USUAL_COLUMNS
    except OSError:
        return _USUAL_COLUMNS


@contextmanager
def showing_progress(session: Session, clock: Clock, stop: StopFlag) -> Iterator[Progress | None]:
    """Say how runs go while they are driven; nothing but in text mode."""
    if session.out.mode is not Mode.TEXT:
        yield None
        return
    is_terminal = sys.stderr.isatty() and session.environ.get("TERM") != "dumb"
    width = columns_of(sys.stderr.fileno()) if is_terminal else None
    progress = Progress(clock, talk, width)
    stop.polls.append(progress.poll)
    try:
        yield progress
    finally:
        progress.end()
