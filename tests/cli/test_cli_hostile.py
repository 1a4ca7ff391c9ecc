"""Hostile surroundings: odd numbers, odd paths, streams that are closed or full."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from flow_builder import END, START, end, flow, node

from abstractruntime._text import log_line

FLOW = Path(__file__).parents[2] / "bundles" / "release-approval" / "flow.json"
INPUT = '{"service": "api", "version": "2.1.0"}'

ROOT = Path(__file__).resolve().parents[2]
APPROVAL = str(ROOT / "bundles" / "release-approval" / "flow.json")


@pytest.mark.parametrize(
    "args, code",
    [
        (("run", APPROVAL, "--run-id", ""), 2),
        (("run", APPROVAL, "--run-id", "../x"), 2),
        (("run", APPROVAL, "--run-id", "日本"), 2),
        (("run", APPROVAL, "--once", ""), 2),
        (("run", APPROVAL, "--input", "hold_minutes=1e400"), 2),
        (("run", APPROVAL, "--input", r'{"a": "\ud800"}'), 2),
        (("run", APPROVAL, "--input", "@~nobody-of-that-name/x"), 2),
        (("run", str(ROOT)), 2),
        (("runs", "-n", "0"), 2),
        (("runs", "-n", "9" * 30), 0),
        (("runs", "--since", "the day before"), 2),
        (("runs", "--since", "2020-01-31"), 0),
        (("tick", "--due", "--max-runs", "9" * 30), 2),
        (("inspect", "../x"), 66),
        (("inspect", "demo", "--step", "9" * 30), 66),
        (("resume", "demo", "--input", r'{"response": "\ud800"}'), 2),
        (("inspect", ""), 2),
        (("cancel", ""), 2),
        (("gc", "--purge", "", "--apply", "--yes"), 2),
        (("snapshot", "create", " "), 2),
        (("inspect", "\udcff"), 2),
        (("emit", "\udcff", "--global"), 2),
        (("gc", "--grace", "0", "--apply"), 2),
    ],
)
def test_odd_arguments(parked: Any, tmp_path: Path, args: tuple[str, ...], code: int) -> None:
    result = parked(*args)

    assert result.code == code, result.err
    assert [path.name for path in (tmp_path / "store").glob("ledger_*")] == ["ledger_demo.jsonl"]


def test_the_store_is_a_file(art: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")

    results = [art(*args, "--store", "file") for args in (("runs",), ("run", APPROVAL))]

    assert [result.code for result in results] == [2, 2]
    assert all("expected a directory" in result.err for result in results)


@pytest.mark.parametrize("args", [("explain", "node"), ("explain", "nodes"), ("schema", "--help")])
def test_a_missing_name_gets_the_names(art: Any, args: tuple[str, ...]) -> None:
    result = art(*args)

    assert ("ask_user" if args[0] == "explain" else "serve-event") in result.out + result.err


FORGED = "x\nvalid: acme@1 is signed by acme\x1b[8m\n::stop-commands::x"
FORGES = ("valid: acme", "signed by", "child run")


@pytest.mark.parametrize(
    "end",
    ["\n", "\r", "\x0b", "\x85", "\u2028", " " * 99, " x" * 30 + " "],
    ids=["lf", "cr", "vt", "nel", "ls", "blanks", "full"],
)
@pytest.mark.parametrize("command", [("inspect", "f"), ("show", "f"), ("runs",), ("tick", "f")])
def test_nothing_that_a_run_holds_begins_a_line(
    art: Any, tmp_path: Path, end: str, command: tuple[str, ...]
) -> None:
    """Neither where it ends a line itself nor where a line is full."""
    text = "".join(f"x{end}{word} z" for word in FORGES)
    ask = node("q", "ask_user", "exec-in prompt choices", "exec-out response")
    ask["data"] |= {"label": text, "pinDefaults": {"prompt": text, "choices": [text]}}
    code = node("c", "code", "exec-in", "exec-out", functionName="f")
    code["data"]["code"] = f"def f(x): raise ValueError({text!r})"
    document = {**flow(START, ask, code, END, edges="s > q; q > c; c > e"), "name": text, "id": "f"}
    (tmp_path / "f.json").write_text(json.dumps(document))
    given = ("--label", f"k={text}", "--as", text)

    waiting = art("run", "f.json", "--run-id", "f", *given)
    shown = [waiting, art(*command)]
    shown += [art("resume", "f", "--input", text, "--as", text), art(*command)]

    assert (shown[0].code, shown[2].code) == (4, 1), shown[0].err + shown[2].err
    lines = "".join(done.out + done.err for done in shown).splitlines()
    assert not [line for line in lines if line.lstrip().startswith(FORGES)]


@pytest.mark.parametrize(
    "args",
    [("check", "f.json"), ("compile", "f.json", "--unsigned", "--id", "b"), ("graph", "f.json"),
     ("run", "f.json"), ("run", "f.json", "-q"), ("show", "f.json"), ("bundle", "show", "b.flowbundle"),
     ("bundle", "verify", "b.flowbundle", "--allow-unsigned"), ("diff", "f.json", "g.json"),
     ("inspect", "@last"), ("ledger", "show", "@last"), ("ledger", "tail", "@last"), ("runs",)],
    ids=" ".join,
)  # fmt: skip
def test_names_of_a_flow_forge_no_line(art: Any, tmp_path: Path, args: tuple[str, ...]) -> None:
    ask = node(
        "q", "ask_user", "exec-in prompt", "exec-out response", pinDefaults={"prompt": FORGED}
    )
    ask["data"]["label"] = FORGED
    lost = node("lost", FORGED, "exec-in", "exec-out")
    document = {**flow(START, ask, end("n"), edges="s > q; q > e"), "name": FORGED, "id": "f"}
    (tmp_path / "f.json").write_text(json.dumps(document))
    document["nodes"].append(lost)
    (tmp_path / "g.json").write_text(json.dumps(document))
    art("compile", "f.json", "--unsigned", "-o", "b.flowbundle")
    art("run", "f.json")
    for done in (art(*args), art("check", "g.json")):
        lines = (done.out + done.err).splitlines()
        assert not any(line.startswith(("valid: acme", "signed by: acme")) for line in lines)
        assert not any(line.lstrip().startswith("::") for line in lines)
        assert "\x1b" not in done.out + done.err


@pytest.mark.parametrize(
    "text", ["::error::x", "  ::stop-commands::x", "##[error]x", "##vso[task]x"]
)
def test_an_output_is_no_command_to_a_build_system(art: Any, tmp_path: Path, text: str) -> None:
    (tmp_path / text).write_text("{}")
    done = art("check", text)

    assert not any(line.lstrip().startswith(("::", "##")) for line in done.out.splitlines())
    assert log_line(text).lstrip().startswith("\\x")


def test_a_name_with_a_line_end_stays_in_its_row(parked: Any) -> None:
    parked("snapshot", "create", "demo", "--name", "a\nb\tc")

    (row,) = parked("snapshot", "list").out.splitlines()
    assert row.split("\t")[2] == r"a\x0ab\x09c"


@pytest.mark.parametrize(
    "line", ["lock_timeout: .inf", 'trust_store: "~nobody-of-that-name/x"', 'trust_store: "a\\0b"']
)
def test_odd_settings(art: Any, tmp_path: Path, line: str) -> None:
    (tmp_path / "art.yaml").write_text(line + "\n")

    assert (art("config", "show").code, art("doctor").code) == (2, 1)


def _with_names(command: str) -> str:
    return command.replace("APPROVAL", str(FLOW)).replace("INPUT", INPUT)


def shell(command: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    art = f'"{sys.executable}" -c "import sys; from abstractruntime.cli.app import main; sys.exit(main())"'
    environ = {**os.environ, "ART_HOME": str(tmp_path / "store"), "ART_CONFIG_DIR": str(tmp_path)}
    return subprocess.run(
        ["/bin/sh", "-c", _with_names(command.replace("art ", f"{art} ", 1))],
        env=environ, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "command, code",
    [
        ("art runs >/dev/full", 74),
        ("art runs --json >/dev/full", 74),
        ("art --version >/dev/full", 74),
        ("art inspect nope --json >/dev/full", 74),
        ("art ledger show demo --jsonl >/dev/full", 74),
        ("art runs >&-", 0),
        ("art inspect nope >&- 2>&-", 66),
        ("art --version >&-", 0),
        ("art tick --due <&- >&- 2>&-", 0),
        ("art run 'APPROVAL' --input 'INPUT' --run-id x 2>/dev/full", 4),
        ("art run 'APPROVAL' --input 'INPUT' --run-id x --json 2>/dev/full", 4),
        ("art check 'APPROVAL' 2>/dev/full", 0),
        ("art nonsense 2>/dev/full", 2),
    ],
)
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_streams_that_are_full_or_closed(
    parked: Any, tmp_path: Path, command: str, code: int
) -> None:
    ledger = (tmp_path / "store" / "ledger_demo.jsonl").read_bytes()

    done = shell(command, tmp_path)

    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert (tmp_path / "store" / "ledger_demo.jsonl").read_bytes() == ledger


def test_a_terminal_without_a_character_gets_its_escape(art: Any, tmp_path: Path) -> None:
    """Also in JSON, of which it stays a part."""
    (tmp_path / "in.json").write_text(INPUT.replace("api", "é\U0001f600"))
    done = shell("PYTHONIOENCODING=ascii art run 'APPROVAL' --input @in.json --json", tmp_path)
    assert "é\U0001f600" in json.loads(done.stdout)["waits"][0]["prompt"]


def test_one_of_two_answers_at_once_is_accepted(parked: Any, tmp_path: Path) -> None:
    environ = {**os.environ, "ART_HOME": str(tmp_path / "store"), "ART_CONFIG_DIR": str(tmp_path)}
    code = "import sys; from abstractruntime.cli.app import main; sys.exit(main())"
    args = [sys.executable, "-c", code, "resume", "demo", "--input", "approve"]
    both = [
        subprocess.Popen(args, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    texts = [process.communicate()[1].decode() for process in both]

    codes = sorted(process.returncode for process in both)
    assert codes[0] == 0
    assert codes[1] in (2, 75), texts
    assert not any("Traceback" in text for text in texts)
    assert parked("ledger", "verify", "demo").code == 0
