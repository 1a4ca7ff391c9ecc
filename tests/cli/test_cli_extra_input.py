"""Inputs that a flow cannot mean are refused when it is started from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import flow_builder as build
import pytest

_READS = build.node("r", "get_var", "name:string", "value:any", pinDefaults={"name": "mode.kind"})
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
    "declares-nothing": build.flow(build.START, build.end("x:any"), edges="s > e"),
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
        ("declares", "_runtime={}", 0),
        ("declares", "workspace_root=/tmp", 0),
        ("reads", 'mode={"kind": 1}', 0),
        ("reads", "kind=1", 2),
        ("computes", "kind=1", 0),
        ("declares-nothing", "kind=1", 0),
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
