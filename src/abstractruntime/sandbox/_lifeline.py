"""The worker dies with its parent, whatever it is doing then.

The parent holds one end of a pipe that nobody writes to; its end closes when the parent is
gone, however it went. The system then sends SIGKILL to the worker, which no loop outlasts.

Hazard: `PR_SET_PDEATHSIG` would fire when the *thread* that started the worker ends.

The worker loads this file by path, so it imports the standard library only.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import threading

# Not every system can choose the signal.
_SET_SIGNAL = getattr(fcntl, "F_SETSIG", None)


def hold(descriptor: int, *, by_signal: bool = True) -> bool:
    """Tie this process to the other end of a pipe; True when that is in force.

    Without the signal a thread watches the pipe: call this before the process confines itself,
    as a thread keeps what it had when it was started, and on systems without Landlock only.
    """
    if _SET_SIGNAL is not None and by_signal:
        _ask_for_signal(descriptor)
        is_held = fcntl.fcntl(descriptor, fcntl.F_GETSIG) == signal.SIGKILL
    else:
        threading.Thread(target=_watch, args=(descriptor,), daemon=True).start()
        is_held = True
    # Invariant: asked after the wish is in place, so that no death falls in between.
    if _is_gone(descriptor):
        os._exit(0)
    return is_held


def _ask_for_signal(descriptor: int) -> None:
    assert _SET_SIGNAL is not None  # noqa: S101 - the caller asked
    fcntl.fcntl(descriptor, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(descriptor, _SET_SIGNAL, signal.SIGKILL)
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_ASYNC)


def _is_gone(descriptor: int) -> bool:
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(0))


def _watch(descriptor: int) -> None:
    os.read(descriptor, 1)
    os._exit(0)
