"""`memory_compact` and `memory_rehydrate`: what leaves the messages comes back unchanged."""

from __future__ import annotations

import copy
import json

import pytest
from memory_host import FakeHost, a_run, answer, call, message

from abstractruntime.core.handlers import EffectContext
from abstractruntime.core.models import Effect, EffectType, RunStatus
from abstractruntime.effects.memory import MemoryCompact, MemoryNote, MemoryRehydrate
from abstractruntime.effects.memory.compact_workflow import COMPACT_WORKFLOW_ID, compact_workflow
from abstractruntime.errors import AbstractRuntimeError
from abstractruntime.testing.clocks import FakeClock

SUMMARY = {"summary": "they talked", "key_points": ["p"] * 25, "confidence": 0.5}


def chat(count: int = 8):
    return [message(0, "system"), *(message(n) for n in range(1, count + 1))]


def host_with(messages=None, **options) -> FakeHost:
    given = chat() if messages is None else messages
    return FakeHost(a_run(vars={"context": {"messages": given}}), summary=SUMMARY, **options)


def compact(host: FakeHost, **payload):
    return answer(call(MemoryCompact(host), host.runs["r"], **payload))


def rehydrate(host: FakeHost, span_ids, **payload):
    return call(
        MemoryRehydrate(host), host.runs["r"], occurrence="o2", span_ids=span_ids, **payload
    )


def texts(host: FakeHost, run_id: str = "r"):
    return [m["content"] for m in host.runs[run_id].vars["context"]["messages"]]


@pytest.mark.parametrize(
    ("payload", "kept", "archived"),
    [
        ({}, 6, 2),
        ({"preserve_recent": None}, 6, 2),
        ({"preserve_recent": 2}, 2, 6),
        ({"preserve_recent": "3"}, 3, 5),
        ({"preserve_recent": 0}, 0, 8),
        ({"preserve_recent": -1}, 0, 8),
    ],
    ids=str,
)
def test_older_messages_become_a_summary(payload, kept, archived):
    host = host_with()

    told = compact(host, **payload)

    span_id = told["meta"]["span_id"]
    summary = f"[CONVERSATION HISTORY SUMMARY span_id={span_id}]: they talked"
    assert told["output"] == f"Compacted {archived} messages into span_id={span_id}."
    assert texts(host) == ["m0", summary, *(f"m{n}" for n in range(archived + 1, 9))]
    assert len(texts(host)) == 2 + kept
    assert host.artifact_store.load_json(span_id)["messages"] == chat()[1 : archived + 1]


def test_the_span_the_summary_and_the_answer_name_each_other():
    host = host_with()

    meta = compact(host, preserve_recent=2, compression_mode="HEAVY", focus=" dates ")["meta"]

    (span,) = host.runs["r"].vars["_runtime"]["memory_spans"]
    summary = host.runs["r"].vars["context"]["messages"][1]
    moment = host.runs["r"].updated_at
    facts = {
        "kind": "conversation_span",
        "created_at": moment,
        "from_timestamp": message(1)["timestamp"],
        "to_timestamp": message(6)["timestamp"],
        "from_message_id": "id1",
        "to_message_id": "id6",
        "message_count": 6,
        "compression_mode": "heavy",
        "focus": "dates",
    }
    assert meta == {
        "llm_run_id": None,
        "span_id": span["artifact_id"],
        "summary_message_id": summary["metadata"]["message_id"],
        "preserve_recent": 2,
        "compression_mode": "heavy",
        "focus": "dates",
        "key_points": ["p"] * 20,
        "confidence": 0.5,
    }
    assert span == {
        **facts,
        "artifact_id": meta["span_id"],
        "summary_message_id": meta["summary_message_id"],
        "occurrence_id": "o1",
    }
    assert summary["metadata"] == {
        "message_id": meta["summary_message_id"],
        "kind": "memory_summary",
        "compression_mode": "heavy",
        "preserve_recent": 2,
        "source_artifact_id": meta["span_id"],
        "source_message_count": 6,
        "source_from_timestamp": facts["from_timestamp"],
        "source_to_timestamp": facts["to_timestamp"],
        "source_from_message_id": "id1",
        "source_to_message_id": "id6",
        "focus": "dates",
    }
    archive = host.artifact_store.load_json(meta["span_id"])
    assert (archive["span"], archive["created_at"]) == (facts, moment)
    assert host.artifact_store.get_metadata(meta["span_id"]).tags == {
        "kind": "conversation_span",
        "compression_mode": "heavy",
        "preserve_recent": "2",
        "focus": "dates",
    }
    (asked,) = host.asked
    assert asked == {
        "messages": chat()[1:7],
        "preserve_recent": 0,
        "focus": "dates",
        "compression_mode": "heavy",
    }


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([], "No messages to compact."),
        (chat(6), "Nothing to compact (non-system messages <= preserve_recent=6)."),
        (chat(0), "Nothing to compact (non-system messages <= preserve_recent=6)."),
    ],
    ids=["none", "few", "system-only"],
)
def test_where_nothing_is_older_nothing_changes(messages, text):
    host = host_with(copy.deepcopy(messages))
    before = copy.deepcopy(host.runs["r"].vars)

    told = compact(host)

    assert (told["output"], "meta" in told) == (text, False)
    assert host.runs["r"].vars == before
    assert host.asked == []


