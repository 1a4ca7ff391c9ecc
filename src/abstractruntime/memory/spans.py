"""Spans: the index of what a run remembers, and how to choose from it.

A span is a JSON object in `vars._runtime.memory_spans` that names an artifact
(`artifact_id`). Rules:
1. There is one order: newest first by `created_at`, of equal stamps the one stored later;
   1-based indexes everywhere count in it.
2. Evidence of tool calls lies in the same index, but is no memory: nothing here lists it.
3. Functions read; only `stored_spans` gives the objects themselves.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any, Final, TypeAlias

from abstractruntime._json import JsonObject, mapping
from abstractruntime.core.models import moment_or_none, parse_moment
from abstractruntime.memory.archive import Archive

Span: TypeAlias = JsonObject
SpanId: TypeAlias = str | int

CONNECT_BY: Final = ("topic", "person")
_ALWAYS_SHOWN = ("kind", "created_at", "from_timestamp", "to_timestamp")
_SHOWN_IF_SET = ("created_by", "location", "note_preview", "message_count", "summary_message_id")
_IMPLIED_TAGS = ("kind", "compression_mode", "focus")
_BEGINNING = datetime.min.replace(tzinfo=timezone.utc)


def stored_spans(variables: JsonObject) -> list[Span]:
    """Give the objects of the index as they are stored: oldest first, evidence included."""
    spans = mapping(variables.get("_runtime")).get("memory_spans")
    return [s for s in spans if isinstance(s, dict)] if isinstance(spans, list) else []


def list_spans(variables: JsonObject) -> list[Span]:
    """Give shallow copies of the memory spans, newest first; a span without artifact is none."""
    memory = (s for s in stored_spans(variables) if s.get("kind") != "evidence")
    return newest_first(dict(s) for s in memory if span_id_of(s))


def newest_first(spans: Iterable[Span]) -> list[Span]:
    """Order spans that are given in the order of storage."""
    return sorted(spans, key=lambda s: moment_or_none(s.get("created_at")) or _BEGINNING)[::-1]


def span_id_of(span: Span) -> str:
    """Give the artifact id, or empty text."""
    return str(span.get("artifact_id") or "").strip()


def resolve_span_ids(span_ids: Iterable[Any], spans: Sequence[Span]) -> list[str]:
    """Give artifact ids, each once, in the order asked for.

    Numbers and decimal text are 1-based indexes into `spans`; one outside is ignored.
    Other text passes as it is, known or not.
    """
    known = {span_id_of(s) for s in spans}
    resolved = (_resolve(item, spans, known) for item in span_ids)
    return list(dict.fromkeys(artifact_id for artifact_id in resolved if artifact_id))


def _resolve(item: Any, spans: Sequence[Span], known: set[str]) -> str:
    text = item.strip() if isinstance(item, str) else ""
    index = None if text in known else span_index(item)
    if index is None:
        return text
    return span_id_of(spans[index - 1]) if 1 <= index <= len(spans) else ""


def span_index(raw: Any) -> int | None:
    """Read a 1-based index, a number or decimal text; anything else is an id, or nothing."""
    if isinstance(raw, str):
        return int(raw) if raw.strip().isdecimal() else None
    return raw if isinstance(raw, int) and not isinstance(raw, bool) else None


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A closed interval of ISO-8601 moments; a moment without offset is UTC, a missing bound is open."""

    start: str | None = None
    end: str | None = None

    def contains(self, *, start: str | None, end: str | None) -> bool:
        """Tell whether a span from `start` to `end` meets the interval.

        A span without both stamps, or with unreadable ones, meets only the open interval.

        Raises:
            InvalidValue: a bound of the interval is no moment (also a ValueError).
        """
        if not self.start and not self.end:
            return True
        first, last = moment_or_none(start), moment_or_none(end)
        lower = parse_moment(self.start) if self.start else None
        upper = parse_moment(self.end) if self.end else None
        if first is None or last is None:
            return False
        return (lower is None or last >= lower) and (upper is None or first <= upper)


@dataclass(frozen=True, slots=True)
class SpanFilter:
    """What spans must be like; an empty field does not restrict. Text compares in lower case."""

    time_range: TimeRange = TimeRange()
    tags: Mapping[str, frozenset[str]] = field(default_factory=dict)
    any_tag: bool = False
    authors: frozenset[str] = frozenset()
    locations: frozenset[str] = frozenset()
    query: str = ""

    @classmethod
    def of(
        cls,
        *,
        time_range: TimeRange | None = None,
        tags: Any = None,
        tags_mode: Any = "all",
        authors: Any = None,
        locations: Any = None,
        query: Any = None,
    ) -> SpanFilter:
        """Build a filter from what callers pass: text or lists of text, tags as `{name: value or list}`.

        `tags_mode` any (or) needs one of the tags; everything else needs all of them.
        """
        pairs = tags.items() if isinstance(tags, Mapping) else ()
        wanted = {str(name).strip(): lowered(value) for name, value in pairs}
        return cls(
            time_range=time_range or TimeRange(),
            tags={name: values for name, values in wanted.items() if name and values},
            any_tag=str(tags_mode or "").strip().lower() in ("any", "or"),
            authors=lowered(authors),
            locations=lowered(locations),
            query=str(query or "").strip().lower(),
        )

    def without_query(self) -> SpanFilter:
        """Give the same filter by metadata only, to choose what a deep scan reads."""
        return replace(self, query="")


def lowered(value: Any) -> frozenset[str]:
    """Give the texts of a value or list, trimmed, in lower case, without blanks."""
    items = value if isinstance(value, list | tuple | set | frozenset) else [value]
    texts = (str(item).strip().lower() for item in items if item is not None)
    return frozenset(text for text in texts if text)


