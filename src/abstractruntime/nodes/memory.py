"""Notes that outlive a step, recalling them, and archiving and restoring the conversation."""

from __future__ import annotations

from abstractruntime._json import JsonObject, JsonValue
from abstractruntime.nodes._coerce import as_list, whole_or
from abstractruntime.nodes.base import (
    EffectNode,
    Element,
    Example,
    Pin,
    PlannedEffect,
    Scope,
    register,
)
from abstractruntime.nodes.interaction import as_flag
from abstractruntime.nodes.keys import FLAG, older, settings

_DEFAULT_LIMIT = 10
_DEFAULT_PLACEMENT = "after_summary"
_PLACEMENTS = (_DEFAULT_PLACEMENT, "after_system", "end")
_SCOPES = ("run", "session", "global")
_LEVELS = ("urgent", "standard", "deep")


def _executed(output: str, **facts: JsonValue) -> JsonObject:
    return {"mode": "executed", "results": [{"success": True, "output": output, **facts}]}


_NOTED = _executed("Stored memory_note span_id=n1", meta={"span_id": "n1"})
_FOUND = _executed("likes tea", meta={"matches": [{"span_id": "n1"}], "span_ids": ["n1"]})
_TAGGED = _executed("tagged n1")
_COMPACTED = _executed("compacted", meta={"span_id": "a1"})
_REHYDRATED: JsonObject = {"inserted": 4, "skipped": 1, "artifacts": ["a1"]}


@register
class MemoryNoteNode(EffectNode):
    type = "memory_note"
    needs = ("content",)
    family = "memory"
    capability = "memory"
    bare_input = "content"
    doc = (
        "Stores a note with tags and sources in the run's, the session's or the global memory. A blank "
        "note fails the run."
    )
    inputs = (
        Pin("content", "string", default="", doc="the note"),
        Pin("tags", "object", doc="texts by name; `kind` belongs to the runtime"),
        Pin("sources", "object", doc="what it is about: run_id, span_ids, message_ids"),
        Pin("location", "string", doc="where it was made"),
        Pin(
            "scope",
            "string",
            doc="run, session or global; run when nothing is given",
            choices=_SCOPES,
        ),
        Pin(
            "keep_in_context",
            "boolean",
            aliases=("keepInContext",),
            doc="also add it to the run's conversation",
        ),
    )
    primary_pin = "note_id"
    outputs = (Pin("note_id", "string"), Pin("raw", "object"))
    data_schema = settings("effectConfig", keep_in_context=FLAG, keepInContext=older(FLAG))
    examples = (
        Example(
            {"content": "likes tea", "tags": {"topic": "taste"}},
            output={"note_id": "n1", "raw": _NOTED},
            asks={"memory_note": {"note": "likes tea", "tags": {"topic": "taste"}}},
            result=_NOTED,
        ),
    )

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


