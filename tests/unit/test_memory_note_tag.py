"""`memory_note` and `memory_tag` over a host without a store."""

from __future__ import annotations

from hashlib import sha256

import pytest
from memory_host import FakeHost, a_run, answer, call

from abstractruntime.effects.memory import MemoryNote, MemoryTag
from abstractruntime.errors import AbstractRuntimeError, NotFound, Refused


def spans(host: FakeHost, run_id: str = "r"):
    return host.runs[run_id].vars.get("_runtime", {}).get("memory_spans", [])


def note(host: FakeHost, text: str = "x", *, run: str = "r", occurrence: str = "o1", **payload):
    result = call(MemoryNote(host), host.runs[run], occurrence=occurrence, note=text, **payload)
    return answer(result)


def tag(host: FakeHost, wanted, tags, **payload):
    return answer(call(MemoryTag(host), host.runs["r"], span_id=wanted, tags=tags, **payload))


def test_a_note_is_an_artifact_and_a_span_of_its_moment():
    host = FakeHost(a_run(actor_id="ann", session_id="s 1"))

    told = note(
        host,
        " hi ",
        tags={"topic": "t", "n": 5, "kind": "k"},
        sources={"span_ids": [7, "7", " "], "message_ids": "no"},
        location=" here ",
    )

    (span,) = spans(host)
    moment = host.runs["r"].updated_at
    assert told["name"] == "remember_note"
    assert (
        told["output"] == f'Stored memory_note span_id={span["artifact_id"]} tags={{"topic": "t"}}'
    )
    assert told["meta"] == {
        "span_id": span["artifact_id"],
        "created_at": moment,
        "note_preview": "hi",
    }
    assert span == {
        "kind": "memory_note",
        "artifact_id": span["artifact_id"],
        "created_at": moment,
        "from_timestamp": moment,
        "to_timestamp": moment,
        "message_count": 0,
        "note_preview": "hi",
        "sources": {"run_id": "r", "span_ids": ["7"], "message_ids": []},
        "tags": {"topic": "t"},
        "created_by": "ann",
        "location": "here",
        "occurrence_id": "o1",
    }
    assert host.artifact_store.load_json(span["artifact_id"]) == {
        "note": "hi",
        "sources": span["sources"],
        "created_at": moment,
        "location": "here",
        "actor_id": "ann",
        "session_id": "s 1",
    }
    tags = host.artifact_store.get_metadata(span["artifact_id"]).tags
    assert tags == {"kind": "memory_note", "topic": "t"}


def test_a_long_note_has_a_marked_preview():
    preview = note(FakeHost(a_run()), "y" * 161)["meta"]["note_preview"]

    assert (len(preview), preview[-14:]) == (160, "y… (truncated)")


@pytest.mark.parametrize(
    ("run", "scope", "owner"),
    [
        (a_run("c", parent_run_id="r"), "run", "c"),
        (a_run("c", parent_run_id="r"), "session", "r"),
        (a_run("c", session_id="s-1"), "session", "session_memory_s-1"),
        (a_run("c", session_id="é"), "session", "session_memory_sha_4a99557e4033c3539de2eb65472017ca"),
        (a_run("c", session_id="s" * 114), "session", f"session_memory_sha_{sha256(b's' * 114).hexdigest()[:32]}"),
        (a_run("c"), " GLOBAL ", "global_memory"),
    ],
    ids=["run", "root", "session", "hashed", "long", "global"],
)  # fmt: skip
def test_the_scope_says_whose_index_holds_a_note(run, scope, owner, monkeypatch):
    monkeypatch.delenv("ABSTRACTRUNTIME_GLOBAL_MEMORY_RUN_ID", raising=False)
    run = a_run(run.run_id, session_id=run.session_id, parent_run_id=run.parent_run_id)
    host = FakeHost(a_run(), run)

    told = note(host, run="c", scope=scope)

    assert [s["artifact_id"] for s in spans(host, owner)] == [told["meta"]["span_id"]]
    assert host.artifact_store.get_metadata(told["meta"]["span_id"]).run_id == owner
    assert host.edits == ([] if owner == "c" else [owner])


