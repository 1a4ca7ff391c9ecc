"""`art check` as authors and CI use it: what is looked at, what counts, what is said."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_flows import ASKS

from abstractruntime.visualflow_compiler.check import RULES

ROOT = Path(__file__).resolve().parents[2]
BUNDLES = ROOT / "bundles"
TOO_LONG = 64 * 1024 * 1024 + 1


def write(path: str, document: Any) -> Path:
    place = Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(document if isinstance(document, str) else json.dumps(document))
    return place


def with_type(name: str) -> dict[str, Any]:
    """Give a flow with one error: a node of a type that does not exist."""
    asked = {"id": "a", "type": name}
    return {**ASKS, "nodes": [asked if node["id"] == "a" else node for node in ASKS["nodes"]]}


@pytest.fixture
def mixed(art: Any) -> Any:
    """A flow with an error, a flow with a warning, and JSON that is no flow, at several depths."""
    write("d/a.json", with_type("nope"))
    write("d/deep/er/b.json", {**ASKS, "nodes": [*ASKS["nodes"], {**ASKS["nodes"][1], "id": "x"}]})
    write("d/package.json", {"name": "p", "graph": {"nodes": []}})
    write("d/tsconfig.json", '{ // no JSON\n "files": [] }')
    write("d/.hidden/c.json", with_type("nope"))
    write("d/node_modules/p/d.json", with_type("nope"))
    return art


def test_a_directory_stands_for_the_flows_below_it(mixed: Any) -> None:
    done = mixed("check", "d", "--json")

    assert [item["file"] for item in done.document["files"]] == ["d/a.json", "d/deep/er/b.json"]
    assert done.document["passed_over"] == ["d/package.json", "d/tsconfig.json"]
    assert (done.code, done.document["ok"]) == (1, False)


@pytest.mark.parametrize(
    "text",
    [
        '{"nodes": [',
        "\ufeff" + '{"nodes": [',
        '{"edges": {}}',
        '{"entryNode": 1}',
        '<<<<<<<\n"nodes"',
    ],
)
def test_a_damaged_flow_is_not_passed_over(art: Any, text: str) -> None:
    write("d/ok.json", ASKS)
    write("d/bad.json", text)

    assert art("check", "d").code == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", str(ASKS)),
        ("a.json", json.dumps([ASKS])),
        ("a.json", json.dumps({"flow": ASKS})),
        ("A.JSON", json.dumps(with_type("nope"))),
    ],
    ids=["single quotes", "in a list", "in an object", "capitals"],
)
def test_nor_is_one_that_is_wrapped_or_called_otherwise(art: Any, name: str, text: str) -> None:
    write("d/good.json", ASKS)
    Path("d", name).write_text(text)

    assert art("check", "d").code == 1


def test_a_flow_in_another_encoding_is_not_passed_over(art: Any) -> None:
    write("d/ok.json", ASKS)
    Path("d/wide.json").write_text(json.dumps(ASKS), encoding="utf-16")

    assert "d/wide.json" in art("check", "d").err + art("check", "d").out


@pytest.mark.parametrize(
    "args",
    [
        ("check", "d"),
        ("fmt", "d"),
        ("compile", "d", "--entry", "price-orders", "--unsigned"),
        ("compile", "d/flow.json", "--unsigned"),
        ("diff", "d", "d"),
    ],
    ids=str,
)
def test_a_huge_file_beside_flows_stops_nothing(art: Any, args: tuple[str, ...]) -> None:
    shutil.copytree(BUNDLES / "price-orders", "d")
    with open("d/rows.json", "wb") as file:
        file.write(b'{"nodes": "')
        file.truncate(TOO_LONG)

    done = art(*args)

    assert done.code == 0, done.err
    assert ("'d/rows.json' is larger than any flow" in done.err) == (args[0] == "check")


@pytest.mark.parametrize(
    "flags, code, codes",
    [
        ((), 1, "VF105 VF201"),
        (("--fail-on", "warning", "--ignore", "VF2"), 1, "VF105"),
        (("--ignore", "VF2"), 0, "VF105"),
        (("--ignore", "VF105,VF201", "--fail-on", "warning"), 0, ""),
        (("--select", "VF105"), 0, "VF105"),
        (("--select", "vf2", "--select", "VF105"), 1, "VF105 VF201"),
        (("--select", "VF", "--ignore", "VF2"), 0, "VF105"),
    ],
    ids=str,
)
def test_what_counts(mixed: Any, flags: tuple[str, ...], code: int, codes: str) -> None:
    done = mixed("check", "d", *flags, "--json")

    found = {i["code"] for file in done.document["files"] for i in file["diagnostics"]}
    assert (done.code, done.document["ok"], sorted(found & {"VF201", "VF105"})) == (
        code,
        not code,
        codes.split(),
    )


@pytest.mark.parametrize(
    "flags",
    [("--select", "VF9"), ("--ignore", "all"), ("--select", ""), ("--fail-on", "info")],
    ids=str,
)
def test_a_misspelt_choice_is_refused(mixed: Any, flags: tuple[str, ...]) -> None:
    assert mixed("check", "d", *flags).code == 2


def test_what_cannot_be_read_always_counts(art: Any) -> None:
    write("a.json", "{")

    assert art("check", "a.json", "--ignore", "VF", "--select", "VF501").code == 1


def test_a_cut_list_of_findings_passes_no_choice(art: Any) -> None:
    nodes = [{"id": f"n{i}", "type": "nope"} for i in range(101)]
    write("a.json", {**ASKS, "nodes": [*ASKS["nodes"], *nodes]})

    assert art("check", "a.json", "--select", "VF5").code == 1


def test_the_end_counts_by_severity(mixed: Any) -> None:
    assert "2 documents: 1 error, 1 warning" in mixed("check", "d", "--ignore", "VF3").err


def test_infos_are_shown_when_asked_for(art: Any) -> None:
    write("a.json", RULES["VF307"].bad)

    plain, full = art("check", "a.json"), art("check", "a.json", "-v")
    started = art("run", "a.json")

    assert ("info[" in plain.out, "info[" in full.out, "info[" in started.err) == (
        False,
        True,
        False,
    )
    assert "1 info; infos ask for nothing, see them with -v" in plain.err


@pytest.mark.parametrize("command", [("run",), ("compile", "--unsigned")])
def test_who_is_refused_hears_no_infos(art: Any, command: tuple[str, ...]) -> None:
    bad: Any = RULES["VF307"].bad
    stray = {"source": "say", "sourceHandle": "nope", "target": "end", "targetHandle": "exec-in"}
    write("a.json", {**bad, "edges": [*bad["edges"], stray]})
    assert "info[" in art("check", "a.json", "-v").out

    refused = art(*command, "a.json")

    assert (refused.code, "error[" in refused.err, "info[" in refused.err) == (1, True, False)


@pytest.mark.parametrize("document, code", [(ASKS, 0), (with_type("nope"), 1)])
def test_stdin(art: Any, monkeypatch: pytest.MonkeyPatch, document: Any, code: int) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(document).encode())))

    done = art("check", "-", "--format", "github")

    assert (done.code, "file=<stdin>," in done.out) == (code, bool(code))


def test_the_bundles_of_the_repository_are_in_their_normal_form(art: Any) -> None:
    assert art("fmt", "--check", *map(str, BUNDLES.glob("*/*.json"))).code == 0
    assert art("fmt", "--check", str(BUNDLES)).code == 0
    assert art("check", str(BUNDLES), "--fail-on", "warning").code == 0
