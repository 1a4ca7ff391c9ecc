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
from dataclasses import dataclass, field
from pathlib import Path

from abstractruntime._json import JsonObject, dump_line
from abstractruntime._json_size import has_more_values
from abstractruntime.sandbox import _bwrap
from abstractruntime.sandbox.limits import Limits
from abstractruntime.sandbox.protocol import (
    Channel,
    ChannelClosed,
    DeadlinePassed,
    FrameTooLarge,
)

_PROGRAM = Path(__file__).with_name("worker.py")
_OPTIONS = ["-s", "-S", "-B", "-W", "ignore"]
_START_S = 20.0
_REPORT_BYTES = 1 << 16
# Head, captured text and error text of a reply, besides the result itself; a character of
# text takes at most six bytes of JSON.
_HEAD_VALUES = 16
_HEAD_BYTES = 1 << 16
_CHAR_BYTES = 6
_BY_SIGNAL = 128
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


@dataclass(frozen=True, slots=True)
class Launch:
    """How workers are started.

    `python` is the interpreter, `bwrap` the program that gives a worker namespaces of its own;
    `hides_parent` forbids processes of the same user to look into this one before a worker starts,
    which only programs may decide; `without` names layers to do without, as on a system that
    lacks them.
    """

    limits: Limits = field(default_factory=Limits)
    python: str | None = None
    bwrap: str | None = None
    hides_parent: bool = False
    without: tuple[str, ...] = ()


class WorkerProcess:
    """A started worker; not safe for concurrent use.

    It confines itself while the parent goes on: who needs its report waits for it.
    """

    def __init__(self, launch: Launch) -> None:
        self._limits = launch.limits
        self._is_wrapped = launch.bwrap is not None
        self._process, lifeline, held = _spawn(launch)
        # Runs when stopped, when nobody refers to the worker any more, or at exit.
        self._end = weakref.finalize(
            self, _end_process, self._process, held, is_wrapped=self._is_wrapped
        )
        self._held = held
        self.calls = 0
        self._report: JsonObject | None = None
        try:
            self._channel = _channel(self._process)
            self._send_order(launch, lifeline)
        except BaseException:
            self.stop()
            raise

    @property
    def report(self) -> JsonObject:
        """What confines the worker.

        Raises:
            WorkerLost: it did not start.
        """
        if self._report is None:
            self._report = self._read_report()
        return self._report

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_usable(self) -> bool:
        """Tell whether another call may go to this process.

        A worker that wrote something nobody asked for is not believed any more.

        Raises:
            WorkerLost: it did not start.
        """
        _ = self.report
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
        # Its start counts against its own deadline.
        _ = self.report
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
        _close_pipes(self._process, self._held)

    def _send_order(self, launch: Launch, lifeline: int) -> None:
        order = {
            "limits": launch.limits.to_dict(),
            "lifeline": lifeline,
            "namespaces": _bwrap.own_namespaces() if launch.bwrap else {},
            "without": list(launch.without),
        }
        try:
            self._channel.send(dump_line(order), time.monotonic() + _START_S)
        except (ChannelClosed, DeadlinePassed):
            raise WorkerLost(f"code worker did not start: {self._cause_of_death()}") from None

    def _read_report(self) -> JsonObject:
        deadline = time.monotonic() + _START_S
        try:
            report = json.loads(self._receive(_REPORT_BYTES, deadline, _START_S))
        except ValueError:
            raise WorkerLost("code worker did not start: its report is not JSON") from None
        if not isinstance(report, dict):
            raise WorkerLost("code worker did not start: its report is not an object")
        if self._is_wrapped and report.get("backend") != "bwrap":
            raise WorkerLost("code worker did not start: bwrap gave it no namespaces of its own")
        return report

    def _exchange(self, payload: bytes, limit: int, seconds: float) -> bytes:
        deadline = time.monotonic() + seconds
        try:
            self._channel.send(payload, deadline)
        except DeadlinePassed:
            raise WorkerLost(f"time limit of {seconds:g} s exceeded") from None
        except ChannelClosed:
            raise WorkerLost(self._cause_of_death(), inherited=self.calls > 1) from None
        return self._receive(limit, deadline, seconds)

    def _receive(self, limit: int, deadline: float, seconds: float) -> bytes:
        try:
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
        if self._is_wrapped and code is not None and code > _BY_SIGNAL:
            code = _BY_SIGNAL - code  # what bwrap says of a signal that ended the worker
        if code is None:
            return "code worker closed its output"
        if code == -signal.SIGXCPU:
            return f"processor time limit of {self._limits.cpu_s} s exceeded"
        if code < 0:
            return f"code worker was killed by {signal.Signals(-code).name}"
        return (
            f"code worker ended with status {code}, memory limit {self._limits.memory_bytes} bytes"
        )


def _spawn(launch: Launch) -> tuple[subprocess.Popen[bytes], int, int]:
    """Start a worker; give it, the end of its lifeline, and the end that is held here."""
    lifeline, held = os.pipe()
    try:
        if launch.bwrap is None:
            program = [launch.python or sys.executable, *_OPTIONS, str(_PROGRAM)]
            return _popen(program, lifeline, _environment(launch)), lifeline, held
        program = _bwrap.wrapped(launch.bwrap, _PROGRAM, _OPTIONS)
        process = _bwrap.from_lasting_thread(lambda: _popen(program, lifeline, _ENVIRONMENT))
        return process, lifeline, held
    except BaseException as cause:
        os.close(held)
        if isinstance(cause, OSError):
            raise WorkerLost(f"code worker did not start: {cause}") from cause
        raise
    finally:
        os.close(lifeline)


def _environment(launch: Launch) -> dict[str, str]:
    return {**(os.environ if "clean-env" in launch.without else {}), **_ENVIRONMENT}


def _popen(
    program: list[str], lifeline: int, environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - our interpreter and our program
        program,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        cwd="/",
        bufsize=0,
        pass_fds=(lifeline,),
        start_new_session=True,
    )


def _end_process(process: subprocess.Popen[bytes], held: int, *, is_wrapped: bool) -> None:
    if is_wrapped:
        # Hazard: bubblewrap that is killed while it starts leaves a child that waits for ever;
        # without its lifeline a worker ends in any state, and bubblewrap with it.
        _close_pipes(process, held)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_START_S)
    if process.poll() is None:
        process.kill()
    process.wait()
    if not is_wrapped:
        _close_pipes(process, held)


def _close_pipes(process: subprocess.Popen[bytes], held: int) -> None:
    os.close(held)
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
