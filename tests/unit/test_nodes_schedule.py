"""on_schedule: what a schedule means, when it is due again, and how its branch turns."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from flow_builder import Host, flow, node
from node_scope import NOON, FakeScope, element, plan

from abstractruntime.core.models import format_time, parse_moment
from abstractruntime.nodes.base import NodeError
from abstractruntime.nodes.registry import find_node_type
from abstractruntime.nodes.schedules import read_schedule
from abstractruntime.visualflow_compiler import Services

ON = find_node_type("on_schedule")


def after(text: str, now: datetime = NOON, zone: str = "") -> float:
    return (read_schedule(text, zone).first(now) - now).total_seconds()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("200ms", 0.2), ("15s", 15), ("5m", 300), ("1.5H", 5400), ("2d", 172_800), (" 30 S ", 30), (".5s", 0.5), ("0s", 0),
        ("2030-01-01T12:00:10Z", 10), ("2030-01-01T13:00:20+01:00", 20), ("2030-01-01T12:01:00", 60), ("2030-01-02", 43_200),
        ("2029-01-01", -31_579_200),
        ("*/5 * * * *", 300), ("0 9 * * *", 75_600), ("*/30 * * * * *", 30), ("0 9 * * mon-fri", 75_600),
    ],
)  # fmt: skip
def test_when_a_schedule_is_due_first(text, seconds):
    assert after(text) == seconds


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("soon", "'soon' is not a schedule, expected an interval"),
        ("-5s", "not a schedule"),
        ("5", "not a schedule"),
        ("5 parsecs", "not a schedule"),
        ("* * * * 9", "not a cron expression: Bad day-of-week"),
        ("0 0 30 2 *", "cron expression|never due"),
        ("9999999999d", "beyond the calendar"),
    ],
)
def test_a_schedule_that_means_nothing(text, problem):
    with pytest.raises(NodeError, match=problem):
        after(text)


def test_a_time_zone_that_does_not_exist():
    with pytest.raises(NodeError, match="there is no time zone 'Mars/Base'"):
        after("0 9 * * *", zone="Mars/Base")


@pytest.mark.parametrize(
    ("text", "due", "now", "expected"),
    [
        ("10s", 0, 0, 10), ("10s", 0, 4, 10), ("10s", 0, 10, 10), ("10s", 0, 11, 20), ("10s", 0, 3605, 3610),
        ("0s", 0, 0, 0.1), ("50ms", 0, 0.33, 0.4), ("10s", 5, 0, 15), ("* * * * *", 0, 1, 60), ("* * * * *", 0, 200, 240),
    ],
    ids=["at once", "in time", "just", "late", "standstill", "too short", "short and late", "woken early", "cron", "cron late"],
)  # fmt: skip
def test_when_it_is_due_again(text, due, now, expected):
    moments = (NOON + timedelta(seconds=s) for s in (due, now))

    again = read_schedule(text).following(*moments)

    assert (again - NOON).total_seconds() == pytest.approx(expected)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("text", "now", "expected"),
    [
        ("0 9 * * *", "2030-01-15T07:59", ["2030-01-15T08:00", "2030-01-16T08:00"]),
        ("0 9 * * *", "2030-07-15T06:59", ["2030-07-15T07:00", "2030-07-16T07:00"]),
        ("30 2 * * *", "2030-03-30T12:00", ["2030-03-31T01:00", "2030-04-01T00:30"]),
        ("30 2 * * *", "2030-10-26T12:00", ["2030-10-27T00:30", "2030-10-28T01:30"]),
    ],
    ids=["winter", "summer", "skipped hour", "repeated hour"],
)
def test_a_cron_expression_follows_the_clocks_of_its_zone(text, now, expected):
    schedule = read_schedule(text, "Europe/Paris")
    first = schedule.first(utc(now))

    assert [first, schedule.following(first, first)] == [utc(moment) for moment in expected]


UNREADABLE = ["", "  ", None, 5, True, ["15s"], "soon", "9 9", "0 25 * * *", "0 0 30 2 *"]

# -- the node -----------------------------------------------------------------------


def until(inputs, **data) -> float:
    moment = parse_moment(plan("on_schedule", inputs, **data)["until"])
    return (moment - NOON).total_seconds()


@pytest.mark.parametrize(
    ("inputs", "config", "seconds"),
    [
        ({}, {}, 15),
        ({}, {"schedule": "1m"}, 60),
        ({"schedule": "2m"}, {"schedule": "1m"}, 120),
        ({"schedule": ""}, {"schedule": "1m"}, 60),
        ({}, {"schedule": "0 9 * * *", "timezone": "Asia/Tokyo"}, 43_200),
        ({"timezone": "UTC"}, {"schedule": "0 9 * * *", "timezone": "Asia/Tokyo"}, 75_600),
    ],
    ids=["default", "config", "pin", "blank pin", "zone", "zone pin"],
)
def test_on_schedule(inputs, config, seconds):
    assert until(inputs, eventConfig=config) == seconds


@pytest.mark.parametrize(
    ("inputs", "config", "rearms"),
    [
        ({}, {}, True),
        ({}, {"recurrent": False}, False),
        ({}, {"recurrent": "false"}, False),
        ({"recurrent": "no"}, {"recurrent": True}, False),
        ({"recurrent": "Yes"}, {"recurrent": False}, True),
        ({"schedule": "2030-01-01"}, {}, False),
        ({"schedule": "0 0 * * *"}, {}, True),
    ],
)
def test_whether_it_turns_again(inputs, config, rearms):
    assert ON.rearms(element("on_schedule", eventConfig=config), inputs) is rearms


@pytest.mark.parametrize(
    ("data", "severities"),
    [
        ({}, ["warning"]),
        ({"eventConfig": {"schedule": "15s"}, "pinDefaults": {"schedule": ""}}, []),
        *(({"eventConfig": {"schedule": bad}}, [None]) for bad in UNREADABLE),
        *(({"pinDefaults": {"schedule": bad}}, [None]) for bad in UNREADABLE),
    ],
)
def test_a_schedule_is_read_before_it_runs(data, severities):
    assert [p.severity for p in ON.check(element("on_schedule", **data))] == severities


@pytest.mark.parametrize("bad", UNREADABLE)
def test_a_schedule_that_cannot_be_read_never_runs(bad):
    with pytest.raises(NodeError, match=r"schedule|cron"):
        plan("on_schedule", {}, eventConfig={"schedule": bad})
    with pytest.raises(NodeError, match=r"schedule|cron"):
        plan("on_schedule", {"schedule": bad})


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def wake(self, effect, _count):
        """Be the kernel: let a wait end when it is due, anything else after 3 seconds."""
        if effect.type != "wait_until":
            self.now += timedelta(seconds=3)
            return {}
        self.now = max(self.now, parse_moment(effect.payload["until"])) + self.late
        return {"until": effect.payload["until"], "ready": True, "timestamp": format_time(self.now)}

    late = timedelta()


def schedule_flow(**config):
    on = node(
        "on", "on_schedule", "", "exec-out timestamp scheduled_for recurrent", eventConfig=config
    )
    say = node("say", "answer_user", "exec-in message", "exec-out")
    return flow(on, say, edges="on > say; on.timestamp > say.message")


def turns(document, steps: int, clock: Clock) -> list[float]:
    """Give after how many seconds each branch began, by what it was told."""
    host = Host(document, answer=clock.wake, rebuild=True, services=Services(now=clock))
    for _ in range(steps):
        if not host.step():
            break
    said = [parse_moment(e.payload["message"]) for e in host.effects if e.type == "answer_user"]
    return [(moment - NOON).total_seconds() for moment in said]


def test_a_recurrent_schedule_does_not_drift():
    assert turns(schedule_flow(schedule="10s"), 6, Clock()) == [10, 20, 30]


def test_a_standstill_is_made_up_for_once():
    clock = Clock()
    clock.late = timedelta(seconds=95)
    first = turns(schedule_flow(schedule="10s"), 4, clock)

    assert first == [105, 205]  # due at 10 and, the missed ones left out, at 110


def test_a_schedule_that_does_not_recur_ends_the_run():
    document = schedule_flow(schedule="10s", recurrent="no")

    assert turns(document, 10, Clock()) == [10]


def test_the_pins_tell_when_it_was_due_also_after_an_early_answer():
    node_type, here = ON, element("on_schedule", eventConfig={"schedule": "10s"})
    planned = node_type.plan(here, {}, FakeScope())
    echo = node_type.echo(here, {}, planned)

    assert echo == {"scheduled_for": format_time(NOON + timedelta(seconds=10)), "recurrent": True}
    assert node_type.pins(here, {"response": "now"}) == {}
    again = node_type.replan(here, {}, FakeScope(), echo)
    assert again.payload == {"until": format_time(NOON + timedelta(seconds=20))}
