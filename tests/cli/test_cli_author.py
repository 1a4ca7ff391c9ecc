"""The tools for authors, as they are typed."""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import flow_builder as build
import pytest
from jsonschema import Draft202012Validator

from abstractruntime.schemas import load_schema

ROOT = Path(__file__).resolve().parents[2]
BUNDLES = ROOT / "bundles"
APPROVAL = BUNDLES / "release-approval"
INPUT = ("--input", "service=api", "--input", "version=1")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Own copies of the example bundles; the current directory is theirs."""
    shutil.copytree(BUNDLES, tmp_path / "b")
    return tmp_path / "b"


@pytest.fixture
def flow(work: Path) -> Path:
    path = work / "release-approval" / "flow.json"
    # As an editor writes it.
    path.write_text(json.dumps(json.loads(path.read_text()), indent=2))
    return path


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


# -- fmt -------------------------------------------------------------------------------------


def test_fmt_writes_once_and_says_what(art: Any, flow: Path) -> None:
    before = json.loads(flow.read_text())
    flow.chmod(0o640)

    first, second = art("fmt", str(flow)), art("fmt", str(flow))

    assert (first.code, first.out) == (0, f"{flow}\n")
    assert (second.code, second.out) == (0, "")
    assert json.loads(flow.read_text()) == before
    assert stat.S_IMODE(flow.stat().st_mode) == 0o640


@pytest.mark.parametrize(
    "flags, code", [(("--check",), 1), (("--diff",), 0), (("--check", "--diff"), 1)]
)
def test_fmt_can_only_look(art: Any, flow: Path, flags: tuple[str, ...], code: int) -> None:
    before = flow.read_bytes()

    result = art("fmt", str(flow), *flags)

    assert result.code == code
    assert ("+++ " in result.out) == ("--diff" in flags)
    assert flow.read_bytes() == before


def test_fmt_stdin(art: Any, flow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.TextIOWrapper(io.BytesIO(flow.read_bytes()))
    monkeypatch.setattr(sys, "stdin", text)

    result = art("fmt", "-")

    art("fmt", str(flow))
    assert result.out == flow.read_text()


def test_fmt_writes_nothing_when_one_document_is_in_doubt(art: Any, flow: Path) -> None:
    twice = flow.with_name("twice.json")
    twice.write_text('{"id": "a", "id": "b", "nodes": []}')
    before = flow.read_bytes()

    result = art("fmt", str(flow.parent))

    assert result.code == 1
    assert "twice.json" in result.err
    assert "'id' occurs twice" in result.err
    assert flow.read_bytes() == before


def test_fmt_follows_a_link(art: Any, flow: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(flow)

    art("fmt", str(link))

    assert link.is_symlink()
    assert art("fmt", str(flow), "--check").code == 0


@pytest.mark.parametrize("place", ["store", "config"])
def test_fmt_changes_no_store_over_a_link(art: Any, flow: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / place).mkdir(exist_ok=True)
    kept = tmp_path / place / "flow.json"
    kept.write_text('{"nodes": [], "edges": [],\n"id": "o"}')
    (tmp_path / "link.json").symlink_to(kept)
    flow.write_text(f" {flow.read_text()}")
    before = flow.read_bytes(), kept.read_bytes()

    done = art("fmt", str(flow), "link.json")

    assert (done.code, (flow.read_bytes(), kept.read_bytes()) == before) == (2, True), done.err
    assert art("fmt", str(flow)).code == 0
    assert flow.read_bytes() != before[0]


@pytest.mark.parametrize(
    "args, code",
    [(("-", "x.json"), 2), ((), 2), (("nope.json",), 66), (("b/price-orders/cases",), 66)],
)
def test_fmt_wrong_use(art: Any, work: Path, args: tuple[str, ...], code: int) -> None:
    assert art("fmt", *args).code == code


# -- diff ------------------------------------------------------------------------------------


@pytest.fixture
def other(flow: Path) -> Path:
    other = flow.with_name("other.json")
    shutil.copy(flow, other)
    return other


def test_diff_of_the_same_flow_in_another_form(art: Any, flow: Path, other: Path) -> None:
    art("fmt", str(other))
    edit(other, '"position": {"x": 400', '"position": {"x": 444')

    result = art("diff", str(flow), str(other))

    assert (result.code, result.out) == (0, "")


def test_diff_names_what_changed(art: Any, flow: Path, other: Path) -> None:
    edit(other, '"hold_minutes": 60', '"hold_minutes": 30')

    result = art("diff", str(flow), str(other))

    assert result.code == 1
    assert "default of hold_minutes: 60 => 30" in result.out


@pytest.mark.parametrize("swap", [False, True], ids=["file-bundle", "bundle-file"])
def test_diff_between_a_document_and_a_bundle(
    art: Any, flow: Path, other: Path, swap: bool
) -> None:
    other.unlink()
    art("compile", str(flow), "--unsigned", "-o", "x.flowbundle")
    edit(flow, '"hold_minutes": 60', '"hold_minutes": 30')
    sides = [str(flow), "x.flowbundle"]

    result = art("diff", *(reversed(sides) if swap else sides))

    assert result.code == 1
    assert ("30 => 60" in result.out) != swap


def test_diff_between_bundles(art: Any, work: Path) -> None:
    orders = work / "price-orders"
    art("compile", str(orders), "--unsigned", "-o", "a.flowbundle")
    edit(orders / "price-order.json", '"code"', '"code"')
    edit(orders / "price-order.json", '"currency"', '"money"')
    art("compile", str(orders), "--unsigned", "-o", "b.flowbundle")

    assert art("diff", "a.flowbundle", "a.flowbundle").code == 0
    result = art("diff", "a.flowbundle", "b.flowbundle", "--json")
    assert [flow["status"] for flow in result.document["flows"]].count("changed") == 1


@pytest.mark.parametrize(
    "name, content, code",
    [("nope.json", None, 66), ("bad.json", "{", 2), ("noid.json", "{}", 2)],
    ids=["missing", "no-json", "no-id"],
)
def test_diff_of_what_cannot_be_read(
    art: Any, flow: Path, name: str, content: str | None, code: int
) -> None:
    if content is not None:
        Path(name).write_text(content)

    assert art("diff", str(flow), name).code == code


def test_diff_with_the_null_device_as_git_does(art: Any, flow: Path) -> None:
    result = art("diff", os.devnull, str(flow))

    assert (result.code, result.out) == (1, "+ flow release-approval\n")


@pytest.mark.skipif(shutil.which("git") is None, reason="git is absent")
def test_git_shows_flows_in_words(flow: Path, tmp_path: Path) -> None:
    """As docs/how-to/authors.md says."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {"PATH": path, "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}

    def git(*args: str) -> str:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *args]
        return subprocess.run(
            command, cwd=flow.parent, env=env, check=True, capture_output=True, text=True
        ).stdout

    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "one")
    git("config", "diff.flow.command", "art diff --driver")
    (flow.parent / ".gitattributes").write_text("flow.json diff=flow\n")
    edit(flow, '"hold_minutes": 60', '"hold_minutes": 30')

    assert "default of hold_minutes: 60 => 30" in git("diff", "--ext-diff", "--", "flow.json")

    flow.write_text("{broken")
    shown = git("diff", "--ext-diff", "flow.json")
    assert "cannot be compared as flows: document is not JSON" in shown
    assert "+{broken" in shown

    flow.unlink()
    assert "- flow release-approval" in git("diff", "--ext-diff", "--", "flow.json")

    for name in ("package.json", "new.json"):
        (flow.parent / name).write_text('{"version": 1}\n' if name[0] == "p" else "{broken\n")
        (flow.parent / ".gitattributes").write_text("*.json diff=flow\n")
        git("add", name)
        line = (flow.parent / name).read_text().strip()
        assert f"+{line}" in git("diff", "--ext-diff", "--cached", "--", name)
        git("commit", "-qm", name, "--", name)
        (flow.parent / name).unlink()
        assert f"-{line}" in git("diff", "--ext-diff", "--", name)


