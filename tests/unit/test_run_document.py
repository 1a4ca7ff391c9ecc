from __future__ import annotations

import pytest
from jsonschema import Draft202012Validator
from ledger_builder import LABELS, ORIGIN, LedgerBuilder, a_run, a_wait, release_ledger

from abstractruntime.core.origin import RunOrigin
from abstractruntime.core.outcome import Outcome
from abstractruntime.core.store import LedgerHead
from abstractruntime.core.usage import Usage, total_usage
from abstractruntime.errors import ExitCode
from abstractruntime.rendering.run_document import (
    build_run_document,
    exit_code_for,
)
from abstractruntime.schemas import load_schema

SCHEMA = load_schema("run")
FACTS = LedgerHead(records=14, head_hash="ab" * 32, signed_records=12, bytes=4096)
ENVELOPE = {"error": "boom", "success": False, "node": "n2"}
FLOW_ERROR = {"_flow_error": "boom", "_flow_error_node": "n2"}


def document(state, **fields):
    doc = build_run_document(state=state, ledger=FACTS, node_labels=LABELS, **fields)
    Draft202012Validator(SCHEMA).validate(doc)
    return doc


def test_schema_is_a_schema():
    Draft202012Validator.check_schema(SCHEMA)


def test_document_of_a_completed_run():
    ledger = release_ledger()
    state = a_run(output={"released": True}, session_id="run-1")

    doc = document(
        state,
        origin=ORIGIN,
        usage=total_usage(ledger.records),
        last_record=ledger.records[-1],
    )

    assert doc == {
        "format": "art-run/1",
        "run_id": "run-1",
        "workflow_id": "release",
        "status": "completed",
        "outcome": "succeeded",
        "output": {"released": True},
        "error": None,
        "overcome": [],
        "waiting": None,
        "waits": [],
        "bundle": {
            "id": "release-approval",
            "version": "1.2.0",
            "digest": "sha256:" + "ab" * 32,
            "signers": ["release-key"],
        },
        "ledger": {
            "records": 14,
            "head_hash": "ab" * 32,
            "signed_records": 12,
            "bytes": 4096,
            "beside_bytes": 0,
        },
        "created_at": "2026-01-01T00:00:00+00:00",
        "updated_at": "2026-01-01T00:00:00+00:00",
        "parent_run_id": None,
        "session_id": "run-1",
        "paused": False,
        "limits": [],
        "labels": {"team": "core"},
        "usage": Usage(1, 0, 30, 12, 42).to_dict(),
    }


def test_waiting_shows_the_leaf_and_its_run():
    leaf = a_wait(prompt="Deploy?", choices=["yes"], allow_free_text=False)
    state = a_run(status="waiting", waiting=a_wait(reason="subworkflow", wait_key="s"))

    doc = document(state, leaf_waits=[("child-1", leaf)])

    assert doc["waiting"] == {
        "reason": "user",
        "wait_key": "user:R:n2",
        "prompt": "Deploy?",
        "choices": ["yes"],
        "allow_free_text": False,
        "until": None,
        "run_id": "child-1",
        "details": None,
    }
    assert doc["waits"] == [doc["waiting"]]


def test_own_wait_stands_in_when_no_leaf_is_given():
    doc = document(a_run(status="waiting", waiting=a_wait()))

    assert doc["waiting"]["run_id"] == "run-1"


def test_a_run_that_no_longer_waits_shows_no_wait():
    assert document(a_run(), leaf_waits=[("child-1", a_wait())])["waiting"] is None


def test_error_of_a_failed_run():
    ledger = LedgerBuilder()
    ledger.effect("n1", "llm_call", {}, "failed", error="no model")
    state = a_run(status="failed", error="no model", current_node="n1")

    doc = document(state, last_record=ledger.terminal("failed"))

    assert doc["error"] == {
        "message": "no model",
        "node_id": "n1",
        "node_label": "Draft notes",
        "record": 1,
        "causes": [],
    }


def test_error_of_a_failed_run_before_its_closing_record():
    ledger = LedgerBuilder()
    last = ledger.effect("n1", "llm_call", {}, "failed", error="no model")

    doc = document(a_run(status="failed", error="no model"), last_record=last)

    assert doc["error"]["record"] == 1


@pytest.mark.parametrize(
    ("output", "record"),
    [(ENVELOPE, 0), ({"released": True}, None)],
    ids=["the run ended there", "a loop went on"],
)
def test_flow_error_of_a_completed_run(output, record):
    ledger = LedgerBuilder()
    last = ledger.complete("n2", output)

    doc = document(a_run(output=output, vars=dict(FLOW_ERROR)), last_record=last)

    assert doc["error"] == {
        "message": "boom",
        "node_id": "n2",
        "node_label": "Approve release",
        "record": record,
        "causes": [],
    }


@pytest.mark.parametrize(
    ("started", "bundle"),
    [
        ({}, None),
        (
            {"bundle_digest": "sha256:x"},
            {"id": None, "version": None, "digest": "sha256:x", "signers": []},
        ),
    ],
    ids=["0.4 ledger", "flow run directly"],
)
def test_bundle_says_only_what_is_known(started, bundle):
    origin = RunOrigin.of({"result": {"internal": "run_started", **started}})
    assert document(a_run(), origin=origin)["bundle"] == bundle


@pytest.mark.parametrize(
    ("status", "shown"),
    [("running", "interrupted"), ("waiting", "interrupted"), ("completed", "completed")],
)
def test_only_runs_that_go_on_can_be_interrupted(status, shown):
    state = a_run(status=status)
    outcome = Outcome.INTERRUPTED if status != "completed" else None
    assert document(state, outcome=outcome)["status"] == shown


PAUSED = {"_runtime": {"control": {"paused": True}}}


@pytest.mark.parametrize(
    ("state", "outcome", "code"),
    [
        (a_run(), "succeeded", ExitCode.OK),
        (a_run(output={"success": False}), "succeeded", ExitCode.OK),
        (a_run(output=ENVELOPE, vars=FLOW_ERROR), "failed", ExitCode.FAILED),
        (a_run(vars=FLOW_ERROR), "failed", ExitCode.FAILED),
        (a_run(status="failed"), "failed", ExitCode.FAILED),
        (a_run(status="failed", vars=PAUSED), "failed", ExitCode.FAILED),
        (a_run(status="waiting", waiting=a_wait()), "waiting", ExitCode.WAITING),
        (a_run(status="waiting", waiting=a_wait(), vars=PAUSED), "paused", ExitCode.WAITING),
        (a_run(status="running"), "running", ExitCode.WAITING),
        (a_run(status="cancelled"), "cancelled", ExitCode.CANCELLED),
    ],
    ids=[
        "completed",
        "output says no success",
        "error envelope",
        "error in a loop",
        "failed",
        "failed while paused",
        "waiting",
        "paused",
        "budget",
        "cancelled",
    ],
)
def test_outcome_and_exit_code(state, outcome, code):
    doc = document(state)

    assert (doc["outcome"], exit_code_for(doc)) == (outcome, code)