@register
class MemoryQueryNode(EffectNode):
    type = "memory_query"
    family = "memory"
    capability = "memory"
    bare_input = "query"
    doc = "Finds notes and archived messages by text, tags, authors, places and time."
    inputs = (
        Pin("query", "string", default="", doc="text to search for; empty finds everything"),
        Pin("limit", "number", default=_DEFAULT_LIMIT, doc="how many at most"),
        Pin(
            "recall_level",
            "string",
            doc="urgent, standard or deep; sets and bounds the limits",
            choices=_LEVELS,
        ),
        Pin("tags", "object", doc="a text, or a list of texts, by name"),
        Pin(
            "tags_mode",
            "string",
            doc="all or any of the tags; all when nothing is given",
            choices=("all", "any"),
        ),
        Pin("usernames", "array", doc="authors"),
        Pin("locations", "array"),
        Pin("since", "string", doc="ISO 8601"),
        Pin("until", "string", doc="ISO 8601"),
        Pin(
            "scope",
            "string",
            doc="run, session, global or all; run when nothing is given",
            choices=(*_SCOPES, "all"),
        ),
    )
    primary_pin = "results"
    outputs = (
        Pin("results", "array", doc="what was found, newest first"),
        Pin("rendered", "string", doc="the same as text for a prompt"),
        Pin("span_ids", "array"),
        Pin("raw", "object"),
    )
    examples = (
        Example(
            {"query": "tea"},
            output={
                "results": [{"span_id": "n1"}],
                "rendered": "likes tea",
                "span_ids": ["n1"],
                "raw": _FOUND,
            },
            asks={"memory_query": {"query": "tea", "limit_spans": 10, "return": "both"}},
            result=_FOUND,
        ),
    )
    compat = (
        "Effects 24: `limit` is 10 when nothing is given, as 0.4.2 did, not 5 as its editor says."
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


@register
class MemoryTagNode(EffectNode):
    type = "memory_tag"
    needs = ("span_id",)
    family = "memory"
    capability = "memory"
    doc = (
        "Puts tags on a stored note or archive, which `span_id` names by its id, or by its place: 1 is the "
        "newest. Tags are added to those it has; with `merge` off they replace them. A missing span, an "
        "unknown one, or no tags at all fails the run."
    )
    inputs = (
        Pin("span_id", "string", aliases=("spanId",), doc="id of a note or archive, or its place"),
        Pin("tags", "object", doc="texts by name; `kind` belongs to the runtime"),
        Pin("merge", "boolean", doc="add to the present tags; true when nothing is given"),
        Pin("scope", "string", doc="run, session, global or all", choices=(*_SCOPES, "all")),
    )
    primary_pin = "rendered"
    outputs = (
        Pin("success", "boolean"),
        Pin("rendered", "string"),
        Pin("results", "array"),
        Pin("raw", "object"),
    )
    examples = (
        Example(
            {"span_id": "n1", "tags": {"topic": "taste"}},
            output={
                "success": True,
                "rendered": "tagged n1",
                "results": _TAGGED["results"],
                "raw": _TAGGED,
            },
            asks={"memory_tag": {"span_id": "n1", "tags": {"topic": "taste"}}},
            result=_TAGGED,
        ),
    )
    compat = "Kernel 4.11: places count from the newest span, as in every other memory node."

    def plan(self, element: Element, inputs: JsonObject, scope: Scope) -> PlannedEffect:
        tags = inputs.get("tags")
        payload: JsonObject = {
            "span_id": inputs.get("span_id"),
            "tags": tags if isinstance(tags, dict) else {},
        }
        merge = inputs.get("merge")
        payload |= {} if merge is None else {"merge": as_flag(merge)}
        return PlannedEffect("memory_tag", payload | _texts(inputs, "scope"))

    def pins(self, element: Element, result: JsonValue) -> JsonObject:
        first = _result(result)
        return {
            "success": first.get("success") is True,
            "rendered": first.get("output") or "",
            "results": result.get("results") if isinstance(result, dict) else [],
            "raw": result,
        }


@register
class MemoryCompactNode(EffectNode):
    type = "memory_compact"
    family = "memory"
    capability = "memory"
    doc = (
        "Archives the older messages of the run's conversation and leaves a summary in their place. The "
        "newest `preserve_recent` messages stay as they are. `span_id` names the archive, and is null "
        "when there was nothing to archive. Without a summarizer of the host the summary costs one model "
        "call, in a run of its own."
    )
    inputs = (
        Pin("preserve_recent", "number", doc="how many messages stay; 6 when nothing is given"),
        Pin(
            "compression_mode",
            "string",
            doc="light, standard or heavy",
            choices=("light", "standard", "heavy"),
        ),
        Pin("focus", "string", doc="what the summary must keep"),
    )
    primary_pin = "span_id"
    outputs = (Pin("span_id", "string"), Pin("raw", "object"))
    examples = (
        Example(
            {"preserve_recent": 0, "focus": "decisions"},
            output={"span_id": "a1", "raw": _COMPACTED},
            asks={"memory_compact": {"preserve_recent": 0, "focus": "decisions"}},
            result=_COMPACTED,
        ),
    )
    compat = "Effects 24: `preserve_recent` 0 keeps nothing, instead of 6 messages."

    def plan(self, element: Element, inputs: JsonObject, scope: Scope) -> PlannedEffect:
        payload: JsonObject = {}
        if inputs.get("preserve_recent") is not None:
            payload["preserve_recent"] = inputs["preserve_recent"]
        return PlannedEffect(
            "memory_compact", payload | _texts(inputs, "compression_mode", "focus")
        )

    def pins(self, element: Element, result: JsonValue) -> JsonObject:
        return {"span_id": _first(result).get("span_id"), "raw": result}


@register
class MemoryRehydrateNode(EffectNode):
    type = "memory_rehydrate"
    needs = ("span_ids",)
    family = "memory"
    capability = "memory"
    doc = (
        "Puts archived messages and notes back into the run's conversation. Messages that are there "
        "already are not inserted twice; an unknown id is listed in `artifacts` and fails nothing."
    )
    inputs = (
        Pin(
            "span_ids",
            "array",
            aliases=("span_id", "spanId"),
            doc="ids, or one id",
            also=("string", "number"),
        ),
        Pin(
            "placement",
            "string",
            default=_DEFAULT_PLACEMENT,
            doc="after_summary, after_system or end",
            choices=_PLACEMENTS,
        ),
        Pin("max_messages", "number", doc="how many messages at most; 0 inserts none"),
        Pin(
            "recall_level",
            "string",
            doc="urgent, standard or deep; sets and bounds max_messages",
            choices=_LEVELS,
        ),
    )
    primary_pin = "raw"
    outputs = (
        Pin("inserted", "number"),
        Pin("skipped", "number"),
        Pin("artifacts", "array"),
        Pin("raw", "object"),
    )
    examples = (
        Example(
            {"span_ids": "a1", "max_messages": 20},
            output={**_REHYDRATED, "raw": _REHYDRATED},
            asks={
                "memory_rehydrate": {
                    "span_ids": ["a1"],
                    "placement": "after_summary",
                    "max_messages": 20,
                }
            },
            result=_REHYDRATED,
        ),
    )

    def plan(self, element: Element, inputs: JsonObject, scope: Scope) -> PlannedEffect:
        placement = str(inputs.get("placement") or "").strip().lower()
        payload: JsonObject = {
            "span_ids": as_list(inputs.get("span_ids")),
            "placement": placement if placement in _PLACEMENTS else _DEFAULT_PLACEMENT,
        }
        cap = whole_or(inputs.get("max_messages"), None)
        payload |= {} if cap is None else {"max_messages": cap}
        return PlannedEffect("memory_rehydrate", payload | _texts(inputs, "recall_level"))

    def pins(self, element: Element, result: JsonValue) -> JsonObject:
        facts = result if isinstance(result, dict) else {}
        return {
            "inserted": facts.get("inserted", 0),
            "skipped": facts.get("skipped", 0),
            "artifacts": facts.get("artifacts") or [],
            "raw": result,
        }


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