# -- graph -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form, start",
    [("ascii", " "), ("mermaid", "---\ntitle"), ("dot", "digraph"), ("svg", "<svg")],
)
def test_graph_of_a_flow(art: Any, flow: Path, form: str, start: str) -> None:
    result = art("graph", str(flow), "--format", form)

    assert result.code == 0
    assert result.out.startswith(start)
    assert "Ask the release manager" in result.out


def test_graph_of_a_bundle_and_of_one_of_its_flows(art: Any, work: Path) -> None:
    art("compile", str(work / "price-orders"), "--unsigned", "-o", "x.flowbundle")

    flows = [
        art("graph", "x.flowbundle", *entry, "--json").document["flow_id"]
        for entry in ((), ("--entry", "price-order"))
    ]

    assert flows == ["price-orders", "price-order"]


def test_graph_of_a_run_shows_how_far_it_came(parked: Any) -> None:
    parked("resume", "demo", "--input", "hold")

    result = parked("graph", "demo", "--format", "svg", "-o", "run.svg")

    assert (result.code, result.out) == (0, "")
    ET.parse("run.svg")
    found = {
        n["id"]: (n["outcome"], n["times"])
        for n in parked("graph", "@last", "--json").document["nodes"]
    }
    assert found["ask"] == ("done", 1)
    assert found["decide"] == ("done", 0)
    assert found["later"] == ("waiting", 0)
    assert found["ship"] == ("not reached", 0)


