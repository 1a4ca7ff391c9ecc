"""`memory_query`: what is found, in which order, and how it reads."""

from __future__ import annotations

import pytest
from memory_host import FakeHost, a_run, answer, call, message

from abstractruntime.effects.memory import MemoryCompact, MemoryNote, MemoryQuery

NOTES = [
    ("milk", {"topic": "food"}, "ann", "paris"),
    ("bread", {"topic": "Food", "person": "bob"}, "bob", ""),
    ("dentist", {"person": "bob"}, "ann", "rome"),
    ("taxes", {}, "", ""),
]


@pytest.fixture
def host() -> FakeHost:
    """A run with an archived conversation, then four notes, a minute apart, and evidence."""
    host = FakeHost(a_run(session_id="s"), summary={"summary": "we talked", "key_points": []})
    run = host.runs["r"]
    run.vars["context"] = {"messages": [message(n) for n in range(1, 6)]}
    call(MemoryCompact(host), run, preserve_recent=1)
    for number, (text, tags, author, place) in enumerate(NOTES, start=1):
        run.updated_at = f"2026-01-01T01:{number:02}:00+00:00"
        run.actor_id = author or None
        call(MemoryNote(host), run, occurrence=text, note=text, tags=tags, location=place)
    for span in run.vars["_runtime"]["memory_spans"][:1]:
        evidence = {**span, "kind": "evidence", "artifact_id": "e1"}
    run.vars["_runtime"]["memory_spans"].append(evidence)
    return host


def ask(host: FakeHost, **payload):
    payload = {"return": "both", **payload}
    return answer(call(MemoryQuery(host), host.runs["r"], occurrence="q", **payload))


def names(host: FakeHost, **payload) -> list[str]:
    matches = ask(host, **payload)["meta"]["matches"]
    return [m.get("note_preview") or m["kind"] for m in matches]


ALL = ["taxes", "dentist", "bread", "milk", "conversation_span"]


