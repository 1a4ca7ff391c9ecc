"""Everything that `--json` prints is described by a published schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli_flows import ASKS
from jsonschema import Draft202012Validator

from abstractruntime.schemas import load_schema, schema_names

ROOT = Path(__file__).resolve().parents[2]
FLOW = str(ROOT / "bundles" / "release-approval" / "flow.json")
INPUT = ("--input", "service=api", "--input", "version=1")

COMMANDS = {
    "run": ("run", FLOW, *INPUT),
    "resume": ("resume", "demo", "--input", "approve"),
    "tick": ("tick", "demo"),
    "tick-due": ("tick", "--due"),
    "inspect": ("inspect", "demo"),
    "inspect-step": ("inspect", "@last", "--step", "0"),
    "show-run": ("show", "@last"),
    "show-flow": ("show", FLOW),
    "runs": ("runs",),
    "ledger-verify": ("ledger", "verify", "demo"),
    "ledger-verify-all": ("ledger", "verify", "--all"),
    "verify-chain": ("verify-chain", "demo"),
    "ledger-show": ("ledger", "show", "demo"),
    "ledger-tail": ("ledger", "tail", "demo", "-n", "1"),
    "export-history": ("export-history", "demo", "-o", "h.json"),
    "compile": ("compile", FLOW, "--unsigned", "-o", "y.flowbundle"),
    "bundle-show": ("bundle", "show", "x.flowbundle"),
    "bundle-verify": ("bundle", "verify", "x.flowbundle"),
    "bundle-sign": ("bundle", "sign", "x.flowbundle", "--key", "release"),
    "bundle-unpack": ("bundle", "unpack", "x.flowbundle", "-o", "content"),
    "key-new": ("key", "new", "other", "--usage", "host"),
    "key-list": ("key", "list"),
    "key-show": ("key", "show", "release"),
    "key-trust": ("key", "trust", "config/keys/release.vkey", "--bundle", "acme-*"),
    "key-revoke": ("key", "revoke", "release", "--reason", "lost"),
    "check": ("check", FLOW),
    "explain": ("explain", "exit-codes"),
    "config-show": ("config", "show"),
    "doctor": ("doctor",),
    "error": ("inspect", "nope"),
}


@pytest.fixture
def ready(parked: Any) -> Any:
    parked("key", "new", "release")
    parked("compile", FLOW, "--key", "release", "-o", "x.flowbundle")
    return parked


@pytest.mark.parametrize("args", COMMANDS.values(), ids=COMMANDS)
def test_json_output_is_one_document_with_a_schema(ready: Any, args: tuple[str, ...]) -> None:
    result = ready(*args, "--json")
    name, _, version = result.document["format"].removeprefix("art-").partition("/")

    assert version == "1"
    Draft202012Validator(load_schema(name)).validate(result.document)


@pytest.mark.parametrize("args", COMMANDS.values(), ids=COMMANDS)
def test_jsonl_and_quiet_keep_the_contract(ready: Any, args: tuple[str, ...]) -> None:
    if args[:2] == ("key", "new"):
        args = ("key", "new", "third")

    lines = ready(*args, "--jsonl").out.splitlines()
    assert all(isinstance(json.loads(line), dict) for line in lines)

    if args[:2] == ("key", "new"):
        args = ("key", "new", "fourth")
    # Ids are what a list of runs is asked for when nothing else is to be said.
    assert ready(*args, "--quiet").out == ("demo\n" if args[0] == "runs" else "")


def test_exported_history_is_described_by_its_schema(parked: Any, tmp_path: Path) -> None:
    parked("resume", "demo", "--input", "approve")
    printed = parked("export-history", "demo")
    parked("export-history", "demo", "-o", "h.json")

    Draft202012Validator(load_schema("history")).validate(printed.document)
    assert json.loads((tmp_path / "h.json").read_text())["root_run_id"] == "demo"


@pytest.mark.parametrize("name", schema_names())
def test_schema_is_published_and_sound(art: Any, name: str) -> None:
    printed = art("schema", name)

    Draft202012Validator.check_schema(printed.document)
    assert printed.document == load_schema(name)


@pytest.mark.parametrize("command", ["check", "fmt"])
def test_cases_beside_flows_are_no_documents(art: Any, tmp_path: Path, command: str) -> None:
    case = tmp_path / "flows" / "asks.case.json"
    case.parent.mkdir()
    (case.parent / "asks.json").write_text(json.dumps(ASKS))
    case.write_text('{"format":  "art-case/1"}')

    done = art(command, "flows", "--json")
    case.with_name("asks.json").unlink()
    none = art(command, "flows")

    assert [Path(item["file"]).name for item in done.document["files"]] == ["asks.json"]
    assert case.read_text() == '{"format":  "art-case/1"}'
    assert (done.code, none.code, "holds no flow document" in none.err) == (0, 66, True)
