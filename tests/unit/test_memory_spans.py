"""The span index: order, indexes, filters, expansion, and bringing messages back."""

from __future__ import annotations

import pytest

from abstractruntime.memory.archive import Archive
from abstractruntime.memory.rehydration import note_message, rehydrate, summary_texts
from abstractruntime.memory.spans import (
    SpanFilter,
    TimeRange,
    connected_spans,
    describe_span,
    filter_spans,
    list_spans,
    resolve_span_ids,
    span_index,
    spans_with_message,
    stored_spans,
)
from abstractruntime.storage.artifacts import InMemoryArtifactStore


def a_span(name, created_at="2026-01-01T00:00:00+00:00", **fields):
    stamps = {"from_timestamp": created_at, "to_timestamp": created_at}
    return {
        "kind": "memory_note",
        "artifact_id": name,
        "created_at": created_at,
        **stamps,
        **fields,
    }


def variables(*spans):
    return {"_runtime": {"memory_spans": list(spans)}}


def ids(spans):
    return [s["artifact_id"] for s in spans]


def an_archive(**documents):
    store = InMemoryArtifactStore()
    for name, document in documents.items():
        store.store(
            document if isinstance(document, bytes) else store_bytes(document),
            artifact_id=name,
            content_type="application/json",
            tags=document.get("tags") if isinstance(document, dict) else None,
        )
    return Archive(store)


def store_bytes(document):
    import json

    return json.dumps(document).encode()


def test_newest_first_without_evidence():
    found = list_spans(
        variables(
            a_span("old", "2026-01-01T00:00:00Z"),
            a_span("proof", "2026-01-09T00:00:00Z", kind="evidence"),
            a_span("new", "2026-01-02T01:00:00+05:00"),
            a_span("newest", "2026-01-02T00:00:00"),
            a_span("same", "2026-01-02T00:00:00+00:00"),
            a_span("", "2026-01-03T00:00:00Z"),
            a_span("undated", "soon"),
            "junk",
        )
    )

    assert ids(found) == ["same", "newest", "new", "old", "undated"]


def test_listing_copies_and_reading_creates_nothing():
    empty = {}
    held = variables(a_span("a"))

    list_spans(held)[0]["artifact_id"] = "changed"

    assert list_spans(empty) == []
    assert empty == {}
    assert ids(stored_spans(held)) == ["a"]


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ([1, "2"], ["a", "b"]),
        ([0, 4, -1, "0", "9"], []),
        (["b", 2, " b "], ["b"]),
        (["unknown", ""], ["unknown"]),
        (["77"], ["77"]),
        ([True, None, 1.0, {}], []),
    ],
    ids=["indexes", "out-of-range", "once", "other-text", "digits-that-are-an-id", "neither"],
)
def test_resolving_ids(asked, given):
    assert resolve_span_ids(asked, [a_span("a"), a_span("b"), a_span("77")]) == given


@pytest.mark.parametrize(
    ("raw", "index"), [(2, 2), (" 2 ", 2), ("a2", None), (True, None), ("²", None), (None, None)]
)
def test_span_index(raw, index):
    assert span_index(raw) == index


@pytest.mark.parametrize(
    ("bounds", "stamps", "inside"),
    [
        ((None, None), (None, None), True),
        (("2026-01-02", None), ("2026-01-01", "2026-01-02T00:00:00Z"), True),
        (("2026-01-02T00:00:01", None), ("2026-01-01", "2026-01-02T00:00:00+00:00"), False),
        ((None, "2026-01-01T00:00:00+02:00"), ("2026-01-01T00:00:00", "2026-01-02"), False),
        ((None, "2026-01-02"), (None, "2026-01-01"), False),
        ((None, "2026-01-02"), ("whenever", "2026-01-01"), False),
    ],
    ids=["open", "touches", "before", "offset", "no-start", "unreadable"],
)
def test_time_range(bounds, stamps, inside):
    assert TimeRange(*bounds).contains(start=stamps[0], end=stamps[1]) is inside


def test_time_range_names_a_bad_bound():
    with pytest.raises(ValueError, match="'tomorrow' is not an ISO-8601 moment"):
        TimeRange(start="tomorrow").contains(start=None, end=None)


MEMORY = [
    a_span("note", "2026-01-03T00:00:00Z", created_by="Ada", tags={"topic": "Food"}),
    a_span("talk", "2026-01-02T00:00:00Z", kind="conversation_span", location="Paris", focus="tea"),
    a_span("far", "2026-01-01T00:00:00Z", tags={"topic": "travel", "person": "Bob"}),
]


