"""Running, answering, going on, looking: the main job through the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import flow_builder as build
import pytest
from flow_builder import END, START, flow, node

ROOT = Path(__file__).resolve().parents[2]
APPROVAL = ROOT / "bundles" / "release-approval" / "flow.json"
ORDERS = ROOT / "bundles" / "price-orders"


def records(art: Any, run: str) -> Any:
    return art("ledger", "show", run, "--json").document["records"]


def first_record(art: Any, run: str) -> Any:
    return art("inspect", run, "--step", "0", "--json").document["records"][0]["result"]


def test_run_of_a_flow_parks_and_goes_on_without_the_file(art: Any, tmp_path: Path) -> None:
    copy = tmp_path / "mine.json"
    copy.write_bytes(APPROVAL.read_bytes())
    parked = art("run", "mine.json", "--run-id", "r1", "--input", "service=api", "--json")
    copy.unlink()

    done = art("resume", "r1", "--input", "approve", "--as", "alice")

    assert parked.code == 4
    assert parked.document["waiting"]["choices"] == ["approve", "reject", "hold"]
    assert (done.code, done.document["decision"]) == (0, "approve")
    assert "alice" in [r["result"].get("actor") for r in records(art, "r1") if r["result"]]


def test_first_record_says_where_the_run_came_from(art: Any) -> None:
    art("run", str(APPROVAL), "--run-id", "r1", "--label", "team=ops", "--as", "bob")

    facts = first_record(art, "r1")

    assert facts["bundle_ref"].startswith("release-approval@")
    assert len(facts["bundle_digest"]) == len(facts["inputs_sha256"]) == 64
    assert facts["overrides"] == ["own_work"]
    assert facts["labels"] == {"team": "ops"}
    assert facts["actor"] == "bob"


def test_run_of_a_signed_bundle_names_its_signers(art: Any) -> None:
    art("key", "new", "release")
    art("compile", str(APPROVAL), "--key", "release", "-o", "x.flowbundle")

    run = art("run", "x.flowbundle", "--json").document

    assert run["bundle"]["signers"][0].startswith("release+")
    assert run["labels"] == {}


def test_unsigned_bundle_needs_an_override_that_is_recorded(art: Any) -> None:
    art("key", "new", "release")
    art("compile", str(APPROVAL), "--unsigned", "-o", "x.flowbundle")

    refused = art("run", "x.flowbundle")
    allowed = art("run", "x.flowbundle", "--allow-unsigned", "--run-id", "r1")

    assert (refused.code, allowed.code) == (3, 4)
    assert "--allow-unsigned" in refused.err
    assert first_record(art, "r1")["overrides"] == ["allow_unsigned"]


def test_session_of_a_root_run_is_the_run(art: Any) -> None:
    document = art("run", str(APPROVAL), "--json").document

    assert document["session_id"] == document["run_id"]


def test_waiting_ok_turns_4_into_0(art: Any) -> None:
    assert art("run", str(APPROVAL), "--waiting-ok").code == 0


def test_once_gives_the_run_that_exists(art: Any) -> None:
    first = art("run", str(APPROVAL), "--once", "build-7", "--json")
    again = art("run", str(APPROVAL), "--once", "build-7", "--json")

    assert (first.code, again.code) == (4, 4)
    assert again.document["run_id"] == first.document["run_id"]
    assert len(art("runs", "--json").document["runs"]) == 1


@pytest.mark.parametrize("name", ["@last", "demo", "de"], ids=["last", "id", "prefix"])
def test_a_run_has_several_names(parked: Any, name: str) -> None:
    assert parked("inspect", name, "--json").document["run_id"] == "demo"


def test_an_ambiguous_prefix_is_refused_with_the_candidates(parked: Any) -> None:
    parked("run", str(APPROVAL), "--run-id", "demo2")

    result = parked("inspect", "dem")

    assert result.code == 2
    assert "demo2" in result.err


@pytest.mark.parametrize(
    "answer",
    ["approve", '"approve"', '{"response": "approve"}', "@answer.txt", "@answer.json"],
)
def test_forms_of_an_answer(parked: Any, tmp_path: Path, answer: str) -> None:
    (tmp_path / "answer.txt").write_text("approve\n")
    (tmp_path / "answer.json").write_text('{"response": "approve"}')

    assert parked("resume", "demo", "--input", answer).document["decision"] == "approve"


def test_approve_is_an_answer(parked: Any) -> None:
    assert parked("resume", "demo", "--approve").document["decision"] == "approve"


def test_runs_are_filtered(parked: Any) -> None:
    parked("run", str(APPROVAL), "--run-id", "other", "--label", "team=ops")
    parked("resume", "demo", "--input", "approve")

    def ids(*args: str) -> list[str]:
        return [r["run_id"] for r in parked("runs", *args, "--json").document["runs"]]

    assert ids() == ["demo", "other"]
    assert ids("--status", "waiting") == ids("--waiting-on", "user") == ["other"]
    assert ids("--label", "team=ops") == ["other"]
    assert ids("--limit", "1") == ["demo"]


def test_tick_due_drives_what_is_due_and_reports_what_cannot_go_on(
    parked: Any, tmp_path: Path
) -> None:
    parked("resume", "demo", "--input", "hold")  # waits for a timer
    parked("run", str(APPROVAL), "--run-id", "now", "--input", "hold_minutes=0")
    parked("resume", "now", "--input", "hold", "--until", "idle")
    for bundle in tmp_path.glob("store/bundles/*"):
        assert bundle.stat().st_size > 0

    result = parked("tick", "--due", "--json")

    assert result.code == 0
    assert result.document["errors"] == []
    assert "demo" not in {row["run_id"] for row in result.document["runs"]}


def test_inspect_shows_labels_question_answer_and_output(parked: Any) -> None:
    parked("resume", "demo", "--input", "approve", "--as", "alice")

    shown = parked("inspect", "demo").out

    for part in ("Ask the release manager", "alice answered", "completed", "api 2.1.0 is released"):
        assert part in shown


def test_signed_run_verifies_and_a_changed_copy_does_not(art: Any, tmp_path: Path) -> None:
    art("key", "new", "host", "--usage", "host")
    art("run", str(APPROVAL), "--run-id", "r1", "--host-key", "host")
    art("resume", "r1", "--input", "approve", "--host-key", "host")
    ledger = tmp_path / "store" / "ledger_r1.jsonl"
    forged = tmp_path / "forged.jsonl"
    forged.write_bytes(ledger.read_bytes().replace(b'"approve"', b'"decline"'))
    heads = ("--heads", "store/heads_r1.jsonl", "--vkey", "config/keys/host.vkey")

    good = art("ledger", "verify", "r1", "--json")
    bad = art("ledger", "verify", "forged.jsonl", *heads, "--json")

    assert (good.code, good.document["verdict"], good.document["final"]) == (0, "valid", True)
    assert (bad.code, bad.document["verdict"]) == (1, "invalid")
    assert bad.document["defects"][0]["record"] is not None


def test_a_pin_notices_a_ledger_that_lost_its_end(art: Any, tmp_path: Path) -> None:
    art("key", "new", "host", "--usage", "host")
    art("run", str(APPROVAL), "--run-id", "r1", "--host-key", "host")
    early = tmp_path / "early.jsonl"
    early.write_bytes((tmp_path / "store" / "ledger_r1.jsonl").read_bytes())
    early_heads = tmp_path / "early-heads.jsonl"
    early_heads.write_bytes((tmp_path / "store" / "heads_r1.jsonl").read_bytes())
    art("resume", "r1", "--input", "approve", "--host-key", "host")
    args = ("ledger", "verify", "early.jsonl", "--heads", "early-heads.jsonl")

    assert art(*args).code == 0
    assert art(*args, "--pin", "store/heads_r1.jsonl").code == 1
    assert art("ledger", "verify", "r1", "--pin", "early-heads.jsonl").code == 0


def test_require_signed_refuses_an_unsigned_ledger(parked: Any) -> None:
    assert parked("ledger", "verify", "demo").code == 0
    assert parked("ledger", "verify", "demo", "--require-signed").code == 3


def llm_flow(path: Path) -> str:
    pins = {"inputs": [{"id": "exec-in", "type": "execution"}, {"id": "prompt", "type": "string"}],
            "outputs": [{"id": "exec-out", "type": "execution"}, {"id": "response", "type": "string"}]}  # fmt: skip
    flow = {
        "id": "ask-model",
        "nodes": [
            {"id": "s", "type": "on_flow_start", "data": {"outputs": [{"id": "exec-out", "type": "execution"}]}},
            {"id": "m", "type": "llm_call", "data": {"label": "Think", "pinDefaults": {"prompt": "hi"}, **pins}},
            {"id": "e", "type": "on_flow_end", "data": {"inputs": [
                {"id": "exec-in", "type": "execution"}, {"id": "answer", "type": "string"}]}},
        ],
        "edges": [
            {"source": "s", "sourceHandle": "exec-out", "target": "m", "targetHandle": "exec-in"},
            {"source": "m", "sourceHandle": "exec-out", "target": "e", "targetHandle": "exec-in"},
            {"source": "m", "sourceHandle": "response", "target": "e", "targetHandle": "answer"},
        ],
    }  # fmt: skip
    path.write_text(json.dumps(flow))
    return str(path)


def test_model_call_is_answered_by_a_stub(art: Any, tmp_path: Path) -> None:
    flow = llm_flow(tmp_path / "f.json")
    script = tmp_path / "answers.json"
    script.write_text('{"format": "art-stub-llm/1", "answers": [{"reply": "hello"}]}')

    by_flag = art("run", flow, "--llm-stub", "answers.json")
    (tmp_path / "config" / "config.yaml").write_text(
        "llm: {handler: stub, script: ../answers.json}\n"
    )
    by_file = art("run", flow)

    assert by_flag.document["answer"] == by_file.document["answer"] == "hello"


def test_model_call_without_a_model_names_node_and_setting(art: Any, tmp_path: Path) -> None:
    result = art("run", llm_flow(tmp_path / "f.json"))

    assert result.code == 1
    assert "'m'" in result.err
    assert "llm.base_url" in result.err


def test_follow_says_each_step(art: Any) -> None:
    assert "(ask_user)" in art("run", str(APPROVAL), "--follow").err
    assert "(ask_user)" not in art("run", str(APPROVAL)).err


def test_a_refused_answer_says_what_force_would_do(parked: Any, tmp_path: Path) -> None:
    seconds = node("d", "wait_until", "exec-in", "exec-out", pinDefaults={"duration": 3600})
    timer = flow(START, seconds, END, edges="s > d; d > e")
    (tmp_path / "timer.json").write_text(json.dumps(timer))
    assert parked("run", "timer.json", "--run-id", "timer").code == 4

    chosen = parked("resume", "demo", "--input", "perhaps")
    early = parked("resume", "timer", "--input", "now")

    assert "choose one of: approve, reject, hold; or add --force" in chosen.err, chosen.err
    assert "when it is due; --force ends the wait now" in early.err, early.err


def test_what_an_agent_did_is_left_to_inspect(art: Any, tmp_path: Path) -> None:
    config = {"agentConfig": {"provider": "p", "model": "m"}}
    agent = build.node("a", "agent", "exec-in prompt", "exec-out response result", **config)
    edges = "s > a; s.q > a.prompt; a > e; a.response > e.said; a.result > e.all"
    document = build.flow(build.start("q"), agent, build.end("said", "all"), edges=edges)
    (tmp_path / "f.json").write_text(json.dumps(document))
    answers = {"format": "art-stub-llm/1", "answers": [{"reply": "hello world"}]}
    (tmp_path / "stub.json").write_text(json.dumps(answers))
    given = ("run", "f.json", "--input", "q=hi", "--llm-stub", "stub.json")

    shown, whole = art(*given), art(*given, "--json")

    assert ("hello world" in shown.out, "node_traces" in shown.out) == (True, False)
    assert "art inspect" in shown.err
    assert whole.document["output"]["all"]["scratchpad"]["node_traces"]
