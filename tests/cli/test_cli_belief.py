"""What whoever can write into a store makes a run do by what its first record says: nothing more."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flow_builder as build
import pytest
from ledger_files import rewrite

from abstractruntime._runtime.runtime import Runtime
from abstractruntime.core.commands import Command, SetLimits
from abstractruntime.storage.directory import open_store
from abstractruntime.visualflow_compiler import compile_visualflow

APPROVAL = Path(__file__).resolve().parents[2] / "bundles" / "release-approval" / "flow.json"
INPUT = '{"service": "api", "version": "2.1.0"}'
CODE = build.flow(
    build.START,
    build.node("q", "ask_user", "exec-in prompt", "exec-out response", pinDefaults={"prompt": "p"}),
    build.node("c", "code", "exec-in", "exec-out output", code="def transform(_):\n    return 1\n"),
    build.end("n"),
    edges="s > q; q > c; c > e; c.output > e.n",
)
RESUME = ("resume", "r", "--input", "x")


@pytest.fixture
def store(art: Any, tmp_path: Path) -> Path:
    """A store in which the run `r` of own work waits, before its code."""
    (tmp_path / "f.json").write_text(json.dumps(CODE))
    assert art("run", "f.json", "--run-id", "r").code == 4
    return tmp_path / "store"


def facts(**changes: Any) -> Callable[[list[Any]], None]:
    return lambda records: records[0]["result"].update(changes)


LOOSENED = {
    "trust_code": (facts(overrides=["own_work", "trust_code"]), "its code runs in this process"),
    "grants": (facts(grants=["file:write"]), "it has the grants file:write"),
    "workspace": (facts(workspace="/"), "it works in '/'"),
}


@pytest.mark.parametrize("command", [RESUME, ("tick", "r")], ids=["resume", "tick"])
@pytest.mark.parametrize("name", LOOSENED)
def test_what_a_changed_first_record_allows_does_not_count(
    art: Any, store: Path, name: str, command: tuple[str, ...]
) -> None:
    change, claim = LOOSENED[name]
    rewrite(store, "r", change)
    ledger = (store / "ledger_r.jsonl").read_bytes()

    refused = art(*command)

    assert refused.code == 3
    assert claim in refused.err
    assert "--accept-origin" in refused.err
    assert (store / "ledger_r.jsonl").read_bytes() == ledger


@pytest.mark.parametrize("command", [("serve", "--once"), ("tick", "--due")], ids=lambda c: c[0])
def test_who_drives_many_runs_leaves_one_alone_whose_first_record_was_changed(
    art: Any, store: Path, command: tuple[str, ...]
) -> None:
    # Whichever comes first, one that the user did allow this has been driven before.
    for run_id, flags in (("a", ["--trust-code"]), ("m", []), ("z", ["--trust-code"])):
        art("run", "f.json", "--run-id", run_id, *flags)
    rewrite(store, "m", LOOSENED["trust_code"][0])
    ledger = (store / "ledger_m.jsonl").read_bytes()
    with open_store(store) as engine:
        for run_id in ("a", "m", "z"):
            engine.post(run_id, Command("c", SetLimits({"max_iterations": 7})))

    refused = art(*command)

    assert refused.code == 3, refused.err
    assert "its code runs in this process" in refused.err
    assert (store / "ledger_m.jsonl").read_bytes() == ledger


def test_whoever_believes_a_first_record_says_so(art: Any, store: Path) -> None:
    rewrite(store, "r", LOOSENED["grants"][0])

    assert art(*RESUME, "--accept-origin").code == 0


def test_a_run_goes_on_with_another_configuration_if_nothing_loosens(
    art: Any, store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ART_CONFIG_DIR", str(tmp_path / "another"))

    assert art(*RESUME).code == 0


def test_a_bundle_that_would_not_be_run_needs_a_word_there(
    art: Any, store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ART_CONFIG_DIR", str(tmp_path / "another"))
    art("key", "new", "release")

    assert (refused := art(*RESUME)).code == 3
    assert "its bundle may run, but" in refused.err
    assert art(*RESUME, "--accept-origin").code == 0


# -- signed runs ----------------------------------------------------------------------------


@pytest.fixture
def signed(art: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store in which the signed run `r` waits."""
    art("key", "new", "host", "--usage", "host")
    monkeypatch.setenv("ART_HOST_KEY", "host")
    assert art("run", str(APPROVAL), "--run-id", "r", "--input", INPUT).code == 4
    return tmp_path / "store"


def another_input(records: list[Any]) -> None:
    records[:] = json.loads(json.dumps(records).replace("2.1.0", "9.9.9"))