@pytest.mark.parametrize(
    ("conditions", "found"),
    [
        ({}, ["note", "talk", "far"]),
        ({"time_range": TimeRange(end="2026-01-02")}, ["talk", "far"]),
        ({"authors": ["ADA "]}, ["note"]),
        ({"locations": "paris"}, ["talk"]),
        ({"locations": ["oslo"]}, ["far"]),
        ({"tags": {"topic": "food"}}, ["note"]),
        ({"tags": {"topic": ["food", "travel"]}}, ["note", "far"]),
        ({"tags": {"topic": "food", "person": "bob"}}, []),
        ({"tags": {"topic": "food", "person": "bob"}, "tags_mode": "or"}, ["note", "far"]),
        ({"tags": {"kind": "conversation_span", "focus": "TEA"}}, ["talk"]),
        ({"tags": {"topic": " "}}, ["note", "talk", "far"]),
        ({"query": "MILK"}, ["note"]),
        ({"query": "tea party"}, ["note", "talk"]),
        ({"query": "oslo"}, ["far"]),
        ({"query": "application/json", "authors": "ada"}, ["note"]),
        ({"query": "said in the talk"}, []),
    ],
    ids=lambda v: str(v)[:50],
)
def test_filters(conditions, found):
    archive = an_archive(
        note={"note": "buy milk", "sources": {"span_ids": ["talk"]}},
        talk={"messages": [{"role": "user", "content": "said in the talk"}]},
        far={"note": "x", "tags": {"location": "Oslo"}},
    )

    matching = filter_spans(
        MEMORY, SpanFilter.of(**conditions), archive, summaries={"talk": "The tea party"}
    )

    assert ids(matching) == found


@pytest.mark.parametrize(("limit", "count"), [(0, 0), (2, 2), (-1, 3), (9, 3)])
def test_filter_limit(limit, count):
    assert len(filter_spans(MEMORY, SpanFilter(), Archive(None), limit=limit)) == count


@pytest.mark.parametrize(
    ("later", "found"), [({}, ["s"]), ({"tagged_at": "2026-01-05T00:00:00Z"}, [])]
)
def test_artifact_tags_win_until_the_span_is_tagged(later, found):
    span = a_span("s", tags={"topic": "new"}, **later)
    archive = an_archive(s={"tags": {"topic": "old"}})

    assert ids(filter_spans([span], SpanFilter.of(tags={"topic": "old"}), archive)) == found


@pytest.mark.parametrize(
    ("max_spans", "max_messages", "found"),
    [(5, 5, ["a", "b"]), (1, 5, ["a"]), (5, 1, ["a"]), (0, 5, []), (5, 0, [])],
)
def test_deep_scan_reads_no_more_than_allowed(max_spans, max_messages, found):
    archive = an_archive(
        n={"note": "needle"},
        a={"messages": [{"content": "a Needle"}, "junk"]},
        b={"messages": [{"content": "hay"}, {"content": "needle"}]},
    )
    spans = [a_span("n"), a_span("a"), a_span("b")]

    hits = spans_with_message(
        spans, " NEEDLE", archive, max_spans=max_spans, max_messages=max_messages
    )

    assert ids(hits) == found


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"hops": 1, "limit": 9}, ["c", "b", "d", "a"]),
        ({"hops": 2, "limit": 9}, ["c", "b", "d", "a", "e"]),
        ({"hops": 0, "limit": 9}, ["c", "a"]),
        ({"hops": 0, "limit": 9, "connect_by": ["mood"]}, ["c"]),
        ({"hops": 1, "limit": 2}, ["c", "b"]),
        ({"hops": 1, "limit": 0}, ["c"]),
    ],
    ids=["neighbours-then-tags", "two-hops", "no-hops", "other-tag", "limit", "limit-zero"],
)
def test_connected_spans(options, found):
    tagged = {"a": {"topic": "X"}, "c": {"topic": "x"}, "e": {"topic": "y"}}
    spans = [a_span(name, tags=tagged.get(name, {})) for name in "abcde"]

    assert ids(connected_spans([spans[2]], spans, Archive(None), **options)) == found


def test_describing_shows_optional_facts_only_when_set():
    shown = describe_span(a_span("a", note_preview="hi", created_by="", message_count=0))

    assert shown["span_id"] == "a"
    assert shown["tags"] == {}
    assert shown["note_preview"] == "hi"
    assert "created_by" not in shown
    assert "message_count" not in shown


def a_message(name, role="user", **metadata):
    return {"role": role, "content": name, "metadata": {"message_id": name, **metadata}}


TALK = [
    a_message("sys", "system"),
    a_message("sum", "system", kind="memory_summary", source_artifact_id="talk"),
    a_message("m9"),
]


def bring_back(messages, asked, **options):
    archive = an_archive(
        talk={"messages": [a_message("m1"), a_message("m2"), a_message("m9")]},
        more={"messages": [a_message("m3")]},
        memo={"note": "remember me", "created_at": "T", "tags": {"kind": "memory_note"}},
        proof={"messages": [a_message("p")], "tags": {"kind": "evidence"}},
        text=b"not json",
    )
    spans = [a_span("talk", kind="conversation_span"), a_span("other", kind="sketch")]
    return rehydrate(messages, asked, spans, archive, **options)


