"""`art check`, `art compile` and `art run` accept and refuse the same documents."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flow_builder as build
import pytest
from cli_flows import ASKS, CALLS
from document_mutations import mutations

ENDS = build.flow(build.START, build.END, edges="s > e", id="ends")
_SWITCH = {"switchConfig": {"cases": [{"id": "a", "value": "A"}]}}
_CODE = {"code": "def transform(_input):\n    return {'n': 1}\n", "functionName": "transform"}
WIDE = build.flow(
    build.start("text:string", text="a"),
    build.node("up", "uppercase", "text:string", "result:string"),
    build.node("kind", "switch", "exec-in value", "case:a default", **_SWITCH),
    build.node("sum", "code", "exec-in text:string", "exec-out output", **_CODE),
    build.node("child", "subflow", "exec-in", "exec-out", subflowId="ends"),
    build.node("event", "on_event", "", "exec-out", eventConfig={"name": "x"}),
    build.end("answer:string"),
    edges="s > kind; s.text > up.text; up.result > kind.value; kind.case:a > sum; kind.default > child;"
    "sum > e; child > e; up.result > e.answer",
    id="wide",
    name="Wide",
    description="For mutations.",
    interfaces=["x"],
    entryNode="s",
)
Files = Mapping[str, Any]


def answers(art: Any, files: Files, name: str) -> dict[str, bool]:
    """Write files, and give what each command says of one of them: whether it is refused."""
    for path, document in files.items():
        place = Path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(document if isinstance(document, str) else json.dumps(document))
    compiled = art("compile", name, "--unsigned", "-o", "x.flowbundle", "--force")
    ran = art("run", name, "--limit", "steps=20")
    return {
        "check": art("check", name).code == 1,
        "compile": compiled.code == 1,
        "run": not any(line.startswith("run ") for line in ran.err.splitlines()),
    }


@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("mutated", ["parent", "child"])
def test_every_small_change_is_judged_alike(art: Any, mutated: str, part: int) -> None:
    base = WIDE if mutated == "parent" else ENDS
    every = 60 if mutated == "parent" else 40
    different = {}
    for what, document in list(mutations(base))[part::every]:
        files = {"d/main.json": WIDE, "d/ends.json": ENDS}
        files |= {"d/main.json" if mutated == "parent" else "d/ends.json": document}
        said = answers(art, files, "d/main.json")
        if len(set(said.values())) > 1:
            different[what] = said

    assert different == {}


def _calls(child: Any) -> dict[str, Any]:
    return {
        **CALLS,
        "nodes": [
            {**n, "data": {**n["data"], "subflowId": child}} if n["id"] == "c" else n
            for n in CALLS["nodes"]
        ],
    }


def _also(*nodes: dict[str, Any], edges: str = "") -> dict[str, Any]:
    more = build.flow(*nodes, edges=edges)
    return {
        **ENDS,
        "id": "main",
        "nodes": [*ENDS["nodes"], *more["nodes"]],
        "edges": [*ENDS["edges"], *more["edges"]],
    }


_GONE = build.node("g", "subflow", "exec-in", "exec-out", subflowId="gone")
_LATER = build.node("t", "on_schedule", "", "exec-out", eventConfig={"schedule": "1h"})
_BROKEN = {**ASKS, "edges": [{**edge, "targetHandle": "exec-inn"} for edge in ASKS["edges"]]}
SITUATIONS: Mapping[str, tuple[Files, bool]] = {
    "child beside": ({"d/main.json": CALLS, "d/asks.json": ASKS}, False),
    "child beside under another name": ({"d/main.json": CALLS, "d/other.json": ASKS}, False),
    "child nowhere": ({"d/main.json": CALLS}, True),
    "child below": ({"d/main.json": CALLS, "d/sub/asks.json": ASKS}, True),
    "child above": ({"d/main.json": CALLS, "asks.json": ASKS}, True),
    "child named by its file": ({"d/main.json": _calls("file"), "d/file.json": ASKS}, True),
    "child with errors": ({"d/main.json": CALLS, "d/asks.json": _BROKEN}, True),
    "child that is no JSON": ({"d/main.json": CALLS, "d/asks.json": '{"id": "asks", "nodes": ['}, True),
    "child with a key twice": ({"d/main.json": CALLS, "d/asks.json": json.dumps(ASKS)[:-1] + ', "id": "asks"}'}, True),
    "child of the child nowhere": (
        {"d/main.json": {**_calls("calls"), "id": "main"}, "d/calls.json": CALLS}, True
    ),
    "child twice": ({"d/main.json": CALLS, "d/a.json": ASKS, "d/b.json": ASKS}, True),
    "child twice, one named after its id": (
        {"d/main.json": CALLS, "d/asks.json": ASKS, "d/b.json": ASKS}, False
    ),
    "own id twice": ({"d/main.json": CALLS, "d/calls.json": CALLS, "d/asks.json": ASKS}, False),
    "no child named": ({"d/main.json": _calls("")}, True),
    "no child named, with an errors beside": ({"d/main.json": _calls(" "), "d/x.json": _BROKEN}, True),
    "an error beside": ({"d/main.json": ENDS, "d/x.json": _BROKEN}, False),
    "missing child that nothing reaches": ({"d/main.json": _also(_GONE)}, False),
    "missing child behind another trigger": (
        {"d/main.json": _also(_LATER, _GONE, edges="t > g")}, True
    ),
    "missing child behind a listener": (
        {"d/main.json": _also(build.node("t", "on_event", "", "exec-out"), _GONE, edges="t > g")},
        True,
    ),
    "a lone subflow is the entry": (
        {"d/main.json": {"id": "m", "entryNode": "g", "nodes": [{"id": "g", "type": "subflow", "data": {"subflowId": "gone"}}, *ENDS["nodes"]], "edges": ENDS["edges"]}},
        True,
    ),
    "recursion": ({"d/main.json": _calls("calls")}, False),
}  # fmt: skip


@pytest.mark.parametrize("files, refused", SITUATIONS.values(), ids=list(SITUATIONS))
def test_what_lies_beside_a_document_is_judged_alike(art: Any, files: Files, refused: bool) -> None:
    assert answers(art, files, "d/main.json") == dict.fromkeys(("check", "compile", "run"), refused)


@pytest.mark.parametrize(
    "name",
    [
        "\u00e4",
        "a/b",
        "../up",
        "A" * 300,
        "a\nb",
        "con",
        " a ",
        "CALLS",
        "-x",
        "0",
        "\U0001f600",
        ".",
        "a\u0000b",
        "\u202e",
    ],
)
@pytest.mark.parametrize("owner", ["parent", "child"])
def test_odd_ids_are_judged_alike(art: Any, name: str, owner: str) -> None:
    parent = {
        **_calls("asks" if owner == "parent" else name),
        "id": name if owner == "parent" else "calls",
    }
    child = {**ASKS, "id": name if owner == "child" else "asks"}

    said = answers(art, {"d/main.json": parent, "d/child.json": child}, "d/main.json")

    assert len(set(said.values())) == 1, said


def _write(files: Files) -> None:
    for path, document in files.items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps(document))


@pytest.mark.parametrize("command", [("check",), ("compile", "--unsigned"), ("run",)], ids=str)
def test_a_missing_subflow_is_told_with_where_it_was_looked_for(
    art: Any, command: tuple[str, ...]
) -> None:
    _write({"d/main.json": _calls("askss"), "d/asks.json": ASKS})

    done = art(*command, "d/main.json")
    text = done.out + done.err

    assert done.code == 1
    assert "'askss', which is missing" in text
    assert "looked for in the directory 'd'" in text
    assert "did you mean 'asks'? add a document with this id to 'd', or correct the id" in text
    assert "d/main.json:1:" in text


@pytest.mark.parametrize(
    "files, flags, code, found",
    [
        ({"d/a.json": ASKS, "d/b.json": ASKS}, (), 0, ["VF012", "VF012"]),
        ({"d/asks.json": ASKS, "d/x/asks.json": ASKS}, (), 0, []),
        ({"d/calls.json": CALLS, "d/x/asks.json": ASKS}, (), 1, ["VF205"]),
        ({"d/calls.json": CALLS, "d/x/asks.json": ASKS}, ("--tree",), 0, []),
    ],
    ids=["one id", "one id, apart", "child apart", "child apart, all there is"],
)
def test_a_directory_is_judged_by_what_lies_together(
    art: Any, files: Files, flags: tuple[str, ...], code: int, found: list[str]
) -> None:
    _write(files)

    done = art("check", "d", *flags, "--json")
    codes = [i["code"] for file in done.document["files"] for i in file["diagnostics"]]

    assert (done.code, [c for c in codes if c in ("VF012", "VF205")]) == (code, found)


def test_what_a_document_runs_is_checked_along_unless_it_is_all_there_is(art: Any) -> None:
    _write({"d/main.json": CALLS, "d/asks.json": _BROKEN})

    along, alone = art("check", "d/main.json"), art("check", "d/main.json", "--tree")

    assert "--> d/asks.json" in along.out
    assert "2 documents, 1 of them because another runs it: 2 errors" in along.err
    assert (alone.code, "1 document: 1 error" in alone.err) == (1, True)
