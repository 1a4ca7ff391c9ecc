"""Limits on the command line: a run that meets one rests, says so, and can be let go on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from abstractruntime.cli._settings import BY_NAME
from abstractruntime.core.limits import RUN_LIMITS


def node(name: str, kind: str, **data: Any) -> dict[str, Any]:
    return {"id": name, "type": kind, "data": data}


def edge(source: str, target: str, via: str = "exec-out", into: str = "exec-in") -> dict[str, Any]:
    return {"source": source, "sourceHandle": via, "target": target, "targetHandle": into}


def write_flow(name: str, nodes: list[Any], edges: list[Any]) -> str:
    document = {"id": name, "name": name, "nodes": nodes, "edges": edges}
    Path(f"{name}.json").write_text(json.dumps(document))
    return f"{name}.json"


def loops() -> str:
    """A flow that reads a model again and again, and goes on when that fails."""
    condition = node("yes", "literal_boolean", literalValue=True)
    model = node("m", "llm_call", onError="continue")
    steps = [node("start", "on_flow_start"), node("w", "while"), condition, model]
    return write_flow(
        "loops",
        [*steps, node("end", "on_flow_end")],
        [
            edge("start", "w"),
            edge("yes", "w", "value", "condition"),
            edge("w", "m", "loop"),
            edge("w", "end", "done"),
        ],
    )


def calls_itself() -> str:
    return write_flow(
        "again",
        [
            node("start", "on_flow_start"),
            node("s", "subflow", subflowId="again"),
            node("end", "on_flow_end"),
        ],
        [edge("start", "s"), edge("s", "end")],
    )


@pytest.mark.parametrize(
    ("flow", "flags", "limit", "used"),
    [
        (loops, ["--limit", "steps=60"], "steps", 60),
        (loops, ["--limit", "failures=7"], "failures", 7),
        (calls_itself, [], "depth", 64),
        (calls_itself, ["--limit", "depth=0", "--limit", "runs=12"], "runs", 12),
    ],
    ids=["steps", "failures", "depth", "runs"],
)
def test_a_run_that_goes_on_for_ever_rests_and_can_be_let_go_on(art, flow, flags, limit, used):
    done = art("run", flow(), "--run-id", "r", *flags)

    assert done.code == 4
    assert f"is near to its limit: {limit}, " in done.err
    assert f"rests at its limit: {limit}, {used} of {used}" in done.err
    assert f"art limits r {limit}={2 * used}" in done.err
    before = _ledgers()

    again = art("tick", "r", "--json")
    document = json.loads(again.out)
    (row,) = [row for row in document["limits"] if row["rests"]]
    assert (again.code, row["limit"], row["used"], row["max"]) == (4, limit, used, used)
    assert art("tick", "--due").code == 0
    assert art("serve", "--once").code == 0
    assert _ledgers() == before

    raised = art("limits", "r", f"{limit}={used + 3}")
    assert (raised.code, "go on with it: art tick r" in raised.err) == (0, True)
    assert art("tick", "--due").code == 0
    assert f"{limit}, {used + 3} of {used + 3}" in art("tick", "r").err

    assert art("cancel", "r").code == 0
    assert art("limits", "r", "--json").out.count("run_id") == 1


def test_a_run_that_rests_at_a_limit_waits_on_nobody(art):
    for name in "rs":
        art("run", loops(), "--run-id", name, "--limit", "steps=20")
    art("run", calls_itself(), "--run-id", "above", "--limit", "depth=1")

    for reason in ("user", "subworkflow", "job", "event", "until"):
        listed = art("runs", "--waiting-on", reason, "--limit", "1", "--json").document
        assert (listed["runs"], listed["total"]) == ([], 0)
    rows = art("runs", "--json").document["runs"]
    assert {(row["outcome"], row["waiting_on"], row["question"]) for row in rows} == {
        ("limited", None, None)
    }


def test_limits_come_from_flag_environment_and_files_and_stay_with_the_run(art, monkeypatch):
    Path("art.yaml").write_text("limits: {steps: 50, failures: 0, depth: 5}\n")
    monkeypatch.setenv("ART_LIMITS_SECONDS", "77")
    assert art("run", loops(), "--run-id", "r", "--limit", "depth=200").code == 4
    Path("art.yaml").unlink()

    shown = json.loads(art("limits", "r", "--json").out)["limits"]
    found = {row["limit"]: row["max"] for row in shown}
    assert found | {"ledger_bytes": 0, "runs": 0} == {
        "steps": 50, "failures": 100, "depth": 200, "seconds": 77, "ledger_bytes": 0, "runs": 0
    }  # fmt: skip
    # In the first line of the ledger, wherever the run is taken to.
    first = Path("store/ledger_r.jsonl").read_text().splitlines()[0]
    assert '"limits":{"steps":50,' in first


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("stepps=3", "did you mean 'steps'?"),
        ("steps=-1", "expected a whole number from 0"),
        ("steps", "limit 'steps' is ''"),
        ("steps=1e9", "limit 'steps' is '1e9'"),
    ],
)
def test_what_is_no_limit_is_refused(art, given, said):
    for args in (["run", loops(), "--limit", given], ["limits", "r", given]):
        done = art(*args)
        assert (done.code, said in done.err) == (2, True)


def test_the_defaults_are_those_of_the_library():
    defaults = {name: BY_NAME[f"limits.{name}"].default for name in RUN_LIMITS}
    assert defaults == RUN_LIMITS


def test_a_project_cannot_let_runs_use_more(art):
    Path("art.yaml").write_text("limits: {steps: 0, runs: 1001, depth: 63}\n")
    shown = art("config", "show", "--json")
    values = {row["name"]: row["value"] for row in json.loads(shown.out)["settings"]}
    assert [values[f"limits.{name}"] for name in ("steps", "runs", "depth")] == [100_000, 1000, 63]


def test_progress_and_warnings_are_for_people_only(art, monkeypatch):
    done = art("run", loops(), "--limit", "steps=100")
    assert "is near to its limit: steps, 95 of 100" in done.err
    for mode in ("--json", "-q"):
        quiet = art("run", loops(), "--limit", "steps=100", mode)
        assert "near to its limit" not in quiet.err


def _ledgers() -> dict[str, int]:
    return {path.name: path.stat().st_size for path in Path("store").glob("ledger_*")}


def test_what_nodes_keep_as_artifacts_counts_for_their_run(art):
    Path("kept.txt").write_text("x" * 5000)
    keep = node("k", "import_workspace_file", pinDefaults={"file_path": "kept.txt"})
    nodes = [node("start", "on_flow_start"), keep, node("end", "on_flow_end")]
    flow = write_flow("keeps", nodes, [edge("start", "k"), edge("k", "end")])
    assert art("run", flow, "--run-id", "r").code == 0

    assert art("inspect", "r", "--json").document["ledger"]["beside_bytes"] == 5000
    assert " beside it" in art("inspect", "r").out
