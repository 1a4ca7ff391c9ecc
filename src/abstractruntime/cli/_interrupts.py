"""Ctrl-C before a command begins.

Hazard: an exception that is raised while an extension module sets itself up can crash the
interpreter. Nothing is done yet while modules load, so the process simply ends then.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


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
