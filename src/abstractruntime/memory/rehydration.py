"""Bringing archived messages and notes back into a conversation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from abstractruntime._json import JsonObject, isolate, mapping
from abstractruntime.memory.archive import Archive
from abstractruntime.memory.spans import Span, resolve_span_ids, span_id_of

SUMMARY_KIND: Final = "memory_summary"
NOTE_KIND: Final = "memory_note"
_REHYDRATED_KINDS = frozenset({"", "conversation_span", NOTE_KIND})
_PREVIEW_MESSAGES = 3
_PREVIEW_CHARS = 360


@dataclass(frozen=True, slots=True)
class Rehydration:
    """A conversation with what was inserted, and one entry per span asked for."""

    messages: list[JsonObject]
    artifacts: list[JsonObject]

    @property
    def inserted(self) -> int:
        return sum(entry["inserted"] for entry in self.artifacts)

    @property
    def skipped(self) -> int:
        return sum(entry["skipped"] for entry in self.artifacts)

    def to_dict(self) -> JsonObject:
        return {
            "inserted": self.inserted,
            "skipped": self.skipped,
            "artifacts": self.artifacts,
        }


def rehydrate(
    messages: Sequence[JsonObject],
    span_ids: Iterable[Any],
    spans: Sequence[Span],
    archive: Archive,
    *,
    placement: Any = "after_summary",
    dedup_by: str = "message_id",
    max_messages: int | None = None,
) -> Rehydration:
    """Insert copies of archived messages, each once; the given list stays as it is.

    Evidence and other kinds are listed and not inserted; an id without archived content
    reports `missing_messages`, one that met the cap `max_messages`.

    Args:
        messages: The conversation.
        span_ids: Artifact ids, or 1-based indexes into `spans`.
        spans: As `list_spans` gives them; ids need not be among them.
        archive: Where the contents are.
        placement: after_summary (last summary, else the leading system messages),
            after_system or end; anything else counts as after_summary.
        dedup_by: The metadata field that identifies a message; without it role, time and
            content do.
        max_messages: The most to insert over all spans; zero none, None or negative all.
    """
    cap = -1 if max_messages is None else max_messages
    work = _Work(cap, dedup_by, {_identity(m, dedup_by) for m in messages})
    by_id = {span_id_of(s): s for s in spans}
    entries = [
        _insert_span(artifact_id, by_id.get(artifact_id, {}), archive, work)
        for artifact_id in resolve_span_ids(span_ids, spans)
    ]
    place = _place(messages, str(placement or "").strip().lower())
    return Rehydration([*messages[:place], *work.inserted, *messages[place:]], entries)


@dataclass(slots=True)
class _Work:
    cap: int
    dedup_by: str
    seen: set[Any]
    inserted: list[JsonObject] = field(default_factory=list)

    @property
    def full(self) -> bool:
        return 0 <= self.cap <= len(self.inserted)


def _insert_span(artifact_id: str, span: Span, archive: Archive, work: _Work) -> JsonObject:
    kind = str(span.get("kind") or archive.tags(artifact_id).get("kind") or "")
    entry: JsonObject = {
        "span_id": artifact_id,
        "inserted": 0,
        "skipped": 0,
        "error": None,
        "kind": kind or None,
        "preview": None,
    }
    if kind not in _REHYDRATED_KINDS:
        return entry
    messages = _archived(artifact_id, kind, span, archive)
    if messages is None:
        return {**entry, "error": "missing_messages"}
    before, missed, capped = len(work.inserted), 0, False
    for message in messages:
        identity = _identity(message, work.dedup_by)
        if identity in work.seen or work.full:
            missed += 1
            capped = capped or identity not in work.seen
            continue
        work.seen.add(identity)
        work.inserted.append(_mark(message, artifact_id))
    return {
        **entry,
        "inserted": len(work.inserted) - before,
        "skipped": missed,
        "error": "max_messages" if capped else None,
        "preview": preview(messages, kind),
    }


def _archived(artifact_id: str, kind: str, span: Span, archive: Archive) -> list[JsonObject] | None:
    note = archive.note(artifact_id)
    if kind == NOTE_KIND or (not kind and note):
        created_at = archive.document(artifact_id).get("created_at") or span.get("created_at")
        return [note_message(artifact_id, note, created_at)] if note else None
    return archive.messages(artifact_id)


def note_message(span_id: str, note: str, created_at: Any) -> JsonObject:
    """Give a note as the system message that carries it in a conversation."""
    return {
        "role": "system",
        "content": f"[MEMORY NOTE]\n{note}",
        "timestamp": created_at,
        "metadata": {
            "kind": NOTE_KIND,
            "rehydrated": True,
            "source_artifact_id": span_id,
            "message_id": f"{NOTE_KIND}:{span_id}",
        },
    }


def _mark(message: JsonObject, artifact_id: str) -> JsonObject:
    copy: JsonObject = isolate(message)
    copy["metadata"] = {
        **mapping(copy.get("metadata")),
        "rehydrated": True,
        "source_artifact_id": artifact_id,
    }
    return copy


def _identity(message: JsonObject, dedup_by: str) -> Any:
    key = mapping(message.get("metadata")).get(dedup_by)
    if isinstance(key, str) and key.strip():
        return key.strip()
    return (message.get("role"), str(message.get("timestamp")), str(message.get("content")))


def _place(messages: Sequence[JsonObject], placement: str) -> int:
    if placement == "end":
        return len(messages)
    if placement != "after_system":
        summaries = [i for i, m in enumerate(messages) if is_summary(m)]
        if summaries:
            return summaries[-1] + 1
    return next((i for i, m in enumerate(messages) if m.get("role") != "system"), len(messages))


def is_summary(message: JsonObject) -> bool:
    """Tell whether a message stands for archived ones."""
    kind = mapping(message.get("metadata")).get("kind")
    return message.get("role") == "system" and bool(kind == SUMMARY_KIND)


def summary_texts(messages: Iterable[Any]) -> dict[str, str]:
    """Give the text of each summary by the artifact it stands for, without its heading."""
    texts: dict[str, str] = {}
    for message in messages:
        if not isinstance(message, dict) or not is_summary(message):
            continue
        artifact_id = str(message["metadata"].get("source_artifact_id") or "").strip()
        if artifact_id:
            heading = f"[CONVERSATION HISTORY SUMMARY span_id={artifact_id}]:"
            content = str(message.get("content") or "").strip()
            texts[artifact_id] = content.removeprefix(heading).strip()
    return texts


def preview(messages: Sequence[JsonObject], kind: str) -> str:
    """Give the beginning of archived messages: three of them, at most 360 characters."""
    lines = [
        str(m.get("content") or "") if kind == NOTE_KIND else f"{m.get('role')}: {m.get('content')}"
        for m in messages[:_PREVIEW_MESSAGES]
    ]
    text = "\n".join(lines)
    return text if len(text) <= _PREVIEW_CHARS else f"{text[: _PREVIEW_CHARS - 1]}…"