@pytest.mark.parametrize(
    ("payload", "found"),
    [
        ({}, ALL),
        ({"limit_spans": 2}, ALL[:2]),
        ({"limit_spans": 0}, []),
        ({"limit_spans": ""}, ALL),
        ({"query": "MILK"}, ["milk"]),
        ({"query": "zebra"}, []),
        ({"query": "we talked"}, ["conversation_span"]),
        ({"query": "m3"}, ["conversation_span"]),
        ({"query": "m3", "deep": False}, []),
        ({"query": "m3", "deep_limit_spans": 0}, []),
        ({"query": "m3", "deep_limit_messages_per_span": 2}, []),
        ({"tags": {"topic": "food", "kind": "none"}}, ["bread", "milk"]),
        ({"tags": {"topic": ["x", "FOOD"], "person": "bob"}}, ["bread"]),
        ({"tags": {"topic": "food", "person": "bob"}, "tagsMode": "or"}, ["dentist", "bread", "milk"]),
        ({"tags": {}}, ALL),
        ({"usernames": ["ANN"]}, ["dentist", "milk"]),
        ({"usernames": []}, ALL),
        ({"authors": "bob"}, ["bread"]),
        ({"locations": ["Rome", "oslo"]}, ["dentist"]),
        ({"location": "paris"}, ["milk"]),
        ({"since": "2026-01-01T01:03:00Z"}, ["taxes", "dentist"]),
        ({"until": "2026-01-01T00:02:00"}, ["conversation_span"]),
        ({"query": "milk", "connected": True, "connect_by": []}, ["bread", "milk", "conversation_span"]),
        ({"query": "milk", "connected": True, "neighbor_hops": 0}, ["bread", "milk"]),
        ({"query": "bread", "connected": "yes", "neighbor_hops": 0, "connect_by": "person"}, ["dentist", "bread"]),
        ({"query": "milk", "connected": True, "neighbor_hops": 3, "limit_spans": 1}, ["milk"]),
        ({"span_ids": [5, "2", 99, "nope"]}, ["conversation_span", "dentist"]),
        ({"span_id": 1}, ["taxes"]),
        ({"span_ids": ["e1"]}, []),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_found(host, payload, found):
    assert names(host, **payload) == found


def test_evidence_never_shows(host):
    told = ask(host, limit_spans=50, connected=True, neighbor_hops=9)

    assert "e1" not in told["meta"]["span_ids"]
    assert "evidence" not in told["output"]


@pytest.mark.parametrize(
    ("mode", "has_text", "has_meta"),
    [
        ("rendered", True, False),
        ("meta", False, True),
        ("BOTH", True, True),
        ("other", True, False),
    ],
)
@pytest.mark.parametrize("name", ["return", "return_mode"])
def test_return_modes(host, mode, has_text, has_meta, name):
    result = call(MemoryQuery(host), host.runs["r"], **{name: mode})
    told = answer(result)

    assert (bool(told["output"]), "meta" in told) == (has_text, has_meta)


def test_the_text_shows_notes_messages_and_where_they_come_from(host):
    text = ask(host, span_ids=[4, 5], max_messages=2)["output"]
    note, conversation = ask(host, span_ids=[4, 5])["meta"]["span_ids"]

    assert text == "\n".join([
        "Recalled memory spans (provenance-preserving):",
        "",
        f"[1] span_id={note} kind=memory_note msgs= created_at=2026-01-01T01:01:00+00:00",
        "    time_range: 2026-01-01T01:01:00+00:00 .. 2026-01-01T01:01:00+00:00",
        "    created_by: ann",
        "    location: paris",
        "    tags: topic=food",
        "    note: milk",
        "    sources.run_id: r",
        "",
        f"[2] span_id={conversation} kind=conversation_span msgs=4 created_at=2026-01-01T00:00:00.000000+00:00",
        "    time_range: 2026-01-01T00:01:00+00:00 .. 2026-01-01T00:04:00+00:00",
        "    summary: we talked",
        "    - 2026-01-01T00:01:00+00:00 user: m1",
        "    - 2026-01-01T00:02:00+00:00 user: m2",
        "    (2 more messages)",
    ])  # fmt: skip


@pytest.mark.parametrize(("most", "shown"), [(0, 0), (3, 3), (-1, 4), (None, 4)])
def test_max_messages_counts_over_all_spans(host, most, shown):
    text = ask(host, max_messages=most)["output"]

    assert text.count(" user: m") == shown


def test_a_match_tells_what_the_span_is(host):
    (match,) = ask(host, span_id=4)["meta"]["matches"]

    moment = "2026-01-01T01:01:00+00:00"
    assert match == {
        "span_id": match["span_id"],
        "kind": "memory_note",
        "created_at": moment,
        "from_timestamp": moment,
        "to_timestamp": moment,
        "tags": {"topic": "food"},
        "created_by": "ann",
        "location": "paris",
        "note_preview": "milk",
        "message_count": 0,
    }


def test_nothing_found_is_said(host):
    told = ask(host, query="zebra")

    assert told["output"] == "No matching memory spans."
    assert told["meta"] == {"matches": [], "span_ids": []}


def test_scope_all_lists_each_owner_with_its_own_limit(host):
    run = host.runs["r"]
    for scope in ("session", "global"):
        for number in (1, 2):
            call(
                MemoryNote(host),
                run,
                occurrence=f"{scope}{number}",
                note=f"{scope}{number}",
                scope=scope,
            )

    assert names(host, scope="all", limit_spans=1) == ["taxes", "session2", "global2"]
    assert names(host, scope="session") == ["session2", "session1"]
    with pytest.raises(ValueError, match="span_id 1 is a place"):
        ask(host, scope="all", span_ids=[1])


def test_without_a_session_the_root_shares_its_memory():
    host = FakeHost(a_run(), a_run("c", parent_run_id="r"))
    call(MemoryNote(host), host.runs["c"], note="found", scope="session")

    assert names(host) == ["found"]
    assert names(host, scope="all") == ["found"]


def test_another_run_is_at_step_its_id(host):
    host.runs["other"] = a_run("other")
    call(MemoryNote(host), host.runs["other"], note="theirs")

    assert names(host, target_run_id="other") == ["theirs"]
    assert host.edits == []


@pytest.mark.parametrize(
    ("level", "payload", "applied", "warnings"),
    [
        ("urgent", {}, {"limit_spans": 2, "deep": False, "connected": False, "max_messages": 30}, []),
        ("URGENT", {"query": "m3"}, {"deep": False}, []),
        ("urgent", {"limit_spans": 9, "deep": True, "max_messages": -1},
         {"limit_spans": 3, "deep": False, "max_messages": 60},
         ["limit_spans 9 -> 3", "deep True -> False", "max_messages unlimited -> 60"]),
        ("standard", {"query": "m3", "connected": True, "neighbor_hops": 4},
         {"limit_spans": 5, "deep": True, "deep_limit_spans": 25, "neighbor_hops": 1},
         ["neighbor_hops 4 -> 1"]),
        ("deep", {"limit_spans": 0, "deep_limit_spans": 500},
         {"limit_spans": 0, "deep_limit_spans": 100, "max_messages": 200},
         ["deep_limit_spans 500 -> 100"]),
        ("urgent", {"span_ids": [1, 2, 3, 4]}, {"span_ids": 3}, ["span_ids 4 -> 3"]),
    ],
    ids=["urgent", "quiet-default", "urgent-cut", "standard", "deep", "named"],
)  # fmt: skip
def test_a_recall_level_bounds_every_number_and_says_so(host, level, payload, applied, warnings):
    told = ask(host, recall_level=level, **payload)

    effort = told["meta"]["effort"]
    assert effort["recall_level"] == level.lower()
    assert applied.items() <= effort["applied"].items()
    expected = [f"recall_level={level.lower()}: {w}" for w in warnings]
    assert told["meta"]["warnings"] == expected
    assert told["output"].startswith("[recall warnings]\n- recall_level") == bool(warnings)


@pytest.mark.parametrize(
    ("payload", "fragment"),
    [
        ({"recall_level": "zzz"}, "Unknown recall_level: zzz"),
        ({"scope": "zzz"}, "Unknown memory scope: zzz"),
        ({"since": "soon"}, "'soon' is not an ISO-8601 moment"),
        ({"limit_spans": "many"}, "limit_spans is 'many', expected a whole number"),
    ],
)
def test_wrong_input_is_named(host, payload, fragment):
    with pytest.raises(ValueError, match=fragment):
        ask(host, **payload)
