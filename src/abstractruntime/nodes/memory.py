"""Notes that outlive a step, and recalling them."""

from __future__ import annotations

from typing import ClassVar

from abstractruntime._json import JsonObject, JsonValue
from abstractruntime.nodes._base import (
    EffectNode,
    Element,
    Pin,
    PlannedEffect,
    Scope,
    register,
)
from abstractruntime.nodes.interaction import as_flag

_DEFAULT_LIMIT = 10


@register
class MemoryNote(EffectNode):
    type = "memory_note"
    family = "memory"
    bare_input = "content"
    doc = (
        "Stores a note with tags and sources in the run's, the session's or the global memory. A blank "
        "note fails the run."
    )
    inputs = (
        Pin("content", "string", default=""),
        Pin("tags", "object"),
        Pin("sources", "object"),
        Pin("location", "string"),
        Pin("scope", "string"),
        Pin("keep_in_context", "boolean", aliases=("keepInContext",)),
    )
    outputs = (Pin("note_id", "string"), Pin("raw", "object"))
    data_schema: ClassVar[JsonObject] = {
        "effectConfig": {"type": "object", "properties": {"keep_in_context": {"type": "boolean"}}},
    }

    def plan(self, element: Element, inputs: JsonObject, scope: Scope) -> PlannedEffect:
        note = inputs.get("content")
        tags = inputs.get("tags")
        payload: JsonObject = {
            "note": "" if note is None else str(note),
            "tags": tags if isinstance(tags, dict) else {},
        }
        sources = inputs.get("sources")
        payload |= {"sources": sources} if isinstance(sources, dict) and sources else {}
        payload |= _texts(inputs, "location", "scope")
        config = element.config("effectConfig")
        keep = inputs.get("keep_in_context")
        if keep is None:
            keep = config.get("keep_in_context", config.get("keepInContext"))
        payload |= {"keep_in_context": True} if as_flag(keep) else {}
        return PlannedEffect("memory_note", payload)

    def pins(self, element: Element, result: JsonValue) -> JsonObject:
        return {"note_id": _first(result).get("span_id"), "raw": result}

    def primary(self, element: Element, record: JsonObject) -> JsonValue:
        return record.get("note_id")


@register
class MemoryQuery(EffectNode):
    type = "memory_query"
    family = "memory"
    bare_input = "query"
    doc = "Finds notes and archived messages by text, tags, authors, places and time."
    inputs = (
        Pin("query", "string", default=""),
        Pin("limit", "number", default=_DEFAULT_LIMIT),
        Pin("recall_level", "string"),
        Pin("tags", "object"),
        Pin("tags_mode", "string"),
        Pin("usernames", "array"),
        Pin("locations", "array"),
        Pin("since", "string"),
        Pin("until", "string"),
        Pin("scope", "string"),
    )
    outputs = (
        Pin("results", "array"),
        Pin("rendered", "string"),
        Pin("span_ids", "array"),
        Pin("raw", "object"),
    )

    def plan(self, element: Element, inputs: JsonObject, scope: Scope) -> PlannedEffect:
        query = inputs.get("query")
        payload: JsonObject = {
            "query": "" if query is None else str(query),
            "limit_spans": _limit(inputs.get("limit")),
            "return": "both",
        }
        payload |= _texts(inputs, "recall_level")
        tags = inputs.get("tags")
        payload |= {"tags": tags} if isinstance(tags, dict) and tags else {}
        mode = str(inputs.get("tags_mode") or "").strip().lower()
        payload |= {"tags_mode": mode} if mode in ("all", "any") else {}
        for name in ("usernames", "locations"):
            value = inputs.get(name)
            payload |= {name: value} if isinstance(value, list) else {}
        payload |= _texts(inputs, "since", "until", "scope")
        return PlannedEffect("memory_query", payload)

    def pins(self, element: Element, result: JsonValue) -> JsonObject:
        meta, first = _first(result), _result(result)
        return {
            "results": meta.get("matches") or [],
            "rendered": first.get("output") or "",
            "span_ids": meta.get("span_ids") or [],
            "raw": result,
        }

    def primary(self, element: Element, record: JsonObject) -> JsonValue:
        return record["results"]


def _limit(value: JsonValue) -> int:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return _DEFAULT_LIMIT


def _texts(inputs: JsonObject, *names: str) -> JsonObject:
    found = {name: inputs.get(name) for name in names}
    return {n: v.strip() for n, v in found.items() if isinstance(v, str) and v.strip()}


def _result(result: JsonValue) -> JsonObject:
    results = result.get("results") if isinstance(result, dict) else None
    first = results[0] if isinstance(results, list) and results else {}
    return first if isinstance(first, dict) else {}


def _first(result: JsonValue) -> JsonObject:
    meta = _result(result).get("meta")
    return meta if isinstance(meta, dict) else {}
