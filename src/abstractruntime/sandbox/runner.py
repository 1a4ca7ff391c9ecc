"""Code runners: author code behind a process boundary, or, if trusted, in this process.

Rules:
1. Only JSON crosses, in both directions; a reply is checked like input from a stranger.
2. Any broken limit costs the call, never the runner: the next call gets a new worker.
3. Calls that share a worker share its fate: code that breaks out of Python inside the worker
   could forge the results of later calls. `sandbox.pool` therefore keeps a runner for each
   tree of runs of one bundle; who makes a runner decides who shares it.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import weakref
from collections.abc import Callable, Mapping
from functools import cache, partial

from abstractruntime._json import JsonObject, JsonValue, dump_line, normalise, replace_surrogates
from abstractruntime.errors import InvalidValue
from abstractruntime.nodes.base import NodeError
from abstractruntime.sandbox import _author
from abstractruntime.sandbox._process import Launch, WorkerLost, WorkerProcess
from abstractruntime.sandbox.limits import Limits

__all__ = [
    "MINIMA",
    "CodeFailed",
    "InProcessRunner",
    "WorkerRunner",
    "default_runner",
    "is_confined",
    "lacks",
]

OutputListener = Callable[[str], None]
StartWorker = Callable[[], WorkerProcess]

# Each is a number of choices, one layer of each of which must be active; a list of system calls
# has neither those that open files nor those that reach a network.
MINIMA: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "none": (),
    "fs+net": (("landlock-fs", "seccomp"), ("no-descriptors", "landlock-net", "seccomp")),
    "fs+net+syscalls": (("landlock-fs",), ("no-descriptors", "landlock-net"), ("seccomp",)),
}

_RAISED_CHARS = 4000

_LIVE: weakref.WeakSet[WorkerRunner] = weakref.WeakSet()


class CodeFailed(NodeError):  # noqa: N818 - named like RunFailed
    """Author code failed or broke a limit.

    `line` counts from 1 in the author's text (None when no line is to blame); `stdout` is what
    the code had printed; `raised` has the `class`, `message` and `traceback` of what it raised.
    """

    def __init__(
        self,
        text: str,
        *,
        line: int | None = None,
        stdout: str = "",
        raised: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(replace_surrogates(text))
        self.line = line
        self.stdout = stdout
        self.raised = raised


class WorkerRunner:
    """Runs author code in one warm worker process, started at the first call.

    Calls from several threads take turns. After a fork the child starts a worker of its own.
    The worker is replaced after a crash, a broken limit, or `limits.calls` calls.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        python: str | None = None,
        on_output: OutputListener | None = None,
        start: StartWorker | None = None,
    ) -> None:
        """Give a runner; nothing is started yet.

        Args:
            limits: What one worker may use up.
            python: The interpreter; default: the one that runs this.
            on_output: Told what code printed.
            start: Gives a worker that has served nobody; default: starts one.
        """
        self._start = start or partial(WorkerProcess, Launch(limits or Limits(), python))
        self._on_output = on_output
        self._lock = threading.Lock()
        self._worker: WorkerProcess | None = None
        self._last_id = 0
        _LIVE.add(self)

    def call(self, source: str, function: str, value: JsonValue) -> JsonValue:
        """Run `function(value)` of `source` and give its JSON result, which shares nothing.

        Raises:
            CodeFailed: the code failed, broke a limit, or gave something that is not JSON.
        """
        with self._lock:
            self._last_id += 1
            request = _request(self._last_id, source, function, value)
            reply = self._exchange(request, self._last_id)
            return self._accept(reply)

    def layers(self) -> JsonObject:
        """Tell what confines the code: `{backend, layers, missing, abi, filter}`; may start the worker."""
        with self._lock:
            try:
                return dict(self._ready().report)
            except WorkerLost as lost:
                raise CodeFailed(f"Runtime error: {lost}") from None

    def close(self) -> None:
        """Stop the worker; a later call starts another one."""
        with self._lock:
            self._stop()

    def __enter__(self) -> WorkerRunner:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _exchange(self, request: bytes, call_id: int) -> JsonObject:
        try:
            try:
                return self._exchange_once(request, call_id)
            except WorkerLost as lost:
                if not lost.inherited:
                    raise
            # Code in a worker touches nothing outside, so it may run again.
            return self._exchange_once(request, call_id)
        except WorkerLost as lost:
            raise CodeFailed(f"Runtime error: {lost}") from None

    def _exchange_once(self, request: bytes, call_id: int) -> JsonObject:
        reply: JsonObject | None = None
        try:
            worker = self._ready()
            found = _parse(worker.exchange(request))
            if found.get("id") != call_id or ("value" in found) == ("error" in found):
                raise WorkerLost(
                    "code worker sent a reply that nobody asked for", inherited=worker.calls > 1
                )
            reply = found
        finally:
            # Invariant: a worker whose reply was not read to its end never serves another
            # call, whatever interrupted us.
            if reply is None:
                self._stop()
        return reply

    def _accept(self, reply: JsonObject) -> JsonValue:
        stdout = replace_surrogates(str(reply.get("stdout", "")))
        if stdout and self._on_output:
            self._on_output(stdout)
        if "value" in reply:
            return _checked(reply["value"])
        if reply.get("spent"):
            self._stop()
        line = reply.get("line")
        raise CodeFailed(
            str(reply["error"]),
            line=line if isinstance(line, int) else None,
            stdout=stdout,
            raised=_raised(reply.get("raised")),
        )

    def _ready(self) -> WorkerProcess:
        if self._worker is not None and not self._worker.is_usable():
            self._stop()
        if self._worker is None:
            if os.name != "posix":
                raise WorkerLost(
                    "code workers need a POSIX system; trusted code can run in process"
                )
            self._worker = self._start()
        return self._worker

    def _stop(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.stop()

    def _after_fork(self) -> None:
        # Hazard: another thread of the parent may have held the lock at the moment of the fork.
        self._lock = threading.Lock()
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.forget()


class InProcessRunner:
    """Runs author code in this process: same language, same texts, no protection at all.

    Only for code whose author you trust like your own; no limit applies, and a loop never ends.
    """

    def __init__(self, *, on_output: OutputListener | None = None) -> None:
        self._on_output = on_output

    def call(self, source: str, function: str, value: JsonValue) -> JsonValue:
        """Run `function(value)` of `source` and give its JSON result, which shares nothing.

        Raises:
            CodeFailed: the code failed, or gave something that is not JSON.
        """
        output = _author.Output(Limits().stdout_chars)
        value = json.loads(_input_text(value))
        try:
            result = _author.call_function(source, function, value, output)
            encoded = _author.encode_result(result, function)
        except _author.Failure as failure:
            raise CodeFailed(
                failure.text,
                line=failure.line,
                stdout=output.text(),
                raised=_raised(failure.raised),
            ) from None
        if self._on_output and output.text():
            self._on_output(output.text())
        return _checked(json.loads(encoded))

    def layers(self) -> JsonObject:
        """Tell what confines the code: nothing."""
        return {
            "backend": "in-process",
            "layers": [],
            "missing": ["process"],
            "abi": 0,
            "filter": None,
        }

    def close(self) -> None:
        """Do nothing; for symmetry with `WorkerRunner`."""


def is_confined(report: JsonObject) -> bool:
    """Tell whether a report of layers takes files and network away from the code."""
    return not lacks(report, "fs+net")


def lacks(report: JsonObject, minimum: str) -> str:
    """Name what a report of layers lacks of a minimum; empty when it has all of it.

    Args:
        minimum: A name of `MINIMA`.
    """
    layers = set(report.get("layers", ()))
    wanted = MINIMA[minimum]
    missing = [" or ".join(choice) for choice in wanted if not layers.intersection(choice)]
    return ", ".join(missing)


@cache
def default_runner() -> WorkerRunner:
    """Give one runner for whoever asks in this process; its worker starts at the first call.

    Nodes of compiled flows do not use it: see `sandbox.pool.default_pool`.
    """
    return WorkerRunner()


def _request(call_id: int, source: str, function: str, value: JsonValue) -> bytes:
    head = dump_line({"id": call_id, "source": replace_surrogates(source), "function": function})
    return head[:-1] + b',"value":' + _input_text(value) + b"}"


def _input_text(value: JsonValue) -> bytes:
    try:
        return dump_line(value)
    except (TypeError, ValueError, RecursionError) as error:
        reason = _reason(value) or str(error)
        raise CodeFailed(f"Input of the code cannot be passed on: {reason}") from None


def _reason(value: JsonValue) -> str | None:
    try:
        normalise(value)
    except InvalidValue as invalid:
        return str(invalid)
    return None


def _parse(reply: bytes) -> JsonObject:
    try:
        data = json.loads(reply)
    except (ValueError, RecursionError):
        raise WorkerLost("code worker sent something that is not JSON") from None
    if not isinstance(data, dict):
        raise WorkerLost("code worker sent something that is not a reply")
    return data


def _raised(found: JsonValue) -> Mapping[str, str] | None:
    """Take over what a worker says was raised; it may say anything."""
    if not isinstance(found, dict) or not found:
        return None
    return {
        name: replace_surrogates(str(found.get(name) or ""))[:_RAISED_CHARS]
        for name in ("class", "message", "traceback")
    }


def _checked(value: JsonValue) -> JsonValue:
    try:
        return normalise(value)
    except InvalidValue as invalid:
        raise CodeFailed(f"Result of the code cannot be stored: {invalid}") from None


def _forget_all() -> None:
    for runner in list(_LIVE):
        runner._after_fork()  # noqa: SLF001 - the module's own class


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_forget_all)