@pytest.mark.parametrize(
    ("placement", "order"),
    [
        ("after_summary", "sys sum m1 m2 m9"),
        ("after_system", "sys sum m1 m2 m9"),
        (" END ", "sys sum m9 m1 m2"),
        ("nowhere", "sys sum m1 m2 m9"),
        (None, "sys sum m1 m2 m9"),
    ],
)
def test_placement(placement, order):
    result = bring_back(TALK, ["talk"], placement=placement)

    assert [m["content"] for m in result.messages] == order.split()
    assert (result.inserted, result.skipped) == (2, 1)


def test_a_summary_after_other_messages_decides_only_after_summary():
    talk = [TALK[0], TALK[2], TALK[1]]

    after = bring_back(talk, [1])
    system = bring_back(talk, [1], placement="after_system")

    assert [m["content"] for m in after.messages] == ["sys", "m9", "sum", "m1", "m2"]
    assert [m["content"] for m in system.messages] == ["sys", "m1", "m2", "m9", "sum"]


@pytest.mark.parametrize(
    ("asked", "cap", "entries"),
    [
        (["talk", "more"], None, [(2, 1, None), (1, 0, None)]),
        (["talk", "more"], -1, [(2, 1, None), (1, 0, None)]),
        (["talk", "more"], 1, [(1, 2, "max_messages"), (0, 1, "max_messages")]),
        (["talk"], 0, [(0, 3, "max_messages")]),
        (["talk", "talk", 1], 2, [(2, 1, None)]),
        (["nope"], None, [(0, 0, "missing_messages")]),
        (["text"], None, [(0, 0, "missing_messages")]),
        (["proof", "other"], None, [(0, 0, None), (0, 0, None)]),
        ([], None, []),
    ],
    ids=[
        "all",
        "negative-cap",
        "cap",
        "zero",
        "once",
        "unknown",
        "not-json",
        "other-kinds",
        "none",
    ],
)
def test_account_per_span(asked, cap, entries):
    result = bring_back(TALK, asked, max_messages=cap)

    assert [(e["inserted"], e["skipped"], e["error"]) for e in result.artifacts] == entries


def test_inserted_messages_say_where_they_come_from():
    result = bring_back([], ["talk", "memo"])

    assert result.messages[0]["metadata"] == {
        "message_id": "m1",
        "rehydrated": True,
        "source_artifact_id": "talk",
    }
    assert result.messages[-1] == note_message("memo", "remember me", "T")
    assert result.artifacts[0]["preview"] == "user: m1\nuser: m2\nuser: m9"
    assert result.artifacts[1]["preview"] == "[MEMORY NOTE]\nremember me"
    assert [e["kind"] for e in result.artifacts] == ["conversation_span", "memory_note"]


def test_a_second_time_inserts_nothing():
    once = bring_back(TALK, ["talk", "memo"])

    again = bring_back(once.messages, ["talk", "memo"])

    assert again.inserted == 0
    assert again.messages == once.messages


def test_messages_without_ids_are_known_by_what_they_say():
    archive = an_archive(t={"messages": [{"role": "user", "content": "x"}] * 2})

    assert rehydrate([], ["t"], [], archive).inserted == 1


def test_previews_are_short():
    archive = an_archive(t={"messages": [{"role": "user", "content": "x" * 400}]})

    entry = rehydrate([], ["t"], [], archive).artifacts[0]

    assert len(entry["preview"]) == 360
    assert entry["preview"].endswith("…")


def test_summary_texts():
    heading = "[CONVERSATION HISTORY SUMMARY span_id=a1]: "
    about = {"kind": "memory_summary", "source_artifact_id": "a1"}
    messages = [
        {"role": "system", "content": f"{heading}we met", "metadata": about},
        {"role": "user", "content": "no summary", "metadata": about},
        {"role": "system", "content": "no source", "metadata": {"kind": "memory_summary"}},
        "junk",
    ]

    assert summary_texts(messages) == {"a1": "we met"}


class Store:
    """A host's store that raises for what it does not know."""

    def load_json(self, artifact_id):
        raise KeyError(artifact_id)

    def get_metadata(self, artifact_id):
        raise ValueError(artifact_id)


class Bare:
    """The least a host's store can be."""

    def load_json(self, artifact_id):
        return {"note": f"about {artifact_id}"}


@pytest.mark.parametrize(
    ("store", "query", "found"),
    [(Store(), "nothing", []), (Store(), "a1", ["a1"]), (Bare(), "about a1", ["a1"])],
    ids=["raises", "index-only", "no-metadata"],
)
def test_stores_of_hosts(store, query, found):
    wanted = SpanFilter.of(query=query)

    assert ids(filter_spans([a_span("a1")], wanted, Archive(store))) == found
    assert ids(filter_spans([a_span("a1")], wanted.without_query(), Archive(store))) == ["a1"]
