"""The real clock and ids: the only place that reads the time of the machine, and draws ids."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import datetime, timezone

from abstractruntime.core.models import format_time, utc_now
from abstractruntime.core.ports import Clock


class SystemClock:
    """The clock of this machine; the text of the current second is kept, as runs ask often."""

    def __init__(self) -> None:
        self._second = (-1, "")

    def now(self) -> datetime:
        return datetime.now(timezone.utc)  # noqa: TID251 - this is the Clock port

    def now_iso(self) -> str:
        second, micros = divmod(time.time_ns() // 1000, 1_000_000)
        known, text = self._second
        if second != known:
            # Invariant: one assignment, so that threads see a second together with its text.
            text = format_time(datetime.fromtimestamp(second, timezone.utc))[:19]
            self._second = (second, text)
        return f"{text}.{micros:06d}+00:00"

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class SystemIds:
    """Random UUIDs, version 4."""

    def run_id(self) -> str:
        return self.step_id()

    def command_id(self) -> str:
        return self.step_id()

    def step_id(self) -> str:
        # The bytes of a version-4 UUID, formatted without building a UUID object.
        raw = bytearray(os.urandom(16))
        raw[6] = raw[6] & 0x0F | 0x40
        raw[8] = raw[8] & 0x3F | 0x80
        text = raw.hex()
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def random_hex() -> str:
    """Give the 32 digits of a random UUID."""
    return SystemIds().step_id().replace("-", "")


def utc_now_iso() -> str:
    """Give the current time as UTC ISO-8601 with microseconds."""
    return format_time(utc_now())


@dataclass
class DefaultRunContext:
    """What node handlers get: the time."""

    clock: Clock | None = None

    def now_iso(self) -> str:
        return self.clock.now_iso() if self.clock else utc_now_iso()
