"""Lists, documents and events that name a status say what became of the run, too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import flow_builder as build
import pytest
from jsonschema import Draft202012Validator

from abstractruntime._history.verify import verify_history_bundle
from abstractruntime.schemas import load_schema

RAISES = "def transform(x):\n    return {}['tea']\n"
CAUSE = "KeyError: 'tea'"


@pytest.fixture
def failed(art: Any, tmp_path: Path) -> Any:
    """Give `art`, with a run `r` whose node raised and whose ledger says `completed`."""
    code = build.node("c", "code", "exec-in", "exec-out output", code=RAISES)
    edges = "s > c; c > e; c.output > e.output"
    flow = build.flow(build.START, code, build.end("output"), edges=edges) | {"id": "leaf"}
    (tmp_path / "leaf.json").write_text(json.dumps(flow))
    assert art("run", "leaf.json", "--run-id", "r").code == 1
    return art


@pytest.fixture
def woken(art: Any, tmp_path: Path) -> Any:
    """Give `art`, with a run `r` that an event woke, and that fails when it goes on."""
    wait = build.node("w", "wait_event", "exec-in event_key:string", "exec-out event_data:object")
    code = build.node("c", "code", "exec-in", "exec-out output", code=RAISES)
    edges = "s > w; w > c; c > e; s.key > w.event_key; c.output > e.output"
    flow = build.flow(build.start("key:string"), wait, code, build.end("output"), edges=edges)
    (tmp_path / "later.json").write_text(json.dumps(flow | {"id": "later"}))
    given = ("--input", "key=evt:session:r:go")
    assert art("run", "later.json", "--run-id", "r", *given).code == 4
    art("emit", "go", "--run", "r")
    return art


@pytest.mark.parametrize("more", [(), ("-f",)])
def test_the_last_records_of_a_failed_run(failed: Any, more: tuple[str, ...]) -> None:
    rows = [
        row.split("\t") for row in failed("ledger", "tail", "r", "-n", "2", *more).out.splitlines()
    ]

    assert [row[1] for row in rows] == ["failed", "failed"]
    stored = failed("ledger", "tail", "r", "-n", "2", "--json").document["records"]
    assert [record["status"] for record in stored] == ["completed", "completed"]


def test_a_snapshot_of_a_failed_run(failed: Any) -> None:
    made = failed("snapshot", "create", "r", "--json").document
    Draft202012Validator(load_schema("snapshots")).validate(made)
    (row,) = made["snapshots"]

    assert (row["status"], row["outcome"], row["name"]) == ("completed", "failed", "failed")
    assert "completed" not in failed("snapshot", "list").out
    assert failed("snapshot", "restore", row["snapshot_id"]).out == "r\tfailed\n"


def test_a_history_of_a_failed_run(failed: Any, tmp_path: Path) -> None:
    failed("export-history", "r", "-o", "h.json")
    history = json.loads(Path("h.json").read_text())
    run = history["run"]

    assert (run["status"], run["error"], run["outcome"]) == ("completed", None, "failed")
    assert (run["failure"]["node_id"], run["failure"]["raised"]["class"]) == ("c", "KeyError")
    shown = failed("show", "h.json")
    assert f"failed: run r: {CAUSE} (node c, line 2 of its code)" in shown.out
    document = failed("show", "h.json", "--json").document
    Draft202012Validator(load_schema("verify-history")).validate(document)
    assert (document["outcome"], document["failure"]) == ("failed", run["failure"])


@pytest.mark.parametrize(
    ("name", "value", "defects"),
    [
        ("outcome", "succeeded", ["outcome_mismatch"]),
        ("failure", None, ["failure_mismatch"]),
        ("outcome", ..., ["outcome_mismatch"]),
        (None, None, []),
    ],
)
def test_the_records_say_what_became_of_it(
    failed: Any, name: str | None, value: Any, defects: list[str]
) -> None:
    """Exports of earlier versions have neither, and show it all the same."""
    history = failed("export-history", "r").document
    run = history["run"]
    history["run"] = {**run, name: value} if name else run
    for gone in {"outcome", "failure"} if name is None else {name} if value is ... else ():
        del history["run"][gone]

    assert [defect.code for defect in verify_history_bundle(history)] == defects
    Path("h.json").write_text(json.dumps(history))
    assert ("failed: run r" in failed("show", "h.json").out) is (not defects)


def test_who_serves_says_why_a_run_failed(woken: Any) -> None:
    event = json.loads(woken("serve", "--once", "--jsonl").out)
    Draft202012Validator(load_schema("serve-event")).validate(event)

    assert (event["event"], event["status"], event["outcome"]) == (
        "advanced",
        "completed",
        "failed",
    )
    error = event["error"]
    assert (error["code"], CAUSE in error["message"]) == ("run_failed", True)
    assert error["hint"] == "see what happened: art inspect r"


def test_what_woke_a_run_is_not_why_it_failed(woken: Any) -> None:
    told = woken("serve", "--once")

    assert f" run r: failed: {CAUSE} (node c, line 2 of its code); it went on as " in told.out
    assert (told.code, "went on: 1, failed: 1" in told.err) == (0, True)


def test_a_pass_says_why_a_run_failed(woken: Any) -> None:
    told = woken("tick", "--due")
    assert told.out == f"r\tfailed\tlater\t{CAUSE}\n"


def test_a_pass_tells_programs_why_a_run_failed(woken: Any) -> None:
    (row,) = woken("tick", "--due", "--json").document["runs"]

    assert (row["outcome"], row["error"]) == ("failed", CAUSE)


@pytest.mark.parametrize("args", [("limits", "r", "steps=9"), ("resume", "r", "--input", "x")])
def test_a_failed_run_is_never_called_completed(failed: Any, args: tuple[str, ...]) -> None:
    told = failed(*args)

    assert ("failed" in told.err, "completed" in told.out + told.err) == (True, False)
