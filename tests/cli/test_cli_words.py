"""What people read: notes, hints and summaries that fit what happened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli_flows import code_flow

ROOT = Path(__file__).resolve().parents[2]
APPROVAL = str(ROOT / "bundles" / "release-approval" / "flow.json")
ORDERS = str(ROOT / "bundles" / "price-orders" / "flow.json")
NIGHTLY = str(ROOT / "bundles" / "nightly-report" / "flow.json")


def first_record(art: Any, run: str) -> Any:
    return art("inspect", run, "--step", "0", "--json").document["records"][0]


@pytest.mark.parametrize("args", [(), ("--once", "key")], ids=["random", "once"])
def test_session_is_the_run(art: Any, args: tuple[str, ...]) -> None:
    document = art("run", APPROVAL, *args, "--json").document

    assert document["session_id"] == document["run_id"]
    assert first_record(art, "@last")["session_id"] == document["run_id"]


@pytest.mark.parametrize(
    "args, backend", [((), "process"), (("--trust-code",), "in-process")], ids=["worker", "trusted"]
)
def test_first_record_says_what_confined_the_code(
    art: Any, tmp_path: Path, args: tuple[str, ...], backend: str
) -> None:
    flow = code_flow(tmp_path / "f.json", "def transform(value):\n    return 1\n")

    assert art("run", flow, "--run-id", "r1", *args).code == 0

    report = first_record(art, "r1")["result"]["sandbox"]
    assert report["backend"] == backend
    assert set(report) == {"backend", "layers", "missing", "abi", "filter"}


def test_no_code_means_no_sandbox_report(art: Any) -> None:
    art("run", APPROVAL, "--run-id", "r1")

    assert first_record(art, "r1")["result"]["sandbox"] is None


def test_doctor_shows_the_layers_of_this_machine(art: Any) -> None:
    found = {item["subject"]: item for item in art("doctor", "--json").document["findings"]}

    assert "process: " in found["sandbox"]["message"]


def test_failed_code_names_its_line(art: Any, tmp_path: Path) -> None:
    flow = code_flow(tmp_path / "f.json", "def transform(value):\n    x = 1\n    return x / 0\n")

    result = art("run", flow, "--run-id", "r1")

    assert (result.code, result.document["success"]) == (1, False)
    assert "failed: run r1" in result.err
    assert "line" not in result.document
    assert art("inspect", "r1", "--json").document["error"]["line"] == 3
    assert "line 3 of its code" in art("inspect", "r1").out


def test_a_run_without_effects_is_not_said_to_begin(art: Any) -> None:
    assert art("run", ORDERS, "--run-id", "r1").code == 0

    assert "no steps yet" not in art("inspect", "r1").out
    assert "no effects" in art("inspect", "r1").out


def test_a_timer_is_named_once(art: Any) -> None:
    art("run", NIGHTLY, "--run-id", "r1", "--input", "hours=3")

    waiting = [line for line in art("inspect", "r1").out.splitlines() if line.startswith("waiting")]
    assert len(waiting) == 1
    assert waiting[0].count("until ") == 1
    assert "for until" not in waiting[0]


def test_a_signed_bundle_names_who_claims_to_have_signed(art: Any, tmp_path: Path) -> None:
    art("key", "new", "release")
    art("compile", APPROVAL, "--key", "release", "-o", "x.flowbundle")

    shown = art("bundle", "show", "x.flowbundle").out

    assert "signed by: release+" in shown
    assert "not verified here; art bundle verify x.flowbundle" in shown
    assert art("show", "x.flowbundle").out == shown
    assert art("bundle", "show", "x.flowbundle", "--json").document["signers"] == []


def test_an_unsigned_bundle_is_signed_by_nobody(art: Any) -> None:
    art("compile", APPROVAL, "--unsigned", "-o", "x.flowbundle")

    assert "signed by: nobody\n" in art("bundle", "show", "x.flowbundle").out


@pytest.mark.parametrize(
    "args, note",
    [
        (("--input", "colour=red", "--allow-extra-input"), "nothing in the flow reads colour"),
        (("--input", "service=x"), "no input for version;"),
    ],
    ids=["unknown", "missing"],
)
def test_odd_input_is_noted_and_runs(art: Any, args: tuple[str, ...], note: str) -> None:
    result = art("run", APPROVAL, *args)

    assert result.code == 4
    assert note in result.err


def test_fitting_input_is_not_noted(art: Any) -> None:
    given = '{"service": "api", "version": "2", "_limits": {"max_iterations": 9}}'

    assert "note:" not in art("run", APPROVAL, "--input", given).err


def test_the_missing_host_key_is_said_once_per_store(art: Any) -> None:
    first, second = art("run", APPROVAL), art("run", APPROVAL)

    assert "no host key" in first.err
    assert "no host key" not in second.err
    assert "no host key" in art("doctor").out


@pytest.mark.parametrize(
    "args",
    [
        ("run", "nope.json"),
        ("run", APPROVAL, "--host-key", "nope"),
        ("bundle", "verify", "nope.flowbundle"),
        ("key", "trust", "nope.vkey"),
        ("ledger", "verify", "x.jsonl", "--heads", "nope"),
        ("run", APPROVAL, "--entry", "nope"),
        ("compile", APPROVAL, "--unsigned", "--entry", "nope"),
    ],
    ids=lambda args: args[0],
)
def test_a_missing_file_or_key_is_no_matter_of_runs(art: Any, args: tuple[str, ...]) -> None:
    art("run", APPROVAL)

    result = art(*args)

    assert result.code == 66
    assert "art runs" not in result.err


def test_a_directory_of_directories_names_them(art: Any) -> None:
    result = art("compile", "--unsigned", str(ROOT / "bundles"))

    assert result.code == 66
    assert "bundles/price-orders" in result.err


@pytest.mark.parametrize("topic", ["agent", "switch", "vf301", "VF301"])
def test_one_word_is_explained(art: Any, topic: str) -> None:
    alone = art("explain", topic)
    group = "node" if topic.islower() and topic[0] != "v" else "code"

    assert (alone.code, alone.out) == (art("explain", group, topic).code, alone.out)
    assert "VF" in alone.out or topic in alone.out + alone.err


def test_verdict_lines_name_only_known_places(art: Any, tmp_path: Path) -> None:
    art("key", "new", "host", "--usage", "host")
    art("run", APPROVAL, "--run-id", "r1", "--host-key", "host")
    ledger = tmp_path / "store" / "ledger_r1.jsonl"
    (tmp_path / "cut.jsonl").write_bytes(ledger.read_bytes().splitlines(keepends=True)[0])

    result = art("ledger", "verify", "cut.jsonl", "--heads", "store/heads_r1.jsonl")

    assert result.code == 1
    assert "None" not in result.out


@pytest.mark.parametrize(
    "inputs, words",
    [
        ({"service": "api", "version": "3"}, "with other inputs: 'version'"),
        ({"service": "api"}, "with other inputs: 'version'"),
        ({"service": "web", "version": "3", "changes": ["x"]}, "with other inputs: 'changes', 'service', 'version'"),
    ],
    ids=["changed", "left out", "several"],
)  # fmt: skip
def test_a_start_key_says_which_inputs_differ(art: Any, inputs: dict[str, Any], words: str) -> None:
    started = ("run", str(APPROVAL), "--once", "k", "--input")
    assert art(*started, '{"service": "api", "version": "2"}').code == 4
    assert art(*started, '{"service": "api", "version": "2"}').code == 4

    done = art(*started, json.dumps(inputs))

    assert (done.code, words in done.err) == (3, True), done.err
    assert "sha256" not in done.err


def test_a_start_key_says_which_flow_it_stands_for(art: Any, tmp_path: Path) -> None:
    given = ("--input", '{"service": "api", "version": "2"}', "--once", "k")
    assert art("run", str(APPROVAL), *given).code == 4
    flow = json.loads(Path(APPROVAL).read_text())
    for name, change, words in (
        ("other", {"id": "other"}, "of the flow 'release-approval', not 'other'"),
        ("same", {"description": "changed"}, "of another content of 'release-approval@"),
    ):
        (tmp_path / f"{name}.json").write_text(json.dumps({**flow, **change}))
        assert words in art("run", f"{name}.json", *given).err
