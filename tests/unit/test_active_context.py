"""ActiveContextPolicy over the stores of a host."""

from __future__ import annotations

import pytest

from abstractruntime.core.models import RunState
from abstractruntime.memory import ActiveContextPolicy, TimeRange
from abstractruntime.storage.artifacts import InMemoryArtifactStore
from abstractruntime.storage.in_memory import InMemoryRunStore
from abstractruntime.testing.clocks import FakeClock


def a_message(name, role="user"):
    return {"role": role, "content": name, "metadata": {"message_id": name}}


@pytest.fixture
def host():
    runs, artifacts = InMemoryRunStore(), InMemoryArtifactStore()
    talk = artifacts.store_json({"messages": [a_message("m1"), a_message("m2")]})
    note = artifacts.store_json({"note": "buy milk"}, tags={"topic": "food"})
    stamps = [f"2026-01-0{day}T00:00:00+00:00" for day in (1, 2, 3)]
    kinds = ["conversation_span", "memory_note", "evidence"]
    artifact_ids = [talk.artifact_id, note.artifact_id, "proof"]
    spans = [
        {"kind": k, "artifact_id": a, "created_at": s, "from_timestamp": s, "to_timestamp": s}
        for k, a, s in zip(kinds, artifact_ids, stamps, strict=True)
    ]
    summary = a_message("the tea party", "system")
    summary["metadata"] |= {"kind": "memory_summary", "source_artifact_id": talk.artifact_id}
    run = RunState.new(
        workflow_id="w",
        entry_node="n",
        vars={
            "context": {"messages": [a_message("u1"), summary, a_message("u2")]},
            "_runtime": {"memory_spans": spans},
            "_limits": {"max_history_messages": 1},
        },
    )
    runs.save(run)
    policy = ActiveContextPolicy(run_store=runs, artifact_store=artifacts, clock=FakeClock())
    return policy, runs, run, artifact_ids


def kinds(spans):
    return [s["kind"] for s in spans]


def test_listing_is_newest_first_without_evidence(host):
    policy, _, run, _ = host

    assert kinds(policy.list_memory_spans(run.run_id)) == ["memory_note", "conversation_span"]
    assert policy.list_memory_spans(run.run_id) == policy.list_memory_spans_from_run(run)


@pytest.mark.parametrize(
    ("conditions", "found"),
    [
        ({}, ["memory_note", "conversation_span"]),
        ({"query": "tea party"}, ["conversation_span"]),
        ({"query": "milk"}, ["memory_note"]),
        ({"query": "proof"}, []),
        ({"tags": {"topic": "FOOD"}}, ["memory_note"]),
        ({"time_range": TimeRange(end="2026-01-01")}, ["conversation_span"]),
        ({"authors": ["ada"]}, []),
        ({"limit": 1}, ["memory_note"]),
        ({"limit": 0}, []),
    ],
    ids=str,
)
def test_filtering(host, conditions, found):
    policy, _, run, _ = host

    assert kinds(policy.filter_spans(run.run_id, **conditions)) == found


def test_rehydration_is_saved_once(host):
    policy, runs, run, (talk, _, _) = host

    first = policy.rehydrate_into_context(run.run_id, span_ids=[2])
    saved = runs.load(run.run_id)
    second = policy.rehydrate_into_context(run.run_id, span_ids=talk)

    contents = [m["content"] for m in saved.vars["context"]["messages"]]
    assert contents == ["u1", "the tea party", "m1", "m2", "u2"]
    assert (first["inserted"], second["inserted"], second["skipped"]) == (2, 0, 2)
    assert saved.updated_at == FakeClock().now_iso()
    assert runs.load(run.run_id) == saved


def test_rehydrating_a_held_run_saves_nothing(host):
    policy, runs, run, (talk, _, _) = host

    result = policy.rehydrate_into_context_from_run(run, span_ids=[talk], placement="end")

    assert [m["content"] for m in run.vars["context"]["messages"]][-2:] == ["m1", "m2"]
    assert result["artifacts"][0]["kind"] == "conversation_span"
    assert len(runs.load(run.run_id).vars["context"]["messages"]) == 3


@pytest.mark.parametrize(
    ("limit", "seen"),
    [
        (None, ["the tea party", "u2"]),
        (-1, ["the tea party", "u1", "u2"]),
        (0, ["the tea party"]),
        (9, ["the tea party", "u1", "u2"]),
    ],
)
def test_what_a_model_sees(host, limit, seen):
    policy, _, run, _ = host

    messages = policy.select_active_messages_for_llm(run.run_id, max_history_messages=limit)

    assert [m["content"] for m in messages] == seen


def test_summaries_and_ids(host):
    policy, _, run, (talk, note, _) = host
    spans = policy.list_memory_spans(run.run_id)

    assert policy.summary_text_by_artifact_id_from_run(run) == {talk: "the tea party"}
    assert policy.resolve_span_ids_from_spans([1, "2", 3, "x"], spans) == [note, talk, "x"]


@pytest.mark.parametrize(
    "call",
    [
        lambda p: p.list_memory_spans("gone"),
        lambda p: p.filter_spans("gone"),
        lambda p: p.rehydrate_into_context("gone", span_ids=[]),
        lambda p: p.select_active_messages_for_llm("gone"),
    ],
    ids=["list", "filter", "rehydrate", "select"],
)
def test_unknown_runs(host, call):
    with pytest.raises(KeyError, match="gone"):
        call(host[0])


def test_an_unusable_limit_is_none():
    messages = [a_message("a"), a_message("b")]
    variables = {"context": {"messages": messages}, "_limits": {"max_history_messages": "two"}}
    run = RunState.new(workflow_id="w", entry_node="n", vars=variables)

    assert ActiveContextPolicy.select_active_messages_for_llm_from_run(run) == messages


def test_a_run_without_memory_has_none():
    run = RunState.new(workflow_id="w", entry_node="n", vars={})

    assert ActiveContextPolicy.list_memory_spans_from_run(run) == []
    assert ActiveContextPolicy.select_active_messages_for_llm_from_run(run) == []
    assert run.vars == {}
