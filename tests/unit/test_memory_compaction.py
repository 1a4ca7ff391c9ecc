"""Preparing a conversation for compaction."""

from __future__ import annotations

import pytest

from abstractruntime.memory.compaction import (
    normalize_messages,
    span_metadata_from_messages,
    split_for_compaction,
)


def normal(message):
    return normalize_messages([message], now_iso="NOW", new_id=lambda: "0")[0]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({}, {"role": "user", "content": "", "timestamp": "NOW"}),
        ({"role": " ", "content": 7}, {"role": "user", "content": "7", "timestamp": "NOW"}),
        ({"content": None, "timestamp": ""}, {"role": "user", "content": "", "timestamp": "NOW"}),
        (
            {"role": "tool", "content": "x", "timestamp": "T", "name": "n"},
            {"role": "tool", "content": "x", "timestamp": "T", "name": "n"},
        ),
    ],
    ids=["empty", "blank-role", "none", "complete"],
)
def test_normal_form(message, expected):
    assert normal(message) == {**expected, "metadata": {"message_id": "msg_0"}}


def test_ids_stay_and_originals_are_untouched():
    message = {"metadata": {"message_id": "own", "a": 1}}

    assert normal(message)["metadata"] == {"message_id": "own", "a": 1}
    assert message == {"metadata": {"message_id": "own", "a": 1}}


def test_what_is_no_object_is_dropped_and_new_ids_differ():
    first, second = normalize_messages([{}, "text", None, {}], now_iso=lambda: "NOW")

    assert first["timestamp"] == "NOW"
    assert first["metadata"]["message_id"] != second["metadata"]["message_id"]
    assert normalize_messages(None, now_iso="NOW") == []


@pytest.mark.parametrize(
    ("keep", "older", "recent"),
    [(2, "a", "bc"), (0, "abc", ""), (3, "", "abc"), (9, "", "abc"), (-1, "abc", "")],
)
def test_split(keep, older, recent):
    messages = [{"role": "user", "content": c} for c in "abc"]
    messages.insert(1, {"role": "system", "content": "s"})

    split = split_for_compaction(messages, preserve_recent=keep)

    assert "".join(m["content"] for m in split.older_messages) == older
    assert "".join(m["content"] for m in split.recent_messages) == recent
    assert [m["content"] for m in split.system_messages] == ["s"]
    assert split.non_system_count == 3


def test_span_metadata():
    messages = [
        {"timestamp": "T1", "metadata": {"message_id": "a"}},
        {},
        {"timestamp": "T2", "metadata": {"message_id": "b"}},
    ]

    assert span_metadata_from_messages(messages) == {
        "from_timestamp": "T1",
        "to_timestamp": "T2",
        "from_message_id": "a",
        "to_message_id": "b",
        "message_count": 3,
    }
    with pytest.raises(ValueError, match="at least one message"):
        span_metadata_from_messages([])
