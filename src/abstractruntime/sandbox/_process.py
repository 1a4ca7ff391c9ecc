"""One code worker process, seen from outside."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path

from abstractruntime._json import JsonObject, dump_line
from abstractruntime.sandbox.limits import Limits
from abstractruntime.sandbox.protocol import (
    Channel,
    ChannelClosed,
    DeadlinePassed,
    FrameTooLarge,
    has_more_values,
)

_PROGRAM = Path(__file__).with_name("worker.py")
_START_S = 20.0
_REPORT_BYTES = 1 << 16
# Head, captured text and error text of a reply, besides the result itself; a character of
# text takes at most six bytes of JSON.
_HEAD_VALUES = 16
_HEAD_BYTES = 1 << 16
_CHAR_BYTES = 6
# Hash order of text is fixed, so that equal inputs give equal results in every process.
_ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    "PYTHONSAFEPATH": "1",
    "PYTHONUTF8": "1",
    "LC_ALL": "C.UTF-8",
}


class WorkerLost(Exception):  # noqa: N818 - what became of the worker, in words for the author
    """The worker broke a limit or died; it must be stopped.

    `inherited` means: it died after earlier calls, which may be to blame instead of this one.
    """

    def __init__(self, reason: str, *, inherited: bool = False) -> None:
        super().__init__(reason)
        self.inherited = inherited


class WorkerProcess:
    """A started worker and its report; not safe for concurrent use."""

    def __init__(self, limits: Limits, python: str | None = None) -> None:
        self._limits = limits
        self._process = _spawn(python or sys.executable)
        # Runs when stopped, when nobody refers to the worker any more, or at exit.
        self._end = weakref.finalize(self, _end_process, self._process)
        self._channel = _channel(self._process)
        self.calls = 0
        try:
            self.report = self._start()
        except BaseException:
            self.stop()
            raise

    def is_usable(self) -> bool:
        """Tell whether another call may go to this process.

        A worker that wrote something nobody asked for is not believed any more.
        """
        return (
            self.calls < self._limits.calls
            and self._process.poll() is None
            and self._channel.is_quiet()
        )

    def exchange(self, request: bytes) -> bytes:
        """Send one request and give the reply.

        Raises:
            WorkerLost: with the reason; stop this worker.
        """
        self.calls += 1
        reply = self._exchange(request, self._reply_limit(), self._limits.wall_s)
        # Made into values, a reply of small ones would be many times as large as its bytes.
        if has_more_values(reply, self._limits.result_values + _HEAD_VALUES):
            raise WorkerLost(f"code worker sent more than {self._limits.result_values} values")
        return reply

    def stop(self) -> None:
        """Kill and reap the process."""
        self._end()

    def forget(self) -> None:
        """Drop a worker that belongs to the process this one was forked from."""
        # Hazard: it is not our child, so it can neither be reaped nor may it be killed.
        self._end.detach()
        self._process.returncode = 0
        _close_pipes(self._process)

    def _start(self) -> JsonObject:
        limits = dump_line(self._limits.to_dict())
        try:
            report = json.loads(self._exchange(limits, _REPORT_BYTES, _START_S))
        except ValueError:
            raise WorkerLost("code worker did not start: its report is not JSON") from None
        if not isinstance(report, dict):
            raise WorkerLost("code worker did not start: its report is not an object")
        return report

    def _exchange(self, payload: bytes, limit: int, seconds: float) -> bytes:
        deadline = time.monotonic() + seconds
        try:
            self._channel.send(payload, deadline)
            return self._channel.receive(limit, deadline)
        except DeadlinePassed:
            raise WorkerLost(f"time limit of {seconds:g} s exceeded") from None
        except FrameTooLarge:
            raise WorkerLost(f"more than {limit} bytes in one message") from None
        except ChannelClosed:
            raise WorkerLost(self._cause_of_death(), inherited=self.calls > 1) from None

    def _reply_limit(self) -> int:
        return self._limits.result_bytes + _CHAR_BYTES * self._limits.stdout_chars + _HEAD_BYTES

    def _cause_of_death(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        code = self._process.returncode
        if code is None:
            return "code worker closed its output"
        if code == -signal.SIGXCPU:
            return f"processor time limit of {self._limits.cpu_s} s exceeded"
        if code < 0:
            return f"code worker was killed by {signal.Signals(-code).name}"
        return (
            f"code worker ended with status {code}, memory limit {self._limits.memory_bytes} bytes"
        )


def _spawn(python: str) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603 - our interpreter and our program
            [python, "-s", "-S", "-B", "-W", "ignore", str(_PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_ENVIRONMENT,
            cwd="/",
            bufsize=0,
            close_fds=True,
            start_new_session=True,
        )
    except OSError as cause:
        raise WorkerLost(f"code worker did not start: {cause}") from cause


def _end_process(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()
    _close_pipes(process)


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def _channel(process: subprocess.Popen[bytes]) -> Channel:
    if process.stdin is None or process.stdout is None:
        raise WorkerLost("code worker did not start: it has no pipes")
    channel = Channel(process.stdout.fileno(), process.stdin.fileno())
    os.set_blocking(channel.reader, False)
    os.set_blocking(channel.writer, False)
    return channel
