"""Compiled flows that hear events or follow a schedule, on both engines; every tick is a process of its own."""

from __future__ import annotations

from datetime import timedelta

import pytest
from flow_builder import flow, node

from abstractruntime.core.models import format_time, parse_moment
from abstractruntime.visualflow_compiler import compile_visualflow

SAY = node("say", "answer_user", "exec-in message", "exec-out")
ASK = node("q", "ask_user", "exec-in", "exec-out response", pinDefaults={"prompt": "busy"})


def scheduled(**config):
    on = node("on", "on_schedule", "", "exec-out timestamp scheduled_for", eventConfig=config)
    wires = "on > say; on.timestamp > say.message"
    return compile_visualflow(flow(on, SAY, edges=wires))


class Life:
    """One run; each look at it is a fresh process."""

    def __init__(self, make, spec) -> None:
        self.make, self.spec = make, spec
        rt = make(None, spec)
        self.clock = rt.clock
        self.start = self.clock.now()
        self.run_id = rt.start(workflow=spec)

    def tick(self):
        return self.make(None, self.spec).tick(workflow=self.spec, run_id=self.run_id)

    def at(self, seconds: float):
        """Let the clock show so many seconds since the start, and drive."""
        moment = self.start + timedelta(seconds=seconds)
        self.clock.advance((moment - self.clock.now()).total_seconds())
        return self.tick()

    def seconds(self, text: str) -> float:
        return (parse_moment(text) - self.start).total_seconds()

    def said(self) -> list:
        rt = self.make(None, self.spec)
        records = (stored.record for stored in rt.engine.records(self.run_id))
        return [
            record["effect"]["payload"]["message"]
            for record in records
            if (record["effect"] or {}).get("type") == "answer_user"
            and record["status"] == "completed"
        ]


def test_a_schedule_of_200_ms_tells_the_time_of_every_turn(make):
    life = Life(make, scheduled(schedule="200ms"))
    life.tick()

    waits = [life.seconds(life.at(moment).waiting.until) for moment in (0.1, 0.2, 0.3, 0.4, 5.05)]

    assert waits == pytest.approx([0.2, 0.4, 0.4, 0.6, 5.2])
    assert [life.seconds(text) for text in life.said()] == pytest.approx([0.2, 0.4, 5.05])


def test_a_schedule_that_does_not_recur_ends_its_run(make):
    life = Life(make, scheduled(schedule="1m", recurrent="false"))
    life.tick()

    state = life.at(60)

    assert (state.status, [life.seconds(text) for text in life.said()]) == ("completed", [60])


def test_a_moment_that_has_passed_is_due_at_once(make):
    life = Life(make, scheduled(schedule="2000-01-01T00:00:00Z"))

    assert life.tick().status == "completed"
    assert life.said() == [format_time(life.start)]


def test_an_early_answer_takes_the_place_of_a_turn(make):
    life = Life(make, scheduled(schedule="10s"))
    life.tick()
    rt = make(None, life.spec)

    state = rt.resume(workflow=life.spec, run_id=life.run_id, wait_key=None, payload={"by": "me"})

    assert life.seconds(state.waiting.until) == 20


def test_events_during_a_branch_are_heard_after_it(make):
    on = node(
        "on", "on_event", "", "exec-out payload", eventConfig={"name": "go", "scope": "global"}
    )
    wires = "on > q; q > say; on.payload > say.message"
    life = Life(make, compile_visualflow(flow(on, ASK, SAY, edges=wires)))
    life.tick()
    rt = make(None, life.spec)
    kept = rt if make.kind == "classic" else None  # a classic pair keeps commands in its process
    for value in (1, 2, 3):
        assert rt.emit_event(name="go", scope="global", payload=value)["delivered"] == 1

    for _ in range(3):
        (kept or make(None, life.spec)).tick(workflow=life.spec, run_id=life.run_id)
        state = (kept or make(None, life.spec)).resume(
            workflow=life.spec, run_id=life.run_id, wait_key=None, payload={"response": "ok"}
        )

    assert state.waiting.reason == "event"
    assert life.said() == [{"value": 1}, {"value": 2}, {"value": 3}]
