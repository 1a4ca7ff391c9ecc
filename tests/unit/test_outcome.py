"""What became of a run, as the run itself, its tree and its children tell it."""

from __future__ import annotations

from typing import Any

import pytest
from ledger_builder import a_run, a_wait

from abstractruntime.cli._run_rows import Listed, Wanted
from abstractruntime.core.config import RuntimeConfig
from abstractruntime.core.limits import LimitUse, reached_limit
from abstractruntime.core.models import RunStatus, WaitReason
from abstractruntime.core.outcome import (
    Failure,
    Outcome,
    child_failure,
    failure_of,
    outcome_of,
    overcome_failures,
)
from abstractruntime.core.ports import RunHeader
from abstractruntime.core.run_tree import RunTree
from abstractruntime.core.vars import initial_vars
from abstractruntime.effects.subworkflow import hand_over

LIMITED = {"limited": {"limit": "steps", "used": 5, "max": 5}}


class Runs:
    """An engine that knows a few runs."""

    def __init__(self, *runs: Any) -> None:
        self._runs = {run.run_id: run for run in runs}

    def peek(self, run_id: str) -> Any:
        return self._runs[run_id]

    def find(self, query: Any) -> list[RunHeader]:
        runs = self._runs.values()
        return [RunHeader.of(run) for run in runs if run.parent_run_id == query.parent_run_id]


def waits_for(child: str) -> dict[str, Any]:
    wait = a_wait(reason=WaitReason.SUBWORKFLOW, wait_key=f"subworkflow:{child}")
    return {"status": "waiting", "waiting": wait}


@pytest.mark.parametrize(
    ("control", "outcome"),
    [
        (LIMITED, Outcome.LIMITED),
        ({**LIMITED, "paused": True}, Outcome.PAUSED),
        ({"limited": {"zz": 5}}, Outcome.WAITING),
        ({"limited": {"limit": "steps", "used": "a", "max": 5}}, Outcome.WAITING),
        ({"limited": 7}, Outcome.WAITING),
    ],
)
def test_a_run_that_rests(control: Any, outcome: Outcome) -> None:
    run = a_run(status="waiting", waiting=a_wait(), vars={"_runtime": {"control": control}})

    assert outcome_of(run) is outcome
    assert (reached_limit(run.vars) is None) is (control.get("limited") != LIMITED["limited"])


@pytest.mark.parametrize("driven", ["run-1", "child"])
def test_a_run_goes_on_while_somebody_drives_it_or_its_child(driven: str) -> None:
    child = a_run(run_id="child", parent_run_id="run-1", status="running")
    tree = RunTree(Runs(a_run(**waits_for("child")), child), "run-1")

    assert tree.outcome(lambda run_id: run_id == driven) is Outcome.RUNNING
    assert tree.outcome(lambda _: False) is Outcome.INTERRUPTED


def test_the_cause_is_the_child_that_the_run_failed_with() -> None:
    overcome, fatal = (
        a_run(run_id=name, workflow_id=name, parent_run_id="run-1", status="failed", error=name)
        for name in ("overcome", "fatal")
    )
    other = a_run(run_id="z", workflow_id="z", parent_run_id="run-1", status="failed", error="z")
    root = a_run(status="failed", error=child_failure(fatal))

    chain = RunTree(Runs(root, overcome, fatal, other), "run-1").failures()

    assert [run.run_id for run in chain] == ["run-1", "fatal"]


@pytest.mark.parametrize(
    ("raised", "line", "found"),
    [
        ({"class": "E", "message": "m", "traceback": "t"}, 3, ("E: m", 3)),
        ({"class": "E", "message": "", "traceback": ""}, None, ("E", None)),
        ({"class": "E", "message": "m", "traceback": 7}, True, ("boom", None)),
        (["E"], "3", ("boom", None)),
    ],
)
def test_what_was_raised_is_believed_when_it_is_text(raised: Any, line: Any, found: Any) -> None:
    names = {"_flow_error": "boom", "_flow_error_node": "n", "_flow_error_raised": raised}
    failure = failure_of(a_run(vars={**names, "_flow_error_line": line}))

    assert failure is not None
    assert (failure.summary, failure.line) == found


def test_nodes_after_which_a_flow_went_on() -> None:
    temp = {
        "errors": {"a": {"success": False, "error": "boom"}},
        "effects": {"b": {"success": False, "meta": {"error": "no model"}}, "c": {"success": True}},
        "node_outputs": {"d": {"success": False, "error": "an output"}},
    }

    found = overcome_failures(a_run(vars={"_temp": temp}))

    assert set(found) == {Failure("boom", "a"), Failure("no model", "b")}


RAISED = {"class": "E", "message": "m", "traceback": "t"}
SOURCE = {"source": "p", "line": 3, "raised": RAISED}


def test_a_failure_names_the_pure_node_that_raised_and_the_step_that_asked() -> None:
    overcome = {"errors": {"a": {"success": False, "error": "boom"}}, "raised": {"a": SOURCE}}
    ended = {f"_flow_error_{name}": value for name, value in SOURCE.items()}
    run = a_run(vars={"_flow_error": "boom", "_flow_error_node": "a", **ended, "_temp": overcome})

    expected = Failure("boom", "p", 3, RAISED, at_step="a")
    assert failure_of(run) == expected
    assert overcome_failures(run) == [expected]
    assert expected.step_id == "a"


@pytest.mark.parametrize("facts", [7, {"source": 5, "line": "x", "raised": {"class": 5}}])
def test_what_is_no_fact_of_an_overcome_failure_is_left_out(facts: Any) -> None:
    temp = {"errors": {"a": {"success": False, "error": "boom"}}, "raised": {"a": facts}}

    assert overcome_failures(a_run(vars={"_temp": temp})) == [Failure("boom", "a")]


def test_a_child_that_ended_with_an_error_fails_whom_it_answers() -> None:
    broken = {"_flow_error": "boom", "_flow_error_node": "n"}
    child = a_run(run_id="child", status="completed", vars=broken, output={"error": "boom"})
    parent = a_run(**waits_for("child"))

    command = hand_over(parent, parent.waiting, child, lambda _: {})

    assert "failed: boom" in command.request.error


@pytest.mark.parametrize(("used", "is_near"), [(79, False), (80, True), (100, True)])
def test_a_limit_is_near_from_four_fifths_on(used: int, is_near: bool) -> None:
    assert LimitUse("steps", used, 100).is_near is is_near


@pytest.mark.parametrize(
    ("bounds", "is_listed"),
    [
        ({"since": "b"}, True),
        ({"since": "c"}, False),
        ({"until": "b"}, False),
        ({"until": "c"}, True),
    ],
)
def test_times_include_their_beginning_only(bounds: dict[str, str], is_listed: bool) -> None:
    header = RunHeader.of(a_run(updated_at="b", status=RunStatus.COMPLETED))

    assert Wanted(**bounds).may_be(header) is is_listed


def test_nobody_begins_a_run_as_paused_limited_or_failed() -> None:
    given = {
        "_runtime": {"control": {**LIMITED, "paused": True}, "kept": 1},
        "_flow_error_node": "n",
        "a": 1,
    }

    own = initial_vars(given, RuntimeConfig())

    assert own["_runtime"] == {"kept": 1}
    assert "_flow_error_node" not in own
    assert own["a"] == 1


def test_every_outcome_and_status_can_be_asked_for() -> None:
    words = {listed.value for listed in Listed}

    assert words == {o.value for o in Outcome} | {s.value for s in RunStatus} | {"damaged"}
