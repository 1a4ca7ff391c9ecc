"""The clock and the ids of this machine, for stores that were given none."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

from abstractruntime.core.models import format_time, utc_now

if TYPE_CHECKING:
    from datetime import datetime


class SystemClock:
    """Wall clock, monotonic clock and sleep of the operating system."""

    def now(self) -> datetime:
        return utc_now()

    def now_iso(self) -> str:
        return format_time(utc_now())

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class RandomIds:
    """Random UUIDs."""

    def run_id(self) -> str:
        return str(uuid.uuid4())

    def step_id(self) -> str:
        return str(uuid.uuid4())
