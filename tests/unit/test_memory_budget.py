"""Token estimates, and trimming to a budget."""

from __future__ import annotations

import sys
import types

import pytest

from abstractruntime.memory import token_budget
from abstractruntime.memory.token_budget import (
    estimate_message_tokens,
    estimate_tokens,
    trim_messages_to_max_input_tokens,
)


@pytest.fixture(autouse=True)
def no_library(monkeypatch):
    monkeypatch.setattr(token_budget, "_library_count", lambda: None)


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("a", 1), ("a" * 7, 1), ("a" * 8, 2)])
def test_estimates(text, tokens):
    assert estimate_tokens(text) == tokens


def test_messages_count_with_their_role():
    assert estimate_message_tokens({"role": "user", "content": "a" * 10}) == 4


def test_the_library_counts_where_it_is_installed(monkeypatch):
    monkeypatch.undo()
    library = types.ModuleType("abstractcore.utils.token_utils")
    library.TokenUtils = types.SimpleNamespace(estimate_tokens=lambda text, model: 42)
    for name in ("abstractcore", "abstractcore.utils"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "abstractcore.utils.token_utils", library)
    monkeypatch.setattr(token_budget, "_library_count", token_budget._library_count.__wrapped__)

    assert estimate_tokens("text", model="m") == 42


def a_message(text, role="user"):
    # "user: " and two characters are two tokens.
    return {"role": role, "content": text}


@pytest.mark.parametrize(
    ("budget", "kept"),
    [
        (100, "s1 aa s2 bb cc"),
        (8, "s1 s2 bb cc"),
        ("8", "s1 s2 bb cc"),
        (7.9, "s1 s2 cc"),
        (1, "s1 s2 cc"),
        (0, "s1 aa s2 bb cc"),
        (-5, "s1 aa s2 bb cc"),
        ("lots", "s1 aa s2 bb cc"),
        (None, "s1 aa s2 bb cc"),
        (True, "s1 aa s2 bb cc"),
    ],
    ids=str,
)
def test_trimming(budget, kept):
    messages = [
        a_message("s1", "system"),
        a_message("aa"),
        a_message("s2", "system"),
        a_message("bb"),
        a_message("cc"),
    ]

    trimmed = trim_messages_to_max_input_tokens(messages, max_input_tokens=budget)

    assert [m["content"] for m in trimmed] == kept.split()


def test_trimming_stops_at_the_first_that_does_not_fit():
    messages = [a_message("aa"), a_message("b" * 400), a_message("cc")]

    assert trim_messages_to_max_input_tokens(messages, max_input_tokens=50) == messages[2:]


def test_only_system_messages():
    messages = [a_message("s", "system")]

    assert trim_messages_to_max_input_tokens(messages, max_input_tokens=1) == messages
    assert trim_messages_to_max_input_tokens([], max_input_tokens=1) == []