@pytest.mark.parametrize(
    "args, code",
    [
        (("b/release-approval",), 2),
        (("b/release-approval/flow.json", "--format", "png"), 2),
        (("nope.json",), 66),
        (("b/release-approval/flow.json", "-o", "no/where.svg"), 66),
    ],
)
def test_graph_wrong_use(art: Any, work: Path, args: tuple[str, ...], code: int) -> None:
    assert art("graph", *args).code == code


# -- test ------------------------------------------------------------------------------------


def test_the_example_bundles_pass(art: Any) -> None:
    result = art("test", str(BUNDLES), "--json")

    assert result.code == 0
    assert result.document["passed"] == len(list(BUNDLES.glob("*/cases/*.json")))


@pytest.fixture
def broken(work: Path) -> Path:
    case = work / "release-approval" / "cases" / "approved.json"
    edit(case, "is released", "is gone")
    return case


def test_a_failure_is_shown_with_its_place(art: Any, broken: Path) -> None:
    result = art("test", str(broken.parents[1]))

    assert result.code == 1
    assert "output/message" in result.out
    assert '"api 2.1.0 is gone"' in result.out
    assert result.out.count("FAIL") == 1


def test_filter_and_single_files(art: Any, broken: Path) -> None:
    flow = str(broken.parents[1] / "flow.json")

    assert art("test", str(broken)).code == 1
    assert art("test", flow, "--filter", "rejected").code == 0
    assert art("test", flow, "--filter", "*hold*").code == 0
    assert art("test", flow, "--filter", "zzz").code == 66


def test_update_mends_a_case(art: Any, broken: Path) -> None:
    result = art("test", str(broken.parents[1]), "--update")

    assert result.code == 0
    assert "(updated)" in result.out
    assert json.loads(broken.read_text()) == json.loads(
        (APPROVAL / "cases" / "approved.json").read_text()
    )


def test_update_keeps_comments_by_refusing(art: Any, broken: Path) -> None:
    case = broken.with_suffix(".yaml")
    case.write_text("# why\n" + broken.read_text())
    broken.unlink()
    before = case.read_text()

    assert art("test", str(case), "--update").code == 2
    assert case.read_text() == before


