"""Preparing a conversation for compaction: normal form, the split, and the facts of a span."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from abstractruntime._json import JsonObject, mapping
from abstractruntime._ports_system import random_hex
from abstractruntime.errors import UsageError
from abstractruntime.memory._stamps import Stamp, stamp_text


@dataclass(frozen=True, slots=True)
class CompactionSplit:
    """A conversation in three parts; the older part is what gets archived."""

    system_messages: list[JsonObject]
    older_messages: list[JsonObject]
    recent_messages: list[JsonObject]

    @property
    def non_system_count(self) -> int:
        return len(self.older_messages) + len(self.recent_messages)


def normalize_messages(
    messages: Iterable[Any] | None,
    *,
    now_iso: Stamp,
    new_id: Callable[[], str] = random_hex,
) -> list[JsonObject]:
    """Give copies in which every message has a role, text content, a timestamp and an id.

    What is no object is dropped. `metadata.message_id` and `timestamp` stay when they are
    not blank.
    """
    return [
        _normal_message(message, now_iso, new_id)
        for message in messages or []
        if isinstance(message, dict)
    ]


def _normal_message(message: JsonObject, now_iso: Stamp, new_id: Callable[[], str]) -> JsonObject:
    metadata = dict(mapping(message.get("metadata")))
    if not _text(metadata.get("message_id")):
        metadata["message_id"] = f"msg_{new_id()}"
    return {
        **message,
        "role": _text(message.get("role")) or "user",
        "content": _content(message.get("content")),
        "timestamp": _text(message.get("timestamp")) or stamp_text(now_iso),
        "metadata": metadata,
    }


def split_for_compaction(messages: list[JsonObject], *, preserve_recent: int) -> CompactionSplit:
    """Separate system messages, and keep the last `preserve_recent` others apart.

    Zero keeps none of them: everything but the system messages is older.
    """
    system = [m for m in messages if m.get("role") == "system"]
    others = [m for m in messages if m.get("role") != "system"]
    cut = max(0, len(others) - max(0, preserve_recent))
    return CompactionSplit(system, others[:cut], others[cut:])


def span_metadata_from_messages(messages: list[JsonObject]) -> JsonObject:
    """Give first and last timestamp and id, and the count, of messages in normal form.

    Raises:
        UsageError: there are no messages (also a ValueError).
    """
    if not messages:
        raise UsageError("a span needs at least one message", argument="messages")
    first, last = messages[0], messages[-1]
    return {
        "from_timestamp": _text(first.get("timestamp")) or None,
        "to_timestamp": _text(last.get("timestamp")) or None,
        "from_message_id": _message_id(first),
        "to_message_id": _message_id(last),
        "message_count": len(messages),
    }


def _message_id(message: JsonObject) -> str | None:
    return _text(mapping(message.get("metadata")).get("message_id")) or None


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _content(value: Any) -> str:
    return "" if value is None else str(value)
