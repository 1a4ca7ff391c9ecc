"""Taking evidence of tool calls."""

from __future__ import annotations

import copy

import pytest

from abstractruntime.core.models import RunState, RunStatus
from abstractruntime.errors import StoreIOError
from abstractruntime.evidence import DEFAULT_EVIDENCE_TOOL_NAMES, EvidenceRecorder
from abstractruntime.evidence.recorder import EvidenceCaptureStats
from abstractruntime.storage.artifacts import InMemoryArtifactStore, resolve_artifact

NOW = "2026-01-01T00:00:00+00:00"
FETCHED = {
    "url": "https://x.example/a",
    "final_url": "https://x.example/b",
    "content_type": "application/json",
    "size_bytes": 9,
    "raw_text": '{"a": 1}',
    "normalized_text": "a is 1",
    "title": "A",
}
DONE = {
    "command": "ls",
    "return_code": 0,
    "duration_s": 0.5,
    "working_directory": "/w",
    "platform": "linux",
    "stdout": "out",
    "stderr": "",
}


@pytest.fixture
def artifacts():
    return InMemoryArtifactStore()


def a_run(**more):
    return RunState("r", "w", RunStatus.RUNNING, "n", {}, **more)


def a_call(name, **arguments):
    return {"name": name, "arguments": arguments, "call_id": "c1"}


def a_result(output, **more):
    return {"call_id": "c1", "success": True, "output": output, "error": None, **more}


def record(artifacts, call, result, *, run=None, **options):
    """Record one call; gives the run, the index entry and the evidence."""
    run = run or a_run()
    EvidenceRecorder(artifact_store=artifacts, **options).record_tool_calls(
        run=run, node_id="n1", tool_calls=[call], tool_results={"results": [result]}, now_iso=NOW
    )
    span = run.vars["_runtime"]["memory_spans"][-1]
    return span, artifacts.load_json(span["artifact_id"])


def parts(artifacts, evidence):
    return {
        key: resolve_artifact(ref, artifacts) for key, ref in evidence.get("artifacts", {}).items()
    }


# ---- what every tool has


def test_the_index_entry_and_the_evidence(artifacts):
    result = a_result("[1]", meta={"kept": 1})
    run = a_run(actor_id="me", session_id="s")
    span, evidence = record(artifacts, a_call("web_search", query="q"), result, run=run)

    assert span == {
        "kind": "evidence",
        "artifact_id": result["meta"]["evidence_id"],
        "created_at": NOW,
        "from_timestamp": NOW,
        "to_timestamp": NOW,
        "message_count": 0,
        "tool_name": "web_search",
        "call_id": "c1",
        "success": True,
        "query": "q",
    }
    assert result["meta"]["kept"] == 1
    del evidence["artifacts"]
    assert evidence == {
        "tool_name": "web_search",
        "call_id": "c1",
        "success": True,
        "error": None,
        "created_at": NOW,
        "run_id": "r",
        "workflow_id": "w",
        "node_id": "n1",
        "arguments": {"query": "q"},
        "actor_id": "me",
        "session_id": "s",
        "query": "q",
    }


@pytest.mark.parametrize("success", [False, None, 1, "true"])
def test_only_true_is_success(artifacts, success):
    span, evidence = record(artifacts, a_call("web_search"), a_result("", success=success))

    assert (span["success"], evidence["success"]) == (False, False)


def test_equal_captures_give_equal_ids(artifacts):
    spans = [
        record(store, a_call("fetch_url"), a_result(copy.deepcopy(FETCHED)))[0]
        for store in (artifacts, InMemoryArtifactStore())
    ]

    assert spans[0] == spans[1]


def test_the_system_clock_is_the_default(artifacts):
    run = a_run()
    stats = EvidenceRecorder(artifact_store=artifacts).record_tool_calls(
        run=run, node_id="n", tool_calls=[a_call("web_search")], tool_results=[a_result("x")]
    )

    assert stats == EvidenceCaptureStats(recorded=1)
    assert run.vars["_runtime"]["memory_spans"][0]["created_at"].endswith("+00:00")


# ---- tool by tool


def test_fetched_text_moves_into_artifacts(artifacts):
    result = a_result(dict(FETCHED))
    span, evidence = record(artifacts, a_call("fetch_url", url="https://asked"), result)

    found = parts(artifacts, evidence)
    assert {k: (a.as_text(), a.content_type) for k, a in found.items()} == {
        "raw": ('{"a": 1}', "application/json"),
        "normalized_text": ("a is 1", "text/plain"),
    }
    assert result["output"] == {
        **{k: FETCHED[k] for k in ("url", "final_url", "content_type", "size_bytes", "title")},
        "raw_artifact": evidence["artifacts"]["raw"],
        "normalized_artifact": evidence["artifacts"]["normalized_text"],
    }
    assert span["url"] == evidence["url"] == "https://x.example/a"
    assert (evidence["final_url"], evidence["size_bytes"]) == ("https://x.example/b", 9)
    assert found["raw"].metadata.tags == {
        "kind": "evidence",
        "tool": "fetch_url",
        "url": "https://x.example/a",
        "part": "raw",
    }


def test_command_streams_move_and_empty_ones_vanish(artifacts):
    result = a_result(dict(DONE))
    span, evidence = record(artifacts, a_call("execute_command", command="x" * 300), result)

    assert {k: a.as_text() for k, a in parts(artifacts, evidence).items()} == {"stdout": "out"}
    assert "stdout" not in result["output"]
    assert "stderr" not in result["output"]
    assert "stderr_artifact" not in result["output"]
    assert result["output"]["stdout_artifact"] == evidence["artifacts"]["stdout"]
    assert [evidence[k] for k in ("command", "return_code", "duration_s")] == ["ls", 0, 0.5]
    assert (evidence["working_directory"], evidence["platform"]) == ("/w", "linux")
    assert span["command_preview"] == "ls"


