"""One word for what became of a run, whoever says it."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import flow_builder as build
import pytest

from abstractruntime._runtime.driver import Driver
from abstractruntime._runtime.runtime import Runtime
from abstractruntime.scheduler.registry import WorkflowRegistry
from abstractruntime.storage._store import record_lines
from abstractruntime.storage.directory import open_store
from abstractruntime.visualflow_compiler import compile_visualflow_tree

RAISES = "def transform(x):\n    prices = {}\n    return prices['tea']\n"


def calling(flow_id: str, child: str, **config: str) -> dict[str, Any]:
    call = build.node(
        "k", "subflow", "exec-in", "exec-out output", subflowId=child, effectConfig=config
    )
    edges = "s > k; k > e; k.output > e.output"
    return build.flow(build.START, call, build.end("output"), edges=edges) | {"id": flow_id}


@pytest.fixture
def flows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    code = build.node("c", "code", "exec-in", "exec-out output", code=RAISES)
    edges = "s > c; c > e; c.output > e.output"
    leaf = build.flow(build.START, code, build.end("output"), edges=edges) | {"id": "leaf"}
    going_on = calling("going-on", "middle", on_child_failure="continue")
    for flow in (leaf, calling("middle", "leaf"), calling("top", "middle"), going_on):
        (tmp_path / f"{flow['id']}.json").write_text(json.dumps(flow))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_failure_is_one_wherever_it_is_shown(art: Any, flows: Path) -> None:
    """The ledger says `completed` of a flow whose node failed; nobody is told only that."""
    assert (run := art("run", "leaf.json", "--run-id", "r", "--follow")).code == 1
    assert "failed: run r" in run.err
    assert "completed" not in run.err

    document = art("inspect", "r", "--json").document
    assert (document["status"], document["outcome"]) == ("completed", "failed")
    assert "failed (status completed)" in art("inspect", "r").out
    assert [row["outcome"] for row in art("runs", "--json").document["runs"]] == ["failed"]
    assert art("runs", "-q", "--status", "failed").out == "r\n"
    assert art("runs", "-q", "--status", "completed").out == "r\n"
    assert art("runs", "-q", "--status", "succeeded").out == ""
    nodes = art("graph", "r", "--json").document["nodes"]
    assert {node["id"]: node["outcome"] for node in nodes}["c"] == "failed"
    assert "run failed" in art("ledger", "tail", "r").out


def test_what_was_raised_is_kept(art: Any, flows: Path) -> None:
    art("run", "leaf.json", "--run-id", "r")

    error = art("inspect", "r", "--json").document["error"]

    assert (error["line"], error["raised"]["class"]) == (3, "KeyError")
    assert error["raised"]["traceback"] == "line 3, in transform\n    return prices['tea']"
    assert "KeyError: 'tea' (node c, line 3 of its code" in art("inspect", "r").out
    assert "return prices" not in art("inspect", "r").out
    assert "return prices" in art("inspect", "r", "--debug").out


def test_a_run_fails_with_its_child_and_names_the_deepest_cause(art: Any, flows: Path) -> None:
    assert (run := art("run", "top.json", "--run-id", "r")).code == 1

    error = art("inspect", "r", "--json").document["error"]
    assert [cause["workflow_id"] for cause in error["causes"]] == ["middle", "leaf"]
    assert error["causes"][-1]["raised"]["class"] == "KeyError"
    assert "error: KeyError: 'tea' (node c, line 3 of its code)" in run.err
    assert "called by node k of run r of flow top" in run.err
    listed = art("runs", "--children", "--json").document["runs"]
    assert {row["outcome"] for row in listed} == {"failed"}


def test_a_failed_child_is_no_finished_step(art: Any, flows: Path) -> None:
    assert art("run", "going-on.json", "--run-id", "r").code == 0

    assert art("inspect", "r", "--json").document["outcome"] == "succeeded"
    shown = art("inspect", "r").out
    step = next(line for line in shown.splitlines() if "start_subworkflow" in line)
    assert "failed" in step
    nodes = art("graph", "r", "--json").document["nodes"]
    assert {node["id"]: node["outcome"] for node in nodes} == {
        "s": "done",
        "k": "failed",
        "e": "done",
    }
    output = art("inspect", "r", "--json").document["output"]
    assert output["output"]["success"] is False


def test_what_a_flow_tells_the_user_is_told(art: Any, flows: Path) -> None:
    say = build.node(
        "a", "answer_user", "exec-in message", "exec-out", pinDefaults={"message": "one\ntwo"}
    )
    flow = build.flow(build.START, say, build.END, edges="s > a; a > e")
    Path("say.json").write_text(json.dumps(flow))

    run = art("run", "say.json", "--run-id", "r")

    assert "message: one\n  | two\n" in run.err
    assert art("run", "say.json", "--quiet").err == ""
    assert "answer_user one" in art("ledger", "tail", "r", "-f").out


def start_in_python(store: Path, **flows: dict[str, Any]) -> None:
    """Start a run of the first flow as a host does, and drive it until it waits."""
    specs = compile_visualflow_tree(flows_by_id=flows)
    with contextlib.closing(open_store(store)) as engine:
        registry = WorkflowRegistry()
        for spec in specs.values():
            registry.register(spec)
        runtime = Runtime.on_engine(engine, workflow_registry=registry)
        runtime.start(workflow=specs[next(iter(flows))], run_id="r")
        Driver(runtime).drive("r")


def asking() -> dict[str, Any]:
    ask = build.node(
        "a", "ask_user", "exec-in prompt", "exec-out response", pinDefaults={"prompt": "Go?"}
    )
    edges = "s > a; a > e; a.response > e.response"
    return build.flow(build.START, ask, build.end("response"), edges=edges) | {"id": "asks"}


def test_a_run_of_a_program_is_gone_on_with_from_here(
    art: Any, flows: Path, tmp_path: Path
) -> None:
    start_in_python(tmp_path / "store", top=calling("top", "asks"), asks=asking())

    assert art("graph", "r").code == 0
    assert art("resume", "r", "--input", "yes").code == 0
    assert art("ledger", "verify", "r").code in (0, 3)


def test_what_a_program_keeps_for_itself_needs_that_program(
    art: Any, flows: Path, tmp_path: Path
) -> None:
    specs = compile_visualflow_tree(flows_by_id={"top": calling("top", "asks")})
    with contextlib.closing(open_store(tmp_path / "store")) as engine:
        Runtime.on_engine(engine).start(workflow=specs["top"], run_id="r")

    refused = art("tick", "r")

    assert refused.code == 2
    assert "compile_visualflow_tree" in refused.err


def test_a_long_run_is_shown_from_its_end(art: Any, flows: Path, monkeypatch: Any) -> None:
    say = build.node(
        "a", "answer_user", "exec-in message", "exec-out", pinDefaults={"message": "m"}
    )
    loop = build.node("w", "for", "exec-in start:number end:number", "loop done i:number",
                      pinDefaults={"start": 0, "end": 150})  # fmt: skip
    flow = build.flow(build.START, loop, say, build.END, edges="s > w; w.loop > a; w.done > e")
    Path("long.json").write_text(json.dumps(flow))
    assert art("run", "long.json", "--run-id", "r").code == 0
    parsed: list[int] = []

    def parse(run_id: str, seq: int, line: Any) -> Any:
        parsed.append(seq)
        return record_lines.parse_line(run_id, seq, line)

    monkeypatch.setattr("abstractruntime.storage._store.ledger_reader.parse_line", parse)
    shown = art("inspect", "r", "-n", "2")

    assert len(parsed) < 250 < art("inspect", "r", "--json").document["ledger"]["records"]
    records = art("inspect", "r", "--json").document["ledger"]["records"]
    assert f"of {records} are not shown (2 steps are); all: --steps {records}" in shown.out
    assert shown.out.count("\n") + 150 < art("inspect", "r", "--steps", str(records)).out.count(
        "\n"
    )
    assert shown.out.count("answer_user") == 2


def test_long_records_are_shown_as_far_as_they_are_read_soon(art: Any, tmp_path: Path) -> None:
    """Whatever the records hold: the last ones that take no more than the bound, and all on demand."""
    say = build.node("a", "answer_user", "exec-in message", "exec-out")
    loop = build.node("w", "for", "exec-in start:number end:number", "loop done i:number",
                      pinDefaults={"start": 0, "end": 12})  # fmt: skip
    edges = "s > w; s.m > a.message; w.loop > a; w.done > e"
    flow = build.flow(build.start("m"), loop, say, build.END, edges=edges)
    Path("long.json").write_text(json.dumps(flow))
    Path("in.json").write_text(json.dumps({"m": "x" * 200_000}))
    assert art("run", "long.json", "--run-id", "r", "--input", "@in.json").code == 0
    with open_store(tmp_path / "store") as engine:
        whole = len(engine.recent("r", 1000))
        for bound in (1, 1_000_000):
            found = engine.recent("r", 1000, most_bytes=bound)
            lines = [len(item.line) + 1 for item in found]
            assert sum(lines) <= bound or len(lines) == 1
        assert 1 < len(found) < whole
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("abstractruntime.cli.inspect._MOST_BYTES", 1_000_000)
        shown, every = art("inspect", "r").out, art("inspect", "r", "-n", str(whole)).out

    assert "are not shown" in shown
    assert shown.count("answer_user") < every.count("answer_user") == 12


@pytest.mark.parametrize(
    ("change", "lead"),
    [
        (lambda lines: [lines[0], lines[1].replace("middle", "muddle", 1), *lines[2:]],
         "record 1 was changed after it was written; record 0 stands, nothing from there on is proven"),
        (lambda lines: [*lines[:2], *lines[3:]],
         "record 2 is not the one that belongs here"),
        (lambda lines: [lines[0].replace("r", "q", 1), *lines[1:]], "nothing in this ledger is proven"),
    ],
    ids=["changed", "removed", "the first"],
)  # fmt: skip
def test_a_verdict_begins_with_what_is_wrong(
    art: Any, flows: Path, tmp_path: Path, change: Any, lead: str
) -> None:
    art("run", "going-on.json", "--run-id", "r")
    ledger = tmp_path / "store" / "ledger_r.jsonl"
    whole = ledger.read_text().splitlines(keepends=True)
    ledger.write_text("".join(change(whole)))

    first = art("ledger", "verify", str(ledger)).out.splitlines()[0]

    assert first.startswith("invalid: run ")
    assert lead in first


def test_verdicts_over_all_ledgers_end_with_a_count(art: Any, flows: Path) -> None:
    art("run", "leaf.json")
    art("run", "top.json")

    last = art("ledger", "verify", "--all").out.splitlines()[-1]

    assert last == "4 ledgers: 4 valid_unsigned"


def test_a_node_after_which_the_flow_went_on_is_shown_as_failed(art: Any, flows: Path) -> None:
    code = build.node("c", "code", "exec-in", "exec-out error", code=RAISES, onError="continue")
    edges = "s > c; c > e; c.error > e.error"
    Path("on.json").write_text(
        json.dumps(build.flow(build.START, code, build.end("error"), edges=edges))
    )
    done = art("run", "on.json", "--run-id", "r")
    assert (
        done.code,
        "note: KeyError: 'tea' (node c, line 3 of its code); the flow went on" in done.err,
    ) == (0, True)

    assert art("inspect", "r", "--json").document["overcome"][0]["node_id"] == "c"
    assert (
        "KeyError: 'tea' (node c, line 3 of its code); the flow went on" in art("inspect", "r").out
    )
    nodes = art("graph", "r", "--json").document["nodes"]
    assert {node["id"]: node["outcome"] for node in nodes}["c"] == "failed"


PURE = build.node("p", "code", "", "output", code=RAISES)


@pytest.mark.parametrize("extra", [{}, {"onError": "continue"}], ids=["it ended", "it went on"])
def test_a_pure_node_that_raised_is_named_with_the_step_that_asked(
    art: Any, flows: Path, extra: Any
) -> None:
    asks = build.node("c", "set_var", "exec-in name value", "exec-out", **extra)
    flow = build.flow(build.START, PURE, asks, build.END, edges="s > c; c > e; p.output > c.value")
    Path("pure.json").write_text(json.dumps(flow))
    art("run", "pure.json", "--run-id", "r")

    document = art("inspect", "r", "--json").document
    (failure,) = [one for one in (document["error"], *document["overcome"]) if one]
    assert (failure["node_id"], failure["at_step"]["node_id"], failure["line"]) == ("p", "c", 3)
    text, debug = art("inspect", "r").out, art("inspect", "r", "--debug").out
    assert "KeyError: 'tea' (node p, line 3 of its code, at step c" in " ".join(text.split())
    assert "return prices['tea']" in debug
    assert "return prices" not in text
    nodes = art("graph", "r", "--data", "--json").document["nodes"]
    outcomes = {node["id"]: node.get("outcome") for node in nodes}
    assert (outcomes["p"], outcomes["c"]) == ("failed", "failed")


def kept_traceback(store: Path) -> Path:
    (blob,) = (p for p in (store / "artifacts" / "blobs").iterdir() if b"prices" in p.read_bytes())
    return blob


def test_the_calls_that_led_to_a_failure_are_an_artifact(
    art: Any, flows: Path, tmp_path: Path
) -> None:
    art("run", "top.json", "--run-id", "r")

    (cause,) = art("inspect", "r", "--json").document["error"]["causes"][-1:]
    assert "return prices['tea']" in cause["raised"]["traceback"]
    assert cause["raised"]["artifact"]
    assert art("gc", "--apply").code == 0
    assert "return prices['tea']" in art("inspect", "r", "--debug").out
    kept = kept_traceback(tmp_path / "store")
    assert b"return prices" not in b"".join(
        p.read_bytes() for p in kept.parents[2].glob("*_*.json*")
    )


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_bytes(b"x")])
def test_without_the_artifact_the_rest_of_a_failure_is_shown(
    art: Any, flows: Path, tmp_path: Path, harm: Any
) -> None:
    art("run", "leaf.json", "--run-id", "r")
    harm(kept_traceback(tmp_path / "store"))

    shown, document = art("inspect", "r", "--debug"), art("inspect", "r", "--json").document
    assert (shown.code, "KeyError: 'tea' (node c, line 3" in shown.out) == (0, True)
    assert "the calls cannot be read: artifact" in " ".join(shown.out.split())
    assert document["error"]["raised"]["traceback"] is None
    assert document["error"]["raised"]["class"] == "KeyError"


def test_who_follows_hears_that_a_child_failed(art: Any, flows: Path) -> None:
    told = art("run", "going-on.json", "--run-id", "r", "--follow").err

    assert "failed: k: Subworkflow 'middle' failed" in told
    assert "succeeded: run r" in told
    assert "completed: run" not in told


@pytest.mark.parametrize(
    "name", ["_flow_error_node", "_runtime", "_temp", "._runtime.limits.steps", "._flow_error_node"]
)
def test_what_the_runtime_keeps_no_flow_writes(art: Any, flows: Path, name: str) -> None:
    """A name that begins with a dot leads to the same variable; a pin hands its value to a child."""
    value = {"control": {"limited": {"limit": "steps", "used": 5, "max": 5}, "paused": True}}
    write = build.node("w", "set_var", "exec-in name value", "exec-out",
                       pinDefaults={"name": name, "value": value})  # fmt: skip
    Path("w.json").write_text(
        json.dumps(build.flow(build.START, write, build.END, edges="s > w; w > e"))
    )
    child = build.node("k", "subflow", f"exec-in {name.strip('.')}:object", "exec-out",
                       subflowId="asks", pinDefaults={name.strip("."): value})  # fmt: skip
    Path("asks.json").write_text(json.dumps(asking()))
    parent = build.flow(build.START, child, build.END, edges="s > k; k > e")
    Path("p.json").write_text(json.dumps(parent))

    assert "reserved" in art("run", "w.json").err
    assert art("run", "p.json", "--run-id", "r").code == 4
    assert art("inspect", "r", "--json").document["outcome"] == "waiting"
    assert art("resume", "r", "--input", "yes").code == 0


def test_no_input_says_that_a_run_has_failed(art: Any, flows: Path) -> None:
    flow = build.flow(build.start("_flow_error_node"), build.END, edges="s > e")
    Path("f.json").write_text(json.dumps(flow))
    given = ("--input", "_flow_error_node=x", "--allow-extra-input")

    assert art("run", "f.json", *given).code == 2


@pytest.mark.parametrize(
    "columns", ["outcome = 'succeeded'", "outcome = 'cancelled'", "outcome = 'x'"]
)
def test_no_row_hides_a_failure_from_who_acts(
    art: Any, flows: Path, tmp_path: Path, columns: str
) -> None:
    art("run", "leaf.json", "--run-id", "r")
    with contextlib.closing(sqlite3.connect(tmp_path / "store" / "index.sqlite")) as rows, rows:
        rows.execute(f"UPDATE runs SET {columns}")

    assert art("serve", "--once").code == 0
    assert art("runs", "-q", "--status", "failed").out == "r\n"