def without(*names: str) -> Callable[[list[Any]], None]:
    def change(records: list[Any]) -> None:
        another_input(records)
        for name in names:
            records[0]["result"].pop(name, None)

    return change


APPROVE = ("resume", "r", "--input", "approve")
REWRITTEN = {
    "heads removed": (another_input, True, 1),
    "heads kept": (another_input, False, 1),
    "the host left out": (without("signed_by"), True, 1),
    "host and seal left out": (without("signed_by", "seal"), True, 0),
}


@pytest.mark.parametrize("key", ["host", ""], ids=["signing", "not signing"])
@pytest.mark.parametrize("name", REWRITTEN)
def test_no_host_signs_a_past_that_somebody_else_wrote(
    art: Any, signed: Path, name: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, removes_heads, code = REWRITTEN[name]
    rewrite(signed, "r", change)
    if removes_heads:
        (signed / "heads_r.jsonl").unlink()
    monkeypatch.setenv("ART_HOST_KEY", key)

    result = art(*APPROVE)

    is_unsigned = "host" in name
    assert result.code == (0 if is_unsigned and not key else code), result.err
    verdict = art("ledger", "verify", "r", "--require-signed", "--json")
    assert (verdict.code, verdict.document["signed_records"]) == (3 if is_unsigned else 1, 0)


@pytest.mark.parametrize("command", [APPROVE, ("cancel", "r"), ("pause", "r")])
def test_every_command_that_opens_a_run_compares_it_with_its_heads(
    art: Any, signed: Path, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    rewrite(signed, "r", another_input)
    monkeypatch.setenv("ART_HOST_KEY", "")
    ledger = (signed / "ledger_r.jsonl").read_bytes()

    assert art(*command).code == 1
    assert (signed / "ledger_r.jsonl").read_bytes() == ledger


def test_a_run_is_signed_from_its_first_record_on(art: Any, signed: Path) -> None:
    heads = (signed / "heads_r.jsonl").read_text().splitlines()
    sizes = [json.loads(line)["size"] for line in heads]

    assert art(*APPROVE).code == 0
    assert sizes[0] == 1
    document = art("ledger", "verify", "r", "--require-signed", "--json").document
    assert (document["verdict"], document["signed_records"]) == ("valid", document["records"])


def test_a_run_that_was_begun_unsigned_is_signed_as_it_was_found(
    art: Any, signed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ART_HOST_KEY", "")
    art("run", str(APPROVAL), "--run-id", "u", "--input", INPUT)
    monkeypatch.setenv("ART_HOST_KEY", "host")

    assert art("resume", "u", "--input", "approve").code == 0
    verdict = art("ledger", "verify", "u", "--json").document
    assert verdict["verdict"] == "valid_unsigned"
    assert any("as they were found" in warning for warning in verdict["warnings"])


@pytest.mark.parametrize("command", [("gc", "--apply"), ("gc", "--purge", "r", "--apply", "--yes")])
def test_a_run_of_a_colleague_keeps_nobody_from_tidying(
    art: Any,
    signed: Path,
    command: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("ART_CONFIG_DIR", str(tmp_path / "colleague"))
        patch.setenv("ART_HOST_KEY", "")
        art("run", str(APPROVAL), "--run-id", "theirs", "--input", INPUT)
    assert art("cancel", "r").code == 0

    result = art(*command)

    assert result.code == 0, result.err
    assert (signed / "ledger_theirs.jsonl").exists()


# -- what nobody granted --------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [("tick", "r"), ("tick", "r", "--accept-origin"), ("resume", "r", "--input", "x"), ("serve", "--once", "--grace", "0")],
    ids=["tick", "accepted", "resume", "serve"],
)  # fmt: skip
def test_a_first_record_that_states_nothing_grants_nothing(
    art: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """Where no workspace is stated, that of programs in Python was used: the current directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.txt").write_text("s3cret")
    read = build.node(
        "i", "read_file", "exec-in", "exec-out content", pinDefaults={"file_path": "secret.txt"}
    )
    write = build.node(
        "o", "write_file", "exec-in content", "exec-out", pinDefaults={"file_path": "stolen"}
    )
    flow = build.flow(
        build.START, read, write, build.END, edges="s > i; i > o; o > e; i.content > o.content"
    )
    with contextlib.closing(open_store(tmp_path / "store")) as engine:
        Runtime.on_engine(engine).start(workflow=compile_visualflow(flow), run_id="r")

    refused = art(*command)

    assert refused.code == 3, refused.err
    assert not (tmp_path / "stolen").exists()
    assert "s3cret" not in (tmp_path / "store" / "ledger_r.jsonl").read_text()
