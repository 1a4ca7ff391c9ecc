"""Flows for tests of the command line, written to files and parked where a test wants them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import flow_builder as build

LISTENS = build.flow(
    build.start("key:string"),
    build.node("w", "wait_event", "exec-in event_key:string", "exec-out event_data:object"),
    build.end("got:object"),
    edges="s > w; w > e; s.key > w.event_key; w.event_data > e.got",
    id="listens",
)
ASKS = build.flow(
    build.START,
    build.node(
        "a",
        "ask_user",
        "exec-in prompt:string",
        "exec-out response:string",
        pinDefaults={"prompt": "Well?"},
    ),
    build.end("said:string"),
    edges="s > a; a > e; a.response > e.said",
    id="asks",
)
CALLS = build.flow(
    build.START,
    build.node("c", "subflow", "exec-in", "exec-out said:string", subflowId="asks"),
    build.end("said:string"),
    edges="s > c; c > e; c.said > e.said",
    id="calls",
)


def listener(art: Any, run_id: str, key: str = "evt:session:{}:go") -> None:
    """Park a run that waits for the event `go` of its session, or for another key."""
    Path("listens.json").write_text(json.dumps(LISTENS))
    given = f"key={key.format(run_id)}"
    assert art("run", "listens.json", "--run-id", run_id, "--input", given).code == 4


def family(art: Any) -> str:
    """Park a run `top` whose child asks a person; gives the id of the child."""
    directory = Path("family")
    directory.mkdir(exist_ok=True)
    for document in (ASKS, CALLS):
        (directory / f"{document['id']}.json").write_text(json.dumps(document))
    compiled = art("compile", "family", "--entry", "calls", "--unsigned", "-o", "x.flowbundle")
    assert compiled.code == 0, compiled.err
    parked = art("run", "x.flowbundle", "--allow-unsigned", "--run-id", "top", "--json")
    assert parked.code == 4, parked.out
    return str(parked.document["waiting"]["run_id"])


def code_flow(path: Path, code: str) -> str:
    exec_in, exec_out = ({"id": f"exec-{end}", "type": "execution"} for end in ("in", "out"))
    flow = {
        "id": "calc",
        "nodes": [
            {"id": "s", "type": "on_flow_start", "data": {"outputs": [exec_out]}},
            {"id": "c", "type": "code", "data": {
                "label": "Calc", "code": code, "functionName": "transform",
                "inputs": [exec_in], "outputs": [exec_out, {"id": "output", "type": "any"}]}},
        ],
        "edges": [
            {"source": "s", "sourceHandle": "exec-out", "target": "c", "targetHandle": "exec-in"}
        ],
    }  # fmt: skip
    path.write_text(json.dumps(flow))
    return str(path)