@pytest.mark.parametrize(("name", "owner"), [("mine", "mine"), ("a/b", "global_memory")])
def test_the_environment_names_the_global_memory(name, owner, monkeypatch):
    monkeypatch.setenv("ABSTRACTRUNTIME_GLOBAL_MEMORY_RUN_ID", name)
    host = FakeHost(a_run())

    note(host, scope="global")

    assert len(spans(host, owner)) == 1


@pytest.mark.parametrize("scope", ["run", "session", "global"])
def test_a_repeated_attempt_finds_what_the_first_one_stored(scope):
    host = FakeHost(a_run(session_id="s"))

    first = note(host, scope=scope, keep_in_context=True)["meta"]
    # A classic pair walks the hops before the step again, so the moment may differ.
    host.runs["r"].updated_at = "2026-01-01T00:00:01.000000+00:00"
    again = note(host, scope=scope, keep_in_context=True)["meta"]

    assert again["span_id"] == first["span_id"]
    assert sum(len(spans(host, run_id)) for run_id in host.runs) == 1
    assert len(host.artifact_store.list_all()) == 1
    assert len(host.runs["r"].vars["context"]["messages"]) == 1


def test_the_same_words_at_another_step_are_another_note():
    host = FakeHost(a_run())

    note(host, occurrence="o1")
    host.runs["r"].updated_at = "2026-01-01T00:00:01.000000+00:00"
    note(host, occurrence="o2")

    assert len({s["artifact_id"] for s in spans(host)}) == 2


@pytest.mark.parametrize("keep", [True, "yes", 1])
def test_keep_in_context_appends_a_system_message(keep):
    host = FakeHost(a_run(vars={"context": {"messages": [{"role": "user", "content": "q"}]}}))

    meta = note(host, "hi", keepInContext=keep)["meta"]

    last = host.runs["r"].vars["context"]["messages"][-1]
    assert meta["kept_in_context"] == {"inserted": 1, "skipped": 0}
    assert (last["role"], last["content"]) == ("system", "[MEMORY NOTE]\nhi")
    assert last["metadata"]["message_id"] == f"memory_note:{meta['span_id']}"


def test_messages_that_are_no_list_are_left_alone():
    host = FakeHost(a_run(vars={"context": {"messages": "chat"}}))

    kept = note(host, keep_in_context=True)["meta"]["kept_in_context"]

    assert kept == {
        "inserted": 0,
        "skipped": 1,
        "error": "context.messages is not a list of message objects",
    }
    assert host.runs["r"].vars["context"]["messages"] == "chat"


def test_a_note_for_another_run_lies_there_once():
    host = FakeHost(a_run(), a_run("other"))

    told = [note(host, target_run_id="other", keep_in_context="true") for _ in range(2)]

    assert told[0] == told[1]
    assert len(spans(host, "other")) == 1
    assert len(host.runs["other"].vars["context"]["messages"]) == 1
    assert spans(host) == []
    assert spans(host, "other")[0]["sources"]["run_id"] == "r"


@pytest.mark.parametrize(
    ("payload", "error", "fragment"),
    [
        ({"note": " "}, ValueError, "MEMORY_NOTE requires payload.note"),
        ({"scope": "zzz"}, ValueError, "Unknown memory scope: zzz"),
        ({"scope": "all"}, ValueError, "Unknown memory scope: all"),
        ({"target_run_id": "nobody"}, NotFound, "Unknown target_run_id: nobody"),
        ({"target_run_id": "far"}, Refused, "out of reach"),
    ],
    ids=["blank", "scope", "all", "unknown-run", "stranger"],
)
def test_a_refused_note_changes_nothing(payload, error, fragment):
    host = FakeHost(a_run(), a_run("far"), strangers=("far",))

    with pytest.raises(error, match=fragment):
        call(MemoryNote(host), host.runs["r"], **{"note": "x", **payload})

    assert not any(run.vars for run in host.runs.values())
    assert host.artifact_store.list_all() == []