def test_junit_report(art: Any, broken: Path) -> None:
    edit(broken, "the release is approved", '<&\\u0000\\" approved')

    art("test", str(broken.parents[1]), "--junit", "junit.xml")

    suite = ET.parse("junit.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("5", "1")
    assert "output/message" in str(suite.findtext("testcase/failure"))


@pytest.mark.parametrize("answers", [("approve",), ("hold",)], ids=["finished", "waiting"])
def test_a_saved_run_passes_as_a_case(parked: Any, flow: Path, answers: tuple[str, ...]) -> None:
    for answer in answers:
        parked("resume", "demo", "--input", answer)

    saved = parked("test", str(flow), "--save-from", "@last")

    case = flow.parent / "cases" / "demo.json"
    assert (saved.code, saved.out) == (0, f"{case}\n")
    assert parked("test", str(case)).code == 0
    assert json.loads(case.read_text())["steps"] == [{"answer": {"response": a}} for a in answers]
    again = parked("test", str(flow), "--save-from", "@last")
    assert again.code == 2, "an existing case is never replaced"


def test_a_saved_run_repeats_its_children_and_models(art: Any, work: Path) -> None:
    orders = work / "price-orders"
    art(
        "run",
        str(orders / "flow.json"),
        "--run-id",
        "r",
        "--input",
        'orders=[{"sku": "a", "quantity": 1, "unit_price": 2}]',
    )

    assert art("test", str(orders), "--save-from", "r").code == 0
    assert art("test", str(orders), "--filter", "as run r").code == 0


def model_flow() -> str:
    pins = lambda *names: [
        {"id": n, "type": "execution" if n.startswith("exec") else "any"} for n in names
    ]
    nodes = [
        {"id": "s", "type": "on_flow_start", "data": {"outputs": pins("exec-out", "topic")}},
        {"id": "ask", "type": "llm_call", "data": {"inputs": pins("exec-in", "prompt")}},
        {"id": "t", "type": "system_datetime", "data": {"outputs": pins("iso")}},
        {"id": "e", "type": "on_flow_end", "data": {"inputs": pins("exec-in", "poem", "at")}},
    ]
    ends = [
        ("s.exec-out", "ask.exec-in"),
        ("s.topic", "ask.prompt"),
        ("ask.exec-out", "e.exec-in"),
        ("ask.response", "e.poem"),
        ("t.iso", "e.at"),
    ]
    edges = [
        dict(
            zip(
                ("source", "sourceHandle", "target", "targetHandle"),
                (*a.split("."), *b.split(".")),
                strict=True,
            )
        )
        for a, b in ends
    ]
    return json.dumps({"id": "poem", "nodes": nodes, "edges": edges})


def test_a_saved_model_call_is_mocked_and_the_time_left_out(art: Any) -> None:
    Path("poem.json").write_text(model_flow())
    Path("a.json").write_text('{"format": "art-stub-llm/1", "default": "They come and go."}')
    run = art("run", "poem.json", "--run-id", "r", "--input", "topic=tides", "--llm-stub", "a.json")
    assert run.code == 0, run.err

    saved = art("test", "poem.json", "--save-from", "r")

    assert saved.code == 0, saved.err
    assert "output/at" in saved.err
    case = json.loads(Path("cases/r.json").read_text())
    assert case["mocks"]["nodes"]["ask"][0]["result"]["content"] == "They come and go."
    assert case["expect"]["output_has"] == {"poem": "They come and go.", "success": True}
    assert art("test", "poem.json").code == 0


def test_a_run_that_cannot_be_repeated_leaves_no_case(parked: Any, flow: Path) -> None:
    parked("resume", "demo", "--input", "approve")
    edit(flow, "is released", "went out")
    edit(flow, '"case:c1"', '"case:c1"') if '"case:c1"' in flow.read_text() else None
    edit(flow, '"type": "ask_user"', '"type": "answer_user"')

    result = parked("test", str(flow), "--save-from", "demo")

    assert result.code == 1
    assert not (flow.parent / "cases" / "demo.json").exists()


@pytest.mark.parametrize(
    "args, code",
    [
        (("nope",), 66),
        (("b/README.md",), 66),
        (("b/release-approval", "-o", "x"), 2),
        (("b/release-approval", "--save-from", "r", "--update"), 2),
        (("b/release-approval/cases/asks.json", "--save-from", "r"), 2),
    ],
)
def test_test_wrong_use(art: Any, work: Path, args: tuple[str, ...], code: int) -> None:
    assert art("test", *args).code == code


def test_a_wrong_case_stops_everything_before_it_starts(art: Any, work: Path) -> None:
    (work / "release-approval" / "cases" / "zzz.json").write_text('{"format": "art-case/1"}')

    result = art("test", str(work))

    assert (result.code, result.out) == (2, "")
    assert "zzz.json" in result.err


# -- check -----------------------------------------------------------------------------------


@pytest.fixture
def bad() -> Path:
    path = Path("bad flow, 100%.json")
    path.write_text('{"id": "f",\n"nodes": [{"id": "x", "type": "nope"}]}')
    return path


def test_check_as_sarif(art: Any, bad: Path) -> None:
    result = art("check", str(bad), "--format", "sarif")

    (run,) = result.document["runs"]
    (finding,) = run["results"]
    (location,) = finding["locations"]
    assert (result.code, result.document["version"]) == (1, "2.1.0")
    assert (
        run["tool"]["driver"]["rules"][finding["ruleIndex"]]["id"] == finding["ruleId"] == "VF201"
    )
    assert location["physicalLocation"] == {
        "artifactLocation": {"uri": "bad%20flow%2C%20100%25.json", "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": 2, "startColumn": 31},
    }


def test_a_sarif_finding_keeps_its_fingerprint_when_lines_move(art: Any, bad: Path) -> None:
    def prints() -> list[Any]:
        run = art("check", str(bad), "--format", "sarif").document["runs"][0]
        return [
            (r["partialFingerprints"], r["locations"][0]["physicalLocation"]["region"])
            for r in run["results"]
        ]

    (before,) = prints()
    edit(bad, '"id": "f",', '"id": "f",\n\n')
    (after,) = prints()

    assert before[0] == after[0]
    assert before[1] != after[1]


def test_fmt_of_a_directory_changes_nothing_outside_of_it(
    art: Any, bad: Path, tmp_path: Path
) -> None:
    before = bad.read_bytes()
    (tmp_path / "clone").mkdir()
    (tmp_path / "clone" / "flow.json").symlink_to(bad.resolve())
    done = art("fmt", str(tmp_path / "clone"))
    assert (done.code, "outside of the directory" in done.err) == (2, True)
    assert bad.read_bytes() == before


def test_check_as_github_annotations(art: Any, bad: Path) -> None:
    result = art("check", str(bad), "--format", "github")

    assert result.out.startswith("::error file=bad flow%2C 100%25.json,line=2,col=31,title=VF201 ")


def test_annotations_hold_no_escape_sequences(art: Any, bad: Path) -> None:
    odd = bad.with_name("a\x1b[2J\u202e.json")
    odd.write_bytes(bad.read_bytes())
    shown = art("check", str(odd), "--format", "github").out
    assert "file=a\\x1b[2J\\u202e.json," in shown
    assert shown.replace("\n", "").isprintable()


def test_check_as_json_is_the_same_both_ways(art: Any, bad: Path) -> None:
    assert art("check", str(bad), "--format", "json").out == art("check", str(bad), "--json").out


# -- the contract ----------------------------------------------------------------------------

COMMANDS = {
    "fmt": ("fmt", "b/release-approval/flow.json", "--diff"),
    "diff": ("diff", "b/release-approval/flow.json", "b/nightly-report/flow.json"),
    "graph": ("graph", "demo"),
    "test": ("test", "b/release-approval"),
}


@pytest.mark.parametrize("args", COMMANDS.values(), ids=COMMANDS)
def test_json_output_has_a_schema(parked: Any, work: Path, args: tuple[str, ...]) -> None:
    document = parked(*args, "--json").document
    name, _, version = document["format"].removeprefix("art-").partition("/")

    assert version == "1"
    Draft202012Validator(load_schema(name)).validate(document)
    assert all(
        isinstance(json.loads(line), dict) for line in parked(*args, "--jsonl").out.splitlines()
    )
    assert parked(*args, "--quiet").out == ""


def test_a_subflow_beside_a_document_is_compared_as_run_does(
    art: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    child = build.flow(
        build.start("topic:string"), build.end("topic"), edges="s > e; s.topic > e.topic"
    )
    call = build.node("k", "subflow", "exec-in topci:string", "exec-out output", subflowId="child",
                      pinDefaults={"topci": "x"})  # fmt: skip
    parent = build.flow(build.START, call, build.END, edges="s > k; k > e")
    (tmp_path / "child.json").write_text(json.dumps(child | {"id": "child"}))
    (tmp_path / "parent.json").write_text(json.dumps(parent | {"id": "parent"}))

    for checked in ("parent.json", "."):
        found = art("check", checked)
        assert (found.code, "VF208" in found.out) == (0, True), found.out + found.err
    assert "VF208" in art("run", "parent.json").err
