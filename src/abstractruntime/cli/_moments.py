"""Moments as people write them: ISO-8601, `2h` ago, `yesterday`."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from abstractruntime.core.models import format_time, parse_moment
from abstractruntime.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

_AGO: Final = re.compile(r"(\d{1,6})\s*(s|min|m|h|d|w)(?:\s+ago)?", re.IGNORECASE)
_UNITS: Final[Mapping[str, timedelta]] = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_DAYS: Final = {"today": 0, "yesterday": 1}


def moment_of(text: str, *, now: datetime, option: str) -> str:
    """Give a moment as the store writes it.

    `2h` is two hours before `now`; `today` and `yesterday` begin at midnight, as a date does.
    All are UTC unless a time zone is given.

    Raises:
        UsageError: it is no moment, or lies before or behind all time.
    """
    word = text.strip().casefold()
    try:
        if word == "now":
            return format_time(now)
        if word in _DAYS:
            day = now.replace(hour=0, minute=0, second=0, microsecond=0)
            return format_time(day - timedelta(days=_DAYS[word]))
        if found := _AGO.fullmatch(word):
            return format_time(now - int(found[1]) * _UNITS[found[2]])
        return format_time(parse_moment(text))
    except (ValueError, OverflowError) as cause:
        raise UsageError(
            f"{text!r} is no moment",
            hint="use a form such as 2h, 3d, yesterday, 2026-01-31 or 2026-01-31T08:00:00Z",
            argument=option,
        ) from cause