def filter_spans(
    spans: Iterable[Span],
    wanted: SpanFilter,
    archive: Archive,
    *,
    summaries: Mapping[str, str] | None = None,
    limit: int = -1,
) -> list[Span]:
    """Give the spans that match, in the order given, at most `limit` of them; negative is no limit.

    Args:
        spans: As `list_spans` gives them.
        wanted: The conditions.
        archive: For the tags and texts of artifacts; read only when a condition needs them.
        summaries: Summary text by artifact id, part of what the query searches.
        limit: Zero gives none.
    """
    found: list[Span] = []
    for span in spans:
        if 0 <= limit <= len(found):
            break
        if _matches(span, wanted, archive, summaries or {}):
            found.append(span)
    return found


def _matches(
    span: Span, wanted: SpanFilter, archive: Archive, summaries: Mapping[str, str]
) -> bool:
    # Order: what needs no artifact comes first.
    return (
        wanted.time_range.contains(start=span.get("from_timestamp"), end=span.get("to_timestamp"))
        and (not wanted.authors or _lower(span.get("created_by")) in wanted.authors)
        and (not wanted.tags or _matches_tags(span_tags(span, archive), wanted))
        and (not wanted.locations or _location(span, archive) in wanted.locations)
        and (not wanted.query or wanted.query in search_text(span, archive, summaries))
    )


def _matches_tags(tags: JsonObject, wanted: SpanFilter) -> bool:
    combine = any if wanted.any_tag else all
    return combine(_lower(tags.get(name)) in values for name, values in wanted.tags.items())


def span_tags(span: Span, archive: Archive) -> JsonObject:
    """Give the tags of a span: those of its artifact, then its own, then kind, mode and focus.

    Tags that were put on the span later (`tagged_at`) come before those of the artifact.
    """
    # Compat: 0.4.x let the artifact win here too, so a query missed a tag that was changed.
    own = mapping(span.get("tags"))
    return {
        **{name: span[name] for name in _IMPLIED_TAGS if span.get(name)},
        **own,
        **archive.tags(span_id_of(span)),
        **(own if span.get("tagged_at") else {}),
    }


def _location(span: Span, archive: Archive) -> str:
    return _lower(span.get("location")) or _lower(span_tags(span, archive).get("location"))


def search_text(span: Span, archive: Archive, summaries: Mapping[str, str] | None = None) -> str:
    """Give everything a query searches, in lower case; archived messages are no part of it."""
    known = summaries or {}
    artifact_id = span_id_of(span)
    parts = [
        known.get(artifact_id, ""),
        archive.note(artifact_id),
        *(known.get(source, "") for source in archive.note_sources(artifact_id)),
        json.dumps(span, ensure_ascii=False, sort_keys=True, default=str),
        archive.content_type(artifact_id),
        json.dumps(archive.tags(artifact_id), ensure_ascii=False, sort_keys=True, default=str),
    ]
    return "\n".join(part for part in parts if part).lower()


def spans_with_message(
    spans: Iterable[Span],
    query: str,
    archive: Archive,
    *,
    max_spans: int,
    max_messages: int,
) -> list[Span]:
    """Give the spans in whose archived messages the query occurs.

    Reads the first `max_spans` conversations, and of each the first `max_messages` messages.
    """
    needle = query.strip().lower()
    found: list[Span] = []
    scanned = 0
    for span in spans:
        if scanned >= max_spans or not needle:
            break
        messages = archive.messages(span_id_of(span))
        if messages is None:
            continue
        scanned += 1
        if any(needle in _lower(m.get("content")) for m in messages[: max(0, max_messages)]):
            found.append(span)
    return found


def connected_spans(
    selected: Sequence[Span],
    spans: Sequence[Span],
    archive: Archive,
    *,
    hops: int = 1,
    connect_by: Iterable[str] = CONNECT_BY,
    limit: int = 0,
) -> list[Span]:
    """Give the selected spans, then their neighbours in time, then those that share a tag value.

    Args:
        selected: Some of `spans`.
        spans: The whole list, newest first.
        archive: For the tags of artifacts.
        hops: How far neighbours reach on either side; zero gives none.
        connect_by: Names of the tags that connect.
        limit: The most spans to give; never fewer than were selected.
    """
    names = tuple(connect_by)
    chosen = {span_id_of(s): s for s in selected}
    links = {link for s in selected for link in _links(s, names, archive)}
    related = (s for s in spans if links.intersection(_links(s, names, archive)))
    for span in [*_neighbours(chosen, spans, max(0, hops)), *related]:
        chosen.setdefault(span_id_of(span), span)
    return list(chosen.values())[: max(limit, len(selected))]


def _neighbours(chosen: Mapping[str, Span], spans: Sequence[Span], hops: int) -> list[Span]:
    places = [index for index, span in enumerate(spans) if span_id_of(span) in chosen]
    near: list[Span] = []
    for distance in range(1, hops + 1):
        beside = (place + step for place in places for step in (-distance, distance))
        near.extend(spans[index] for index in beside if 0 <= index < len(spans))
    return near


def _links(span: Span, names: tuple[str, ...], archive: Archive) -> set[tuple[str, str]]:
    tags = span_tags(span, archive)
    return {(name, _lower(tags.get(name))) for name in names if _lower(tags.get(name))}


def describe_span(span: Span) -> JsonObject:
    """Give the facts of a span as `meta.matches` shows them."""
    return {
        "span_id": span_id_of(span),
        **{name: span.get(name) for name in _ALWAYS_SHOWN},
        "tags": mapping(span.get("tags")),
        **{name: span[name] for name in _SHOWN_IF_SET if span.get(name)},
    }


def _lower(value: Any) -> str:
    return "" if value is None else str(value).strip().lower()
