"""Flows that hear events, at the command line: run, emit, serve, inspect."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from flow_builder import START, end, flow, node

ASK = node("q", "ask_user", "exec-in", "exec-out response", pinDefaults={"prompt": "ready?"})
ON = node("on", "on_event", "", "exec-out payload", eventConfig={"name": "ping"})
SAY = node("say", "answer_user", "exec-in message", "exec-out")
EMIT = node("m", "emit_event", "exec-in", "exec-out delivered", effectConfig={"name": "ping"})
HEARS = "; on > say; on.payload > say.message"


def write(document: dict) -> str:
    Path("flow.json").write_text(json.dumps(document), encoding="utf-8")
    return "flow.json"


@pytest.fixture
def quick() -> str:
    """A flow that ends at once, and hears `ping` beside it."""
    return write(flow(START, end(), ON, SAY, edges="s > e" + HEARS))


@pytest.fixture
def asking() -> str:
    """A flow that asks, then emits the event that it hears."""
    edges = "s > q; q > m; m > e; m.delivered > e.n" + HEARS
    return write(flow(START, ASK, EMIT, end("n"), ON, SAY, edges=edges))


def tree(art) -> dict[str, str]:
    """Give the status of each run by its workflow."""
    runs = art("runs", "--children", "--json").document["runs"]
    return {run["workflow_id"]: run["status"] for run in runs}


LISTENER = "visual_event_listener_f_on"


@pytest.mark.parametrize(
    ("options", "listener"), [((), "cancelled"), (("--keep-listeners",), "waiting")]
)
def test_a_run_ends_with_its_listeners_unless_they_are_kept(art, quick, options, listener):
    done = art("run", quick, "--run-id", "r", *options, "--json")

    assert (done.code, done.document["status"], done.document["waiting"]) == (0, "completed", None)
    assert tree(art) == {"f": "completed", LISTENER: listener}


def test_a_kept_listener_shows_in_inspect_and_hears_events(art, quick):
    art("run", quick, "--run-id", "r", "--keep-listeners")

    (wait,) = art("inspect", "r", "--json").document["waits"]
    told = art("emit", "ping", "--run", "r", "--payload", '"hi"', "--drive", "--json")

    assert (wait["reason"], wait["wait_key"]) == ("event", "evt:session:r:ping")
    assert "evt:session:r:ping" in art("inspect", "r").out
    assert (told.code, told.document["delivered"]) == (0, 1)
    assert tree(art)[LISTENER] == "waiting"
    records = art("ledger", "show", wait["run_id"], "--json").document["records"]
    assert [
        r["effect"]["payload"]["message"]
        for r in records
        if r["node_id"] == "say" and r["status"] == "completed"
    ] == [{"value": "hi"}]


def test_a_flow_hears_its_own_event_after_the_answer(art, asking):
    first = art("run", asking, "--run-id", "r")
    assert (first.code, tree(art)) == (4, {"f": "waiting", LISTENER: "waiting"})
    assert "art resume r --input ANSWER" in first.err

    done = art("resume", "r", "--input", "yes", "--json")

    assert (done.code, done.document["output"]) == (0, {"n": 1, "success": True})
    assert tree(art) == {"f": "completed", LISTENER: "cancelled"}


def test_keeping_is_remembered_by_who_ends_the_run(art, asking):
    art("run", asking, "--run-id", "r", "--keep-listeners")

    art("resume", "r", "--input", "yes")

    assert tree(art) == {"f": "completed", LISTENER: "waiting"}


def test_a_server_keeps_listeners(art, asking):
    art("run", asking, "--run-id", "r")
    art("emit", "ping", "--run", "r", "--payload", "1")

    served = art("serve", "--once")

    assert (served.code, tree(art)) == (0, {"f": "waiting", LISTENER: "waiting"})


def test_cancelling_a_run_takes_its_listeners(art, asking):
    art("run", asking, "--run-id", "r")

    assert art("cancel", "r").code == 0
    assert set(tree(art).values()) == {"cancelled"}


def test_a_bundle_holds_what_listeners_run(art, tmp_path):
    child = flow(START, end(), edges="s > e", id="child")
    (tmp_path / "child.json").write_text(json.dumps(child), encoding="utf-8")
    sub = node("sub", "subflow", "exec-in", "exec-out", subflowId="child")
    path = write(flow(START, end(), ON, sub, edges="s > e; on > sub"))

    art("run", path, "--run-id", "r", "--keep-listeners")
    art("emit", "ping", "--run", "r", "--drive")

    assert tree(art) == {"f": "completed", LISTENER: "waiting", "child": "completed"}


def test_a_schedule_runs_on_when_it_is_due(art):
    on = node("on", "on_schedule", "", "exec-out timestamp", eventConfig={"schedule": "2000-01-01"})
    path = write(flow(on, SAY, edges="on > say; on.timestamp > say.message"))

    done = art("run", path, "--json")

    assert (done.code, done.document["status"]) == (0, "completed")
    assert done.document["output"]["result"]["message"]


def test_a_listener_that_fails_is_no_failure_of_the_run(art):
    wrong = node("x", "wait_event", "exec-in event_key", "exec-out", pinDefaults={"event_key": ""})
    on = {**ON, "data": {**ON["data"], "eventConfig": {"name": "ping"}}}
    path = write(flow(START, EMIT, end(), on, wrong, edges="s > m; m > e; on > x"))

    assert art("run", path, "--run-id", "r").code == 0
    assert tree(art) == {"f": "completed", LISTENER: "failed"}
