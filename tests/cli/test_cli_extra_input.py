"""Inputs that a flow cannot mean are refused when it is started from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import flow_builder as build
import pytest

_READS = build.node("r", "get_var", "name:string", "value:any", pinDefaults={"name": "mode.kind"})
_ASKS = build.node("a", "ask_user", "exec-in prompt", "exec-out response")
_DECLARES = build.node("v", "bool_var", "", "name value", literalValue="mode")
_CHANGES = build.node(
    "p",
    "set_var_property",
    "exec-in name key value",
    "exec-out value",
    pinDefaults={"name": "user", "key": "k", "value": 1},
)


def _code(pins: str) -> dict[str, Any]:
    return build.node("c", "code", pins, "exec-out", code="def transform(i):\n    return i\n")


_EDGES = "s > e; s.amount > e.amount"
_END = build.end("amount:number extra:any")
FLOWS: dict[str, Any] = {
    "declares": build.flow(build.start("amount:number note:string"), _END, edges=_EDGES),
    "reads": build.flow(
        build.start("amount:number"), _READS, _END, edges=f"{_EDGES}; r.value > e.extra"
    ),
    "computes": build.flow(
        build.start("amount:number which:string"),
        _READS,
        _END,
        edges=f"{_EDGES}; s.which > r.name; r.value > e.extra",
    ),
    "ends with x": build.flow(build.START, build.end("amount x:any"), edges="s > e"),
    "reads y": build.flow(
        build.START, build.end("amount x"), edges="s > e; s.amount > e.amount; s.y > e.x"
    ),
    "reads all": build.flow(build.START, build.end("amount x"), edges="s > e; s.result > e.x"),
    "gives all": build.flow(build.START, build.END, edges="s > e"),
    "asks first": build.flow(
        *(build.START, _ASKS, build.end("amount")), edges="s > a; a > e; s.amount > e.amount"
    ),
    "code first": build.flow(build.START, _code("exec-in"), build.end("x"), edges="s > c; c > e"),
    "code alone": build.flow(_code("exec-in"), build.end("x"), edges="c > e"),
    "code behind pins": build.flow(
        *(build.start("amount"), _code("exec-in"), build.end("x")), edges="s > c; c > e"
    ),
    "declares a variable": build.flow(
        *(build.start("amount"), _DECLARES, build.end("x")), edges="s > e; v.value > e.x"
    ),
    "has an input key": build.flow(
        build.start("amount"), build.end("x", inputKey="kept.here"), edges="s > e"
    ),
    "changes a part": build.flow(
        *(build.start("amount"), _CHANGES, build.end("x")), edges="s > p; p > e"
    ),
    "has no step for it": build.flow(build.START, build.end("amount"), edges="s > e"),
}


@pytest.fixture
def run(art: Any) -> Any:
    def call(flow: str, *args: str) -> Any:
        Path("f.json").write_text(json.dumps(FLOWS[flow]))
        return art("run", "f.json", "--input", "amount=1", *args)

    return call


@pytest.mark.parametrize(
    "flow, given, code",
    [
        ("declares", "note=x", 0),
        ("declares", "nope=1", 2),
        ("declares", '{"nope": 1}', 2),
        ("declares", "_limits={}", 0),
        ("declares", "_runtime={}", 2),
        ("declares", "_temp={}", 2),
        ("declares", '{"_temp": {}}', 2),
        ("reads all", "_last_output=1", 2),
        ("computes", "_flow_error_node=x", 2),
        ("computes", "_own=1", 0),
        ("declares", "_own=1", 2),
        ("declares", "workspace_root=/tmp", 0),
        ("reads", 'mode={"kind": 1}', 0),
        ("reads", "kind=1", 2),
        ("computes", "kind=1", 0),
        ("ends with x", "x=1", 0),
        ("ends with x", "kind=1", 2),
        ("reads y", "y=1", 0),
        ("reads y", "z=1", 2),
        ("reads all", "kind=1", 0),
        ("gives all", "kind=1", 0),
        ("asks first", "prompt=Well?", 4),
        ("asks first", "promt=Well?", 2),
        ("asks first", "choices=[1]", 4),
        ("code first", "kind=1", 0),
        ("code alone", "kind=1", 0),
        ("code behind pins", "kind=1", 2),
        ("declares a variable", "mode=true", 0),
        ("declares a variable", "mod=true", 2),
        ("has an input key", "kept={}", 0),
        ("has an input key", "here={}", 2),
        ("changes a part", "user={}", 0),
        ("changes a part", "usr={}", 2),
        ("has no step for it", "zzz=1", 2),
    ],
)
def test_names_that_a_flow_can_mean(run: Any, flow: str, given: str, code: int) -> None:
    assert run(flow, "--input", given).code == code


def test_the_refusal_names_what_the_start_has(run: Any, art: Any) -> None:
    done = run("declares", "--input", "amuont=2", "--input", "nte=x")

    assert "inputs 'amuont', 'nte' are no parameters of flow" in done.err
    assert "did you mean 'amount' and 'note'? it takes amount, note" in done.err
    assert "--allow-extra-input" in done.err
    assert art("runs", "-q", "--json").out == ""


def test_extra_inputs_can_be_allowed(run: Any, art: Any) -> None:
    assert run("declares", "--input", "nope=1", "--run-id", "r", "--allow-extra-input").code == 0
    assert "nope" in art("ledger", "show", "r", "--json").out


def test_a_bundle_is_as_strict(run: Any, art: Any) -> None:
    run("declares")
    art("compile", "f.json", "--unsigned", "-o", "f.flowbundle")

    assert art("run", "f.flowbundle", "--allow-unsigned", "--input", "nope=1").code == 2


def test_a_flow_without_parameters_says_what_it_reads(run: Any) -> None:
    err = run("asks first", "--input", "promt=x").err

    assert "did you mean 'prompt'? it takes amount, choices, prompt" in err


@pytest.mark.parametrize(
    "flow, given, note",
    [
        ("code first", ("--input", "kind=1"), ""),
        ("reads", ("--input", "mode=1"), ""),
        (
            "declares",
            ("--input", "note=x", "--input", "nope=1", "--allow-extra-input"),
            "note: nothing in the flow reads nope",
        ),
    ],
)
def test_only_what_nothing_reads_is_told(run: Any, flow: str, given: Any, note: str) -> None:
    notes = [line for line in run(flow, *given).err.splitlines() if line.startswith("note")]

    assert notes == [note] * bool(note)