def three_notes() -> FakeHost:
    """A run with notes a, b, c, stored in this order, and evidence between them."""
    host = FakeHost(a_run(session_id="s", actor_id="ann"))
    run = host.runs["r"]
    for number, text in enumerate("abc"):
        run.updated_at = f"2026-01-01T00:0{number}:00+00:00"
        note(host, text, occurrence=text, tags={"old": text})
        evidence = {"kind": "evidence", "artifact_id": f"e{number}", "created_at": run.updated_at}
        run.vars["_runtime"]["memory_spans"].append(evidence)
    return host


def tags_by_note(host: FakeHost):
    return {s["note_preview"]: s["tags"] for s in spans(host) if s["kind"] == "memory_note"}


@pytest.mark.parametrize("place", [1, "1", " 1 "])
def test_places_count_from_the_newest_and_pass_over_evidence(place):
    host = three_notes()

    told = tag(host, place, {"new": "n"})

    assert tags_by_note(host)["c"] == {"old": "c", "new": "n"}
    newest = next(s for s in spans(host) if s.get("note_preview") == "c")
    assert told["meta"] == {
        "applied": [
            {"run_id": "r", "artifact_id": newest["artifact_id"], "tags": {"old": "c", "new": "n"}}
        ]
    }
    assert (newest["tagged_at"], newest["tagged_by"]) == (host.runs["r"].updated_at, "ann")
    expected = (
        f'Tagged span_id={newest["artifact_id"]} scope=run runs=[r] tags={{"new": "n", "old": "c"}}'
    )
    assert (told["name"], told["output"]) == ("remember", expected)


@pytest.mark.parametrize("merge", [False, "false", 0], ids=repr)
def test_without_merge_the_new_tags_replace_the_old(merge):
    host = three_notes()

    tag(host, spans(host)[0]["artifact_id"], {"new": "n", "n": 1}, merge=merge)

    assert tags_by_note(host)["a"] == {"new": "n"}


def test_scope_all_tags_the_span_wherever_it_lies_and_creates_no_memory():
    host = three_notes()
    stored = note(host, "shared", scope="session", occurrence="o9")["meta"]["span_id"]
    before = set(host.runs)

    told = tag(host, stored, {"new": "n"}, scope="all")

    assert [a["run_id"] for a in told["meta"]["applied"]] == ["session_memory_s"]
    assert spans(host, "session_memory_s")[0]["tags"] == {"new": "n"}
    assert set(host.runs) == before


@pytest.mark.parametrize(
    ("payload", "fragment"),
    [
        ({"span_id": None}, "MEMORY_TAG requires payload.span_id"),
        ({"tags": {"kind": "k", "n": 1}}, "MEMORY_TAG requires payload.tags"),
        ({"span_id": "nope"}, "Unknown span_id: nope"),
        ({"span_id": 4}, "Unknown span_id: 4"),
        ({"span_id": 0}, "Unknown span_id: 0"),
        ({"span_id": "e0"}, "Unknown span_id: e0"),
        ({"span_id": 1, "scope": "all"}, "Unknown span_id: 1"),
        ({"scope": "here"}, "Unknown memory scope: here"),
    ],
    ids=["no-span", "no-tags", "unknown", "past", "zero", "evidence", "place-in-all", "scope"],
)
def test_a_refused_tag_changes_nothing(payload, fragment):
    host = three_notes()
    before = tags_by_note(host)

    with pytest.raises(AbstractRuntimeError, match=fragment):
        tag(host, payload.pop("span_id", 1), payload.pop("tags", {"a": "b"}), **payload)

    assert tags_by_note(host) == before


def test_tagging_needs_no_artifact_store():
    host = three_notes()
    host.artifact_store = None

    tag(host, 1, {"a": "b"})

    assert tags_by_note(host)["c"]["a"] == "b"
    with pytest.raises(ValueError, match="memory_note requires an ArtifactStore"):
        note(host)