@pytest.mark.parametrize(
    "tool, output, key, content, kind",
    [
        ("execute_command", "text", "output", "text", "text/plain"),
        ("web_search", "plain", "results", "plain", "text/plain"),
        ("web_search", '{"a": NaN}', "results", '{"a": NaN}', "text/plain"),
        ("web_search", '[{"u": 1}]', "results", '[{"u":1}]', "application/json"),
        ("web_search", [{"u": 1}], "results", '[{"u":1}]', "application/json"),
        ("web_search", "\ud800", "results", "\ufffd", "text/plain"),
        ("mine", {"a": 1}, "output", '{"a":1}', "application/json"),
    ],
)
def test_other_output_is_copied_and_stays(artifacts, tool, output, key, content, kind):
    result = a_result(output)
    _, evidence = record(artifacts, a_call(tool), result, tool_names=(tool,))

    artifact = parts(artifacts, evidence)[key]
    assert (artifact.as_text(), artifact.content_type) == (content, kind)
    assert result["output"] == output


@pytest.mark.parametrize("output", ["", None])
def test_nothing_is_stored_of_nothing(artifacts, output):
    _, evidence = record(artifacts, a_call("web_search"), a_result(output))

    assert "artifacts" not in evidence


@pytest.mark.parametrize(
    "tool, argument, tag, span_key, span_chars",
    [
        ("fetch_url", "url", "x" * 200, "url", 300),
        ("execute_command", "command", "x" * 199 + "…", "command_preview", 160),
        ("web_search", "query", "x" * 199 + "…", "query", 300),
    ],
)
def test_long_arguments_are_cut_in_tags(artifacts, tool, argument, tag, span_key, span_chars):
    span, _ = record(artifacts, a_call(tool, **{argument: "x" * 300}), a_result(None))

    assert artifacts.get_metadata(span["artifact_id"]).tags[argument] == tag
    assert span[span_key] == "x" * span_chars


@pytest.mark.parametrize(
    "arguments, expected",
    [('{"query": "q"}', {"query": "q"}), ("{", {"text": "{"}), (None, {}), ([1], {})],
)
def test_arguments_in_other_forms(artifacts, arguments, expected):
    call = {"name": "web_search", "arguments": arguments}

    assert record(artifacts, call, a_result("x"))[1]["arguments"] == expected


def test_arguments_can_be_redacted(artifacts):
    def redact(arguments):
        return {**arguments, "command": arguments["command"].replace("hunter2", "***")}

    call = a_call("execute_command", command="login hunter2")
    span, evidence = record(artifacts, call, a_result("ok"), redact=redact)

    assert "hunter2" not in str((span, evidence, artifacts.list_all()))
    assert evidence["command"] == "login ***"


# ---- what is passed over


def test_the_default_tools():
    assert DEFAULT_EVIDENCE_TOOL_NAMES == ("web_search", "fetch_url", "execute_command")


@pytest.mark.parametrize(
    "calls, results",
    [
        ([a_call("read_file")], [a_result("x")]),
        ([a_call("web_search")], []),
        ([a_call("web_search")], ["text"]),
        ([a_call("web_search")], None),
        ([a_call("web_search")], {"results": None}),
        (None, [a_result("x")]),
        ([None], [a_result("x")]),
        ([a_call("web_search")], [a_result("x", meta={"evidence_id": "e"})]),
    ],
)
def test_what_is_not_recorded(artifacts, calls, results):
    run = a_run()
    stats = EvidenceRecorder(artifact_store=artifacts).record_tool_calls(
        run=run, node_id="n", tool_calls=calls, tool_results=results
    )

    assert stats.recorded == 0
    assert (run.vars, artifacts.list_all()) == ({}, [])


def test_results_belong_to_calls_by_position(artifacts):
    run = a_run()
    calls = [a_call("read_file"), a_call("web_search", query="q")]
    results = [a_result("file"), a_result("found")]
    EvidenceRecorder(artifact_store=artifacts).record_tool_calls(
        run=run, node_id="n", tool_calls=calls, tool_results=results
    )

    assert ["meta" in result for result in results] == [False, True]


# ---- failures


class Failing(InMemoryArtifactStore):
    """Refuses the `n`th artifact."""

    def __init__(self, n):
        super().__init__()
        self.left = n

    def store(self, content, **more):
        self.left -= 1
        if self.left < 0:
            raise StoreIOError("disk gone")
        return super().store(content, **more)


@pytest.mark.parametrize("stored", [0, 1, 2])
def test_a_failing_store_leaves_the_result_whole_and_a_warning(stored):
    run, result = a_run(), a_result(dict(FETCHED))
    stats = EvidenceRecorder(artifact_store=Failing(stored)).record_tool_calls(
        run=run, node_id="n1", tool_calls=[a_call("fetch_url")], tool_results=[result], now_iso=NOW
    )

    assert stats.recorded == 0
    assert result == a_result(FETCHED)
    assert run.vars["_runtime"] == {
        "evidence_warnings": [
            {"ts": NOW, "node_id": "n1", "error": "StoreIOError: disk gone"},
        ]
    }


def test_one_failure_does_not_stop_the_next(artifacts):
    run = a_run()
    calls = [a_call("web_search", query="q"), a_call("web_search", query="q")]
    stats = EvidenceRecorder(artifact_store=artifacts).record_tool_calls(
        run=run, node_id="n", tool_calls=calls, tool_results=[a_result({1, 2}), a_result("ok")]
    )

    assert stats.recorded == 1
    assert len(run.vars["_runtime"]["evidence_warnings"]) == 1
    assert len(run.vars["_runtime"]["memory_spans"]) == 1