def test_a_run_without_messages_gets_none():
    host = FakeHost(a_run(), summary=SUMMARY)

    assert compact(host)["output"] == "No messages to compact."
    assert host.runs["r"].vars == {}


def test_a_repeated_attempt_archives_the_same_bytes():
    bare = [{"role": "user", "content": f"m{n}"} for n in range(4)]
    first, again = host_with(bare), host_with(copy.deepcopy(bare))
    again.artifact_store = first.artifact_store

    told = [compact(host, preserve_recent=1) for host in (first, again)]

    assert told[0] == told[1]
    assert first.runs["r"].vars == again.runs["r"].vars
    assert len(first.artifact_store.list_all()) == 1


def test_messages_in_parts_stay_as_they_are():
    parts = [{"type": "text", "text": "look"}, {"type": "image", "ref": "a"}]
    host = host_with([{"role": "user", "content": parts}, {"role": "user", "content": parts}])

    span_id = compact(host, preserve_recent=1)["meta"]["span_id"]
    rehydrate(host, [span_id])

    assert [m["content"] for m in host.runs["r"].vars["context"]["messages"][1:]] == [parts, parts]


def test_another_run_is_compacted_once_and_its_output_follows():
    host = host_with()
    other = host.runs["other"] = a_run("other", vars={"context": {"messages": chat()}})
    other.output = {"messages": chat(), "answer": 1}

    told = [compact(host, target_run_id="other", preserve_recent=1) for _ in range(2)]

    assert told[0] == told[1]
    assert len(host.asked) == 1
    assert other.output == {"messages": other.vars["context"]["messages"], "answer": 1}
    assert len(other.vars["_runtime"]["memory_spans"]) == 1
    assert texts(host) == [m["content"] for m in chat()]


@pytest.mark.parametrize("change", ["appended", "replaced"])
def test_a_run_that_changes_while_it_is_summarised_loses_nothing(change):
    host = host_with()
    other = host.runs["other"] = a_run("other", vars={"context": {"messages": chat(4)}})
    messages = other.vars["context"]["messages"]

    def summarise(**asked):
        messages.append(message(9)) if change == "appended" else messages.pop(1)
        return SUMMARY

    host.summarize_chat_history = summarise
    if change == "appended":
        compact(host, target_run_id="other", preserve_recent=1)
        assert texts(host, "other")[2:] == ["m4", "m9"]
        return
    with pytest.raises(ValueError, match="changed while they were summarised"):
        compact(host, target_run_id="other", preserve_recent=1)
    assert texts(host, "other") == ["m0", "m2", "m3", "m4"]
    assert host.artifact_store.list_all() == []


