"""A clock that moves when told, and ids that count."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta, timezone

from abstractruntime.core.models import format_time
from abstractruntime.errors import UsageError

_START = datetime(2026, 1, 1, tzinfo=timezone.utc)


class FakeClock:
    """A `Clock` whose time passes only through `sleep`, `advance` and `set`."""

    def __init__(self, start: datetime = _START) -> None:
        if start.tzinfo is None:
            raise UsageError("start has no time zone, expected an aware datetime", argument="start")
        self._now = start
        self._monotonic_s = 0.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self._now

    def now_iso(self) -> str:
        return format_time(self._now)

    def monotonic(self) -> float:
        return self._monotonic_s

    def sleep(self, seconds: float) -> None:
        """Return at once, `seconds` later; the request is noted in `slept`."""
        self.slept.append(seconds)
        self.advance(max(0.0, seconds))

    def advance(self, seconds: float) -> None:
        """Move both times forward."""
        if seconds < 0:
            raise UsageError(
                "time only advances forward",
                hint="use set() for a jump of the wall clock",
                argument="seconds",
            )
        self._now += timedelta(seconds=seconds)
        self._monotonic_s += seconds

    def set(self, moment: datetime) -> None:
        """Jump the wall clock, backwards too, as an administrator could; monotonic time stays."""
        self._now = moment


class SequentialIds:
    """`Ids` that count each kind: `run-0001`, `step-0001`, `command-0001`, ..."""

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._counts: Counter[str] = Counter()

    def run_id(self) -> str:
        return self._next("run")

    def step_id(self) -> str:
        return self._next("step")

    def command_id(self) -> str:
        return self._next("command")

    def _next(self, kind: str) -> str:
        self._counts[kind] += 1
        return f"{self._prefix}{kind}-{self._counts[kind]:04d}"
