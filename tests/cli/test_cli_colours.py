"""Verdicts, outcomes and errors are painted on a terminal, whichever command says them."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flow_builder as build
import pytest
from cli_flows import listener

from abstractruntime.cli._table import COMMANDS, Group

ROOT = Path(__file__).resolve().parents[2]
RAISES = "def transform(x):\n    return {}['tea']\n"
TERMINAL = {"ART_FORCE_TTY": "200", "TERM": "xterm"}
PLAIN = {
    "no colour wanted": {"ART_FORCE_TTY": "200", "TERM": "xterm", "NO_COLOR": "1"},
    "dumb": {"ART_FORCE_TTY": "200", "TERM": "dumb"},
    "pipe": {"TERM": "xterm"},
}
# What is typed, and the words that it comes to.
SAYING = {
    "run": ("run leaf.json", "failed error"),
    "resume": ("resume r --input x", "error[wait_mismatch]"),
    "runs": ("runs", "failed waiting"),
    "inspect": ("inspect r", "failed"),
    "inspect a step": ("inspect nobody", "error[not_found]"),
    "graph": ("graph r", "[failed] [done]"),
    "graph of one that waits": ("graph w", "[waiting]"),
    "tick": ("tick --due", "failed"),
    "cancel": ("cancel w --yes", "cancelled"),
    "pause": ("pause p", "paused"),
    "unpause": ("unpause p", "waiting"),
    "emit again": ("emit go --run s", ""),
    "serve": ("serve --once", "failed"),
    "emit": ("emit go --run l --drive", "failed"),
    "snapshot list": ("snapshot list", "failed"),
    "snapshot create": ("snapshot create p", "waiting"),
    "verify": ("ledger verify r", "valid_unsigned"),
    "verify all": ("ledger verify --all", "valid_unsigned"),
    "verify a history": ("show h.json", "valid_unsigned failed"),
    "ledger tail": ("ledger tail r", "completed"),
    "test": ("test approval", "ok FAIL"),
    "check": ("check bad.json", "error[VF010]"),
    "doctor": ("doctor", "ok"),
    "key list": ("key list", "active revoked"),
    "key show": ("key show old", "revoked"),
    "ledger tail -f": ("ledger tail r -f", "completed"),
    "ledger show": ("ledger show r", "completed"),
    "key new": ("key new more", "active"),
    "key trust": ("key trust acme.vkey", "active"),
    "key revoke": ("key revoke more --yes", "revoked"),
    "repair": ("repair nobody", "error[not_found]"),
    "snapshot restore": ("snapshot restore SNAPSHOT", "failed"),
    "bundle sign": ("bundle sign b.flowbundle --key dev", "valid"),
    "bundle verify": ("bundle verify b.flowbundle", "valid"),
}
# What says nothing of what became of anything, but for errors on stderr.
SILENT = {
    "bundle show", "bundle unpack", "compile", "config show", "diff", "explain", "export-history", "fmt", "stub-llm",
    "gc", "key import", "limits", "schema", "verify-chain",
}  # fmt: skip


@pytest.fixture
def busy(art: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give `art`, with a run that failed, some that wait, one that is due, keys, cases and files."""
    code = build.node("c", "code", "exec-in", "exec-out output", code=RAISES)
    wait = build.node("w", "wait_event", "exec-in event_key:string", "exec-out event_data:object")
    leaf = build.flow(build.START, code, build.END, edges="s > c; c > e") | {"id": "leaf"}
    edges = "s > w; w > c; c > e; s.key > w.event_key"
    later = build.flow(build.start("key:string"), wait, code, build.END, edges=edges)
    Path("leaf.json").write_text(json.dumps(leaf))
    Path("later.json").write_text(json.dumps(later | {"id": "later"}))
    Path("bad.json").write_text(json.dumps(build.flow(build.START, edges="s > x")))
    shutil.copytree(ROOT / "bundles" / "release-approval", "approval")
    case = next(Path("approval").glob("cases/*"))
    broken = json.dumps({"format": "art-case/1", "name": "broken", "expect": {"status": "failed"}})
    (case.parent / "broken.json").write_text(broken)
    assert art("run", "leaf.json", "--run-id", "r").code == 1
    for run_id in ("w", "p"):
        listener(art, run_id)
    for run_id in ("l", "d", "s"):
        given = f"key=evt:session:{run_id}:go"
        assert art("run", "later.json", "--run-id", run_id, "--input", given).code == 4
    for args in (
        "emit go --run d",
        "export-history r -o h.json",
        "key new old",
        "key new dev",
        "key revoke old --reason lost --yes",
        "compile approval/flow.json -o b.flowbundle --key dev",
    ):
        assert art(*args.split()).code == 0, args
    public = art("key", "show", "dev", "--json").document["keys"][0]["vkey"]
    Path("acme.vkey").write_text(f"{public}\n")
    made = art("snapshot", "create", "r", "--json").document["snapshots"][0]["snapshot_id"]

    def call(*args: str) -> Any:
        return art(*(made if arg == "SNAPSHOT" else arg for arg in args))

    return call


def told(art: Any, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], line: str) -> str:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    result = art(*line.split())
    return str(result.out + result.err)


def names(entries: Any, before: str = "") -> Iterator[str]:
    for name, entry in entries.items():
        if isinstance(entry, Group):
            yield from names(entry.entries, f"{before}{name} ")
        else:
            yield f"{before}{name}"


def test_every_command_is_looked_at() -> None:
    lines = [f"{line} " for line, _ in SAYING.values()]
    said = {
        name for name in names(COMMANDS.entries) if any(x.startswith(f"{name} ") for x in lines)
    }

    assert set(names(COMMANDS.entries)) - said == SILENT


def test_every_word_is_painted(busy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = {}
    for name, (line, words) in SAYING.items():
        text = told(busy, monkeypatch, TERMINAL, line)
        painted = re.findall(r"\x1b\[[\d;]+m([^\x1b]*)\x1b\[0m", text)
        if lost := set(words.split()) - {word.strip() for word in painted}:
            missing[name] = lost, text

    assert missing == {}


@pytest.mark.parametrize("environ", PLAIN.values(), ids=PLAIN)
def test_nobody_gets_colours_who_wants_none(
    busy: Any, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]
) -> None:
    lines = {name: line for name, (line, _) in SAYING.items()}
    texts = {name: told(busy, monkeypatch, environ, line) for name, line in lines.items()}

    assert [name for name, text in texts.items() if "\x1b" in text] == []


def test_what_a_flow_says_is_not_painted(art: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    say = build.node("t", "literal_string", "", "value:string", literalValue="\x1b[32mvalid: x")
    flow = build.flow(build.START, say, build.end("value:string"), edges="s > e; t.value > e.value")
    flow["nodes"][0]["data"]["label"] = "\x1b[31mfailed"
    Path("f.json").write_text(json.dumps(flow))
    text = told(art, monkeypatch, TERMINAL, "run f.json --run-id r")
    drawn = told(art, monkeypatch, TERMINAL, "graph r")

    assert "\x1b[32mvalid" not in text
    assert ("\x1b[31mfailed" in drawn, "\\x1b[31mfailed" in drawn) == (False, True)
