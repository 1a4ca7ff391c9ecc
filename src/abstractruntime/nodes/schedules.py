"""Schedules: `<number>(ms|s|m|h|d)`, a moment, or a cron expression; and when they are due.

Rules:
1. An interval is anchored: the next turn is counted from when the last one was due, not from
   when its work ended, so it does not drift. Turns that were missed meanwhile are left out.
2. A cron expression is read in a time zone. A moment that the clocks skip is due right after
   the gap, one that they repeat is due once.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Final

from abstractruntime._json import JsonValue
from abstractruntime.nodes._shown import shown_value
from abstractruntime.nodes.base import NodeError

_SHORTEST: Final = timedelta(milliseconds=100)
_UNITS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_INTERVAL = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*(ms|s|m|h|d)", re.IGNORECASE | re.ASCII)
_CRON_FIELDS = (5, 6)
_EXPECTED = (
    "expected an interval such as 15s or 1.5h (ms, s, m, h, d), a moment such as "
    "2030-01-31T09:00:00Z, or a cron expression such as '0 9 * * MON-FRI'"
)


@dataclass(frozen=True, slots=True)
class Schedule:
    """When something is due.

    `repeats` tells whether it can be due more than once, `hasty` whether it is slowed down to
    the shortest interval. `first` takes the present moment,
    `following` the moment that was due last and the present one.
    """

    repeats: bool
    first: Callable[[datetime], datetime]
    following: Callable[[datetime, datetime], datetime]
    hasty: bool = False


def read_schedule(value: JsonValue, zone_name: str = "") -> Schedule:
    """Read a schedule; `zone_name` is for cron expressions and for moments without an offset.

    Raises:
        NodeError: the value is no text, or none of the known forms, or there is no such time zone.
    """
    if not isinstance(value, str):
        raise NodeError(f"{shown_value(value)} is not a schedule, {_EXPECTED}")
    text = value.strip()
    zone = _zone(zone_name)
    match = _INTERVAL.fullmatch(text)
    if match:
        return _interval(float(match[1]) * _UNITS[match[2].lower()], text)
    if len(text.split()) in _CRON_FIELDS:
        return _cron(text, zone)
    return _once(_moment(text, zone))


def _interval(seconds: float, text: str) -> Schedule:
    try:
        step = max(timedelta(seconds=seconds), timedelta())
    except OverflowError:
        raise NodeError(f"the interval '{text}' is beyond the calendar") from None
    # A shorter one would leave no time for anything else.
    turn = max(step, _SHORTEST)

    def following(due: datetime, now: datetime) -> datetime:
        missed = max(1, -((due - now) // turn))
        return _beyond(lambda: due + missed * turn, text)

    def first(now: datetime) -> datetime:
        return _beyond(lambda: now + step, text)

    return Schedule(True, first, following, hasty=step < _SHORTEST)


def _beyond(moment: Callable[[], datetime], text: str) -> datetime:
    try:
        return moment()
    except OverflowError:
        raise NodeError(f"the schedule '{text}' is beyond the calendar") from None


def _once(moment: datetime) -> Schedule:
    return Schedule(False, lambda _now: moment, lambda _due, _now: moment)


def _moment(text: str, zone: tzinfo) -> datetime:
    try:
        moment = datetime.fromisoformat(text.upper().replace("Z", "+00:00"))
    except ValueError:
        raise NodeError(f"'{text}' is not a schedule, {_EXPECTED}") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)


def _cron(text: str, zone: tzinfo) -> Schedule:
    # Few flows have one; the others do not load the reader.
    from cronsim import CronSim, CronSimError  # noqa: PLC0415 - see above

    def after(now: datetime) -> datetime:
        try:
            due: datetime = next(CronSim(text.upper(), now.astimezone(zone)))
        except CronSimError as error:
            raise NodeError(f"'{text}' is not a cron expression: {error}") from error
        except StopIteration:
            raise NodeError(f"the cron expression '{text}' is never due") from None
        return due.astimezone(timezone.utc)

    return Schedule(True, after, lambda due, now: after(max(due, now)))


def _zone(name: str) -> tzinfo:
    if not name or name.upper() == "UTC":
        return timezone.utc
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - most schedules name none

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise NodeError(
            f"there is no time zone '{name}', expected a name such as Europe/Paris; "
            "a system without time zones gets them with: pip install tzdata"
        ) from None
