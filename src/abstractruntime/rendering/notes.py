"""What a record tells the person who watches, and previews of values."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from abstractruntime._json import mapping
from abstractruntime.core.record_fields import (
    effect_payload,
    effect_type,
    record_status,
    result_object,
    terminal_status,
    text_or_none,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from abstractruntime._json import JsonValue

PREVIEW_CHARS: Final = 2000


@dataclass(frozen=True, slots=True)
class Note:
    """Text that a step meant for the person watching: `kind` is its level or event name."""

    kind: str
    text: str


def preview(value: JsonValue) -> str:
    """Give compact JSON, cut after 2000 characters with an ellipsis; total over any value."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    return _shorten(text)


def _shorten(text: str) -> str:
    return text if len(text) <= PREVIEW_CHARS else text[: PREVIEW_CHARS - 1] + "…"


def note_of(record: Mapping[str, Any]) -> Note | None:
    """Give the text of a message to the user: `answer_user`, or an `abstract.*` event."""
    payload, kind = effect_payload(record), effect_type(record)
    if record_status(record) != "completed":
        return None
    if kind == "answer_user":
        shown = result_object(record).get("message", payload.get("message"))
        level = text_or_none(payload.get("level")) or "message"
        return Note(level, _plain(shown))
    name = text_or_none(payload.get("name")) or ""
    if kind != "emit_event" or not name.startswith("abstract."):
        return None
    body = payload.get("payload")
    text = mapping(body).get("text", mapping(body).get("message", body))
    if terminal_status(record) is not None:
        # The word of the ledger, unless what became of the run is another.
        text = result_object(record).get("outcome", text)
    return Note(name, _plain(text))


def _plain(value: JsonValue) -> str:
    return _shorten(value) if isinstance(value, str) else preview(value)
