"""The stored form of commands: what is written, and what of other writers is read."""

from __future__ import annotations

import pytest

from abstractruntime.core.commands import (
    Answer,
    Cancel,
    Command,
    Deliver,
    FailWait,
    Pause,
    SetLimits,
    Unknown,
    Unpause,
)

STORED = [
    (Cancel("late"), "cancel", {"reason": "late"}),
    (Cancel(), "cancel", {"reason": None}),
    (Cancel("over", if_listening=True), "cancel", {"reason": "over", "if_listening": True}),
    (Pause("lunch"), "pause", {"reason": "lunch"}),
    (Unpause(), "unpause", {}),
    (
        Answer("k", 7, "ada", 3),
        "resume",
        {"wait_key": "k", "payload": 7, "actor": "ada", "occurrence": 3},
    ),
    (Deliver("k", False), "deliver", {"wait_key": "k", "payload": False}),
    (FailWait("k", "no"), "fail_wait", {"wait_key": "k", "error": "no"}),
    (SetLimits({"max_tokens": 1}), "limits", {"updates": {"max_tokens": 1}}),
    (Unknown("dance", {"now": True}), "dance", {"now": True}),
]


@pytest.mark.parametrize(("request_", "kind", "payload"), STORED)
def test_a_command_is_stored_and_read_back(request_, kind, payload):
    stored = {"id": "c", "kind": kind, "payload": payload, "created_at": "t"}

    assert list(Command("c", request_, "t").to_dict().items()) == list(stored.items())
    assert Command.from_dict(stored) == Command("c", request_, "t")


@pytest.mark.parametrize(
    ("kind", "payload", "request_"),
    [
        ("resume", {"payload": 1}, Answer(payload=1)),
        ("resume", {"wait_key": 7}, Answer("7")),
        ("cancel", {"reason": 5, "if_listening": 1}, Cancel("5", if_listening=True)),
        ("fail_wait", {"error": None}, FailWait(None, "no reason given")),
        ("limits", {"updates": [1]}, SetLimits({})),
        ("pause", {"since": "newer"}, Pause()),
        ("unpause", None, Unpause()),
    ],
)
def test_what_others_wrote_is_read_as_far_as_it_is_understood(kind, payload, request_):
    stored = {"id": "c", "kind": kind, "payload": payload}

    assert Command.from_dict(stored) == Command("c", request_)


@pytest.mark.parametrize(
    "stored",
    [
        None,
        [],
        {"id": "c"},
        {"id": 7, "kind": "cancel"},
        {"id": "c", "kind": "cancel", "payload": [1]},
        {"id": "c", "kind": "cancel", "created_at": 7},
    ],
)
def test_anything_else_is_no_command(stored):
    with pytest.raises(ValueError, match="a command has"):
        Command.from_dict(stored)
