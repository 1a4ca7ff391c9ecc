"""Estimating tokens, and trimming a conversation to a budget of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

from abstractruntime._json import JsonObject

CHARS_PER_TOKEN = 4


def estimate_tokens(text: str, *, model: str | None = None) -> int:
    """Estimate how many tokens a text takes: none if empty, else at least one.

    The count is AbstractCore's where that is installed, and a quarter of the characters
    elsewhere.
    """
    if not text:
        return 0
    count = _library_count()
    if count is not None:
        return int(count(text, model))
    return max(1, len(text) // CHARS_PER_TOKEN)


@cache
def _library_count() -> Callable[[str, str | None], Any] | None:
    try:
        library = import_module("abstractcore.utils.token_utils")
    except ImportError:
        return None
    count: Callable[[str, str | None], Any] = library.TokenUtils.estimate_tokens
    return count


def estimate_message_tokens(message: JsonObject, *, model: str | None = None) -> int:
    """Estimate a message as the text `role: content`."""
    return estimate_tokens(f"{message.get('role')}: {message.get('content')}", model=model)


def trim_messages_to_max_input_tokens(
    messages: list[JsonObject], *, max_input_tokens: Any, model: str | None = None
) -> list[JsonObject]:
    """Give the messages that fit, in their order.

    System messages and the newest other one always stay, even beyond the budget; older ones
    join them, newest first, until the first that does not fit. Without a positive budget
    everything stays.
    """
    left = _budget(max_input_tokens)
    if left is None:
        return list(messages)
    system = {index for index, m in enumerate(messages) if m.get("role") == "system"}
    others = [index for index in range(len(messages)) if index not in system]
    kept = {*system, *others[-1:]}
    left -= sum(estimate_message_tokens(messages[index], model=model) for index in kept)
    for index in reversed(others[:-1]):
        left -= estimate_message_tokens(messages[index], model=model)
        if left < 0:
            break
        kept.add(index)
    return [message for index, message in enumerate(messages) if index in kept]


def _budget(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    try:
        budget = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return budget if budget > 0 else None