def child_host(status=RunStatus.COMPLETED, content: str = "") -> FakeHost:
    host = host_with()
    host.chat_summarizer = None
    host.runs["r"].vars["_runtime"] = {"provider": "p", "model": "m"}
    host.child = a_run("c")
    host.child.status = status
    host.child.output = {"success": True, "result": {"content": content}}
    return host


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(SUMMARY),
        f"```json\n{json.dumps(SUMMARY)}\n```",
        f"Here it is:\n{json.dumps(SUMMARY)}\nDone.",
    ],
    ids=["plain", "fenced", "chatty"],
)
def test_without_a_summarizer_a_child_asks_the_model(content):
    host = child_host(content=content)

    meta = compact(host, preserve_recent=2, focus="dates")["meta"]

    (asked,) = host.children
    request = asked["vars"]["compaction_request"]
    assert (asked["workflow_id"], asked["parent"].run_id) == (COMPACT_WORKFLOW_ID, "r")
    assert (request["provider"], request["model"]) == ("p", "m")
    assert "dates" in request["prompt"]
    assert '"content":"m6"' in request["prompt"]
    assert "m7" not in request["prompt"]
    assert (meta["llm_run_id"], meta["key_points"]) == (asked["run_id"], ["p"] * 20)
    assert "they talked" in texts(host)[1]


def test_the_child_is_one_llm_call():
    host = child_host(content=json.dumps(SUMMARY))
    compact(host)
    spec, run = compact_workflow(), a_run(vars=host.children[0]["vars"])

    plan = spec.get_node(spec.entry_node)(run, None)

    assert (plan.effect.type, plan.next_node) == (EffectType.LLM_CALL, None)
    assert plan.effect.payload == run.vars["compaction_request"]


def test_a_repeated_attempt_finds_its_child_and_a_retry_gets_another():
    host = child_host(content="no")
    for attempt in (1, 1, 2):
        with pytest.raises(AbstractRuntimeError):
            call(MemoryCompact(host), host.runs["r"], attempt=attempt)

    first, again, retried = (child["run_id"] for child in host.children)
    assert first == again != retried


@pytest.mark.parametrize(
    ("status", "content", "fragment"),
    [
        (RunStatus.COMPLETED, "Connection error.", "no summary as JSON: 'Connection error.'"),
        (RunStatus.COMPLETED, '{"summary": " "}', "no summary as JSON"),
        (RunStatus.COMPLETED, "[1]", "no summary as JSON"),
        (RunStatus.WAITING, "", "waits, expected a summary"),
        (RunStatus.FAILED, "", "failed: no reason given"),
    ],
    ids=["error-text", "blank", "no-object", "waiting", "failed"],
)
def test_without_a_summary_nothing_is_archived(status, content, fragment):
    host = child_host(status, content)

    with pytest.raises(AbstractRuntimeError, match=fragment):
        compact(host)

    assert texts(host) == [m["content"] for m in chat()]
    assert host.artifact_store.list_all() == []


def test_a_child_that_someone_else_drives_is_waited_for_and_the_step_repeated():
    host = child_host(RunStatus.RUNNING)
    ctx = EffectContext(host.runs["r"], "n", "next", "o1", 1, FakeClock())

    outcome = MemoryCompact(host)(ctx, Effect(EffectType.MEMORY_COMPACT, {}, "out"))

    wait = outcome.wait
    assert (wait.wait_key, wait.resume_to_node) == (f"subworkflow:{host.child.run_id}", "n")
    assert wait.result_key is None


def test_a_summarizer_without_a_summary_fails_the_effect():
    host = host_with()
    host.summary = {"summary": None, "key_points": "x"}

    with pytest.raises(AbstractRuntimeError, match="gave no summary"):
        compact(host)

    assert texts(host) == [m["content"] for m in chat()]


# -- rehydration -------------------------------------------------------------------


def archived() -> tuple[FakeHost, str]:
    host = host_with()
    return host, compact(host, preserve_recent=2)["meta"]["span_id"]


