"""Rendering recalled spans as the text that a model reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from abstractruntime._json import mapping
from abstractruntime.core.models import JsonObject
from abstractruntime.memory.archive import Archive
from abstractruntime.memory.spans import Span, span_id_of

_SHOWN_SOURCES = 12
_INDENT = "    "


def render_spans(
    spans: list[Span], archive: Archive, summaries: Mapping[str, str], *, max_messages: int = -1
) -> str:
    """Render spans with their notes and messages.

    Args:
        spans: In the order to show.
        archive: Where notes and messages are.
        summaries: Summary text by artifact id.
        max_messages: The most messages to show over all spans; negative shows all.
    """
    if not spans:
        return "No matching memory spans."
    blocks = ["Recalled memory spans (provenance-preserving):"]
    left = max_messages
    for index, span in enumerate(spans, start=1):
        messages = archive.messages(span_id_of(span)) or []
        shown = messages if left < 0 else messages[:left]
        left -= len(shown) if left >= 0 else 0
        body = [*_note_lines(span, archive), *_message_lines(shown, len(messages))]
        blocks.append("\n".join([*_head_lines(index, span, summaries), *body]))
    return "\n\n".join(blocks)


def _head_lines(index: int, span: Span, summaries: Mapping[str, str]) -> list[str]:
    span_id, count = span_id_of(span), span.get("message_count") or ""
    kind, created_at = span.get("kind"), span.get("created_at")
    facts: JsonObject = {
        "time_range": f"{span.get('from_timestamp')} .. {span.get('to_timestamp')}",
        "created_by": span.get("created_by"),
        "location": span.get("location"),
        "tags": _tags_text(span.get("tags")),
        "summary": summaries.get(span_id),
    }
    first = f"[{index}] span_id={span_id} kind={kind} msgs={count} created_at={created_at}"
    return [first, *(f"{_INDENT}{name}: {value}" for name, value in facts.items() if value)]


def _tags_text(tags: Any) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(mapping(tags).items()))


def _note_lines(span: Span, archive: Archive) -> list[str]:
    span_id = span_id_of(span)
    note = archive.note(span_id)
    if not note:
        return []
    sources = mapping(archive.document(span_id).get("sources"))
    facts = {"note": note, "sources.run_id": sources.get("run_id")}
    for name in ("span_ids", "message_ids"):
        ids = sources.get(name)
        ids = ids if isinstance(ids, list) else []
        facts[f"sources.{name}"] = ", ".join(str(i) for i in ids[:_SHOWN_SOURCES])
    return [f"{_INDENT}{name}: {value}" for name, value in facts.items() if value]


def _message_lines(shown: list[JsonObject], total: int) -> list[str]:
    lines = [
        f"{_INDENT}- {m.get('timestamp') or ''} {m.get('role') or 'unknown'}: {m.get('content')}"
        for m in shown
    ]
    hidden = total - len(shown)
    return [*lines, f"{_INDENT}({hidden} more messages)"] if hidden else lines
