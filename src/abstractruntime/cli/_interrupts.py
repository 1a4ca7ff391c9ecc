"""Ctrl-C before a command begins, and signals that stop one which drives runs.

Hazard: an exception that is raised while an extension module sets itself up can crash the
interpreter. Nothing is done yet while modules load, so the process simply ends then.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from abstractruntime.errors import ExitCode

_SIGNALS = {
    signal.SIGINT: ExitCode.INTERRUPTED,
    signal.SIGTERM: ExitCode.TERMINATED,
}

_PATIENCE_S = {int(signal.SIGTERM): 10.0}


@contextmanager
def ended_by_interrupts() -> Iterator[None]:
    """Let SIGINT end the process, until `raised_by_interrupts` is called or the block is left."""
    usual = threading.current_thread() is threading.main_thread() and (
        signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if usual:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        if usual:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def raised_by_interrupts() -> None:
    """Let SIGINT raise `KeyboardInterrupt` again: the command begins."""
    main = threading.current_thread() is threading.main_thread()
    if main and signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass
class StopFlag:
    """Set by SIGINT and SIGTERM; the driver asks between records, which is when `polls` run."""

    code: ExitCode | None = None
    polls: list[Callable[[], None]] = field(default_factory=list)

    def __call__(self) -> bool:
        self.poll()
        return self.code is not None

    def poll(self) -> None:
        for poll in self.polls:
            poll()


@contextmanager
def stop_on_signals(*, patience_s: float | None = None) -> Iterator[StopFlag]:
    """Turn the first SIGINT or SIGTERM into a stop at a record boundary; the second one kills.

    Args:
        patience_s: How long the effect in flight may take after the first one; then the
            process ends, and the effect is in doubt, as after a crash. By default SIGTERM, which
            nobody may be there to send again, leaves it 10 seconds, and SIGINT any time.
    """
    # Hazard: a module must not begin to load in a signal handler.
    from abstractruntime.storage.directory import expect_end

    flag = StopFlag()

    def stop(number: int, _frame: FrameType | None) -> None:
        flag.code = _SIGNALS[signal.Signals(number)]
        for signaled in _SIGNALS:
            signal.signal(signaled, signal.SIG_DFL)
        expect_end()
        left_s = _PATIENCE_S.get(number) if patience_s is None else patience_s
        if left_s is not None:
            before[signal.SIGALRM] = signal.signal(signal.SIGALRM, give_up)
            signal.setitimer(signal.ITIMER_REAL, left_s)

    def give_up(_number: int, _frame: FrameType | None) -> None:
        # Hazard: raising here could end up in a handler of the flow; the store survives a kill.
        os._exit(int(flag.code or ExitCode.INTERRUPTED))

    before = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        yield flag
    finally:
        if signal.SIGALRM in before:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
        for number, handler in before.items():
            signal.signal(number, handler)