@pytest.mark.parametrize(
    ("placement", "expected"),
    [
        ("after_summary", "0S1234567 8"),
        ("END", "0S7812345 6"),
        ("after_system", "0S1234567 8"),
        ("elsewhere", "0S1234567 8"),
    ],
)
def test_messages_come_back_where_they_are_wanted(placement, expected):
    host, span_id = archived()

    told = rehydrate(host, [span_id], placement=placement)

    shown = ["S" if t.startswith("[CONV") else t[1:] for t in texts(host)]
    assert "".join(shown) == expected.replace(" ", "")
    assert told == {
        "inserted": 6,
        "skipped": 0,
        "artifacts": [
            {
                "span_id": span_id,
                "inserted": 6,
                "skipped": 0,
                "error": None,
                "kind": "conversation_span",
                "preview": "user: m1\nuser: m2\nuser: m3",
            }
        ],
        "effort": None,
        "warnings": None,
    }
    messages = host.runs["r"].vars["context"]["messages"]
    inserted = next(m for m in messages if m["content"] == "m1")
    assert inserted["metadata"] == {
        "message_id": "id1",
        "rehydrated": True,
        "source_artifact_id": span_id,
    }


def test_what_is_there_already_is_not_inserted_again():
    host, span_id = archived()

    told = [rehydrate(host, span_id) for _ in range(2)]

    assert [(t["inserted"], t["skipped"]) for t in told] == [(6, 0), (0, 6)]
    assert texts(host).count("m1") == 1


@pytest.mark.parametrize(
    ("payload", "inserted", "warnings"),
    [
        ({"max_messages": 2}, 2, None),
        ({"max_messages": 0}, 0, None),
        ({"max_messages": -1}, 6, None),
        ({"recall_level": "urgent"}, 6, None),
        ({"recall_level": "urgent", "max_messages": 0}, 0, None),
        ({"recall_level": "urgent", "max_messages": 99}, 6, ["max_messages 99 -> 60"]),
    ],
    ids=str,
)
def test_the_cap(payload, inserted, warnings):
    host, span_id = archived()

    told = rehydrate(host, [span_id], **payload)

    assert told["inserted"] == inserted
    assert told["artifacts"][0]["error"] == (None if inserted == 6 else "max_messages")
    expected = [f"recall_level=urgent: {w}" for w in warnings] if warnings else None
    assert told["warnings"] == expected
    assert (told["effort"] is None) == ("recall_level" not in payload)


def test_notes_come_back_and_evidence_does_not():
    host, _ = archived()
    note = answer(call(MemoryNote(host), host.runs["r"], occurrence="n", note="hi"))["meta"]
    evidence = {"kind": "evidence", "artifact_id": "e1", "created_at": "2026-01-01T09:00:00Z"}
    host.runs["r"].vars["_runtime"]["memory_spans"].append(evidence)

    told = rehydrate(host, [note["span_id"], "nope"], placement="end")
    newest = rehydrate(host, [1], placement="end")

    assert texts(host)[-1] == "[MEMORY NOTE]\nhi"
    assert [a["error"] for a in told["artifacts"]] == [None, "missing_messages"]
    assert [a["span_id"] for a in newest["artifacts"]] == [note["span_id"]]


@pytest.mark.parametrize("span_ids", [[], None])
def test_no_spans(span_ids):
    host = FakeHost(a_run())

    if span_ids is None:
        with pytest.raises(ValueError, match="MEMORY_REHYDRATE requires"):
            rehydrate(host, None)
    else:
        assert rehydrate(host, []) == {"inserted": 0, "skipped": 0, "artifacts": []}
    assert host.runs["r"].vars == {}


def test_another_run_is_rehydrated_once():
    host, span_id = archived()
    host.runs["other"] = a_run("other")

    told = [rehydrate(host, [span_id], target_run_id="other") for _ in range(2)]

    assert told[0] == told[1]
    assert texts(host, "other") == [f"m{n}" for n in range(1, 7)]


@pytest.mark.parametrize("handler", [MemoryCompact, MemoryRehydrate])
@pytest.mark.parametrize("messages", ["chat", [{"role": "user"}, "stray"]], ids=["text", "stray"])
def test_messages_that_are_none_are_never_dropped(handler, messages):
    host = host_with(copy.deepcopy(messages))

    with pytest.raises(ValueError, match=r"context\.messages is not a list"):
        call(handler(host), host.runs["r"], span_ids=["x"], preserve_recent=0)

    assert host.runs["r"].vars["context"]["messages"] == messages
