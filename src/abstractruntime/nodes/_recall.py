"""Memory sources: what a model call or an agent recalls before it asks.

Recalled spans are put into the run's conversation and stay there. What the knowledge graph
knows is text for one prompt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from abstractruntime._json import JsonObject, JsonValue, isolate
from abstractruntime.nodes._settings import as_number, object_messages
from abstractruntime.nodes.base import Pin, Stage
from abstractruntime.nodes.interaction import as_flag

KG_MARKER = "## KG ACTIVE MEMORY"
_SPAN_QUERY, _SPAN_REHYDRATE, _KG_QUERY = "span_query", "span_rehydrate", "kg_query"
_DEFAULT_SPAN_MESSAGES = 80
_DEFAULT_KG_TOKENS = 1200

MEMORY_PINS = (
    Pin("memory", "memory", "Any of the following settings in one object; single pins win."),
    Pin("use_span_memory", "boolean", "Recall archived messages and notes first."),
    Pin("use_kg_memory", "boolean", "Recall from the knowledge graph first."),
    Pin("use_session_attachments", "boolean", "List the session's attachments, or do not."),
    Pin("use_semantic_search", "boolean", "Accepted, and not supported."),
    Pin("memory_query", "string", "What to recall; the prompt when it is empty."),
    Pin(
        "memory_scope",
        "string",
        "Whose memory: run (default), session, global or all.",
        choices=("run", "session", "global", "all"),
    ),
    Pin(
        "recall_level",
        "string",
        "How hard to try: urgent, standard or deep.",
        choices=("urgent", "standard", "deep"),
    ),
    Pin("max_span_messages", "number", "The most messages to bring back."),
    Pin("kg_max_input_tokens", "number", "The most tokens for facts of the graph."),
    Pin("kg_limit", "number", "The most facts."),
    Pin("kg_min_score", "number", "How similar facts must be."),
)


def _whole(value: JsonValue) -> int | None:
    number = as_number(value, int, 0)
    return int(number) if number > 0 else None


def _score(value: JsonValue) -> float | None:
    number = as_number(value, float, -1.0)
    return number if number >= 0 else None


def _word(value: JsonValue) -> str | None:
    return value.strip() or None if isinstance(value, str) else None


def _lower(value: JsonValue) -> str | None:
    return (_word(value) or "").lower() or None


_READERS: dict[str, Callable[[JsonValue], JsonValue]] = {
    "use_span_memory": as_flag,
    "use_kg_memory": as_flag,
    "use_session_attachments": as_flag,
    "use_semantic_search": as_flag,
    "memory_query": _word,
    "memory_scope": _lower,
    "recall_level": _lower,
    "max_span_messages": _whole,
    "kg_max_input_tokens": _whole,
    "kg_limit": _whole,
    "kg_min_score": _score,
}


@dataclass(frozen=True, slots=True)
class MemorySources:
    """What to recall; `settings` holds what the author set, read and in a fixed order."""

    settings: JsonObject
    query: str = ""
    model: str | None = None

    @classmethod
    def of(cls, inputs: JsonObject, *, fallback: str, model: str | None = None) -> MemorySources:
        """Read the memory pins; `fallback` is the query when none is given."""
        bundle = inputs.get("memory")
        bundle = bundle if isinstance(bundle, dict) else {}
        settings: JsonObject = {}
        for name, read in _READERS.items():
            given = inputs.get(name)
            given = bundle.get(name) if given is None else given
            value = None if given is None else read(given)
            if value is not None:
                settings[name] = value
        return cls(settings, (settings.get("memory_query") or fallback).strip(), model)

    @property
    def warnings(self) -> list[str]:
        """Say which settings were chosen for the author, or have no effect."""
        found = []
        if not self.settings.get("recall_level"):
            for switch, name, default in (
                ("use_span_memory", "max_span_messages", _DEFAULT_SPAN_MESSAGES),
                ("use_kg_memory", "kg_max_input_tokens", _DEFAULT_KG_TOKENS),
            ):
                if self.settings.get(switch) and name not in self.settings:
                    found.append(f"{name} is {default}: neither it nor recall_level is set")
        if self.settings.get("use_semantic_search"):
            found.append("use_semantic_search has no effect: it is not supported")
        return found

    def next_stage(self, bucket: JsonObject) -> Stage | None:
        """Give what to recall next, None when all is there."""
        wants_spans = self.settings.get("use_span_memory")
        if wants_spans and self.query and _SPAN_QUERY not in bucket:
            return Stage("memory_query", self._span_query(), _SPAN_QUERY)
        if wants_spans and _SPAN_REHYDRATE not in bucket:
            return Stage("memory_rehydrate", self._rehydration(bucket), _SPAN_REHYDRATE)
        if self.settings.get("use_kg_memory") and self.query and _KG_QUERY not in bucket:
            return Stage("memory_kg_query", self._kg_query(), _KG_QUERY)
        return None

    def _span_query(self) -> JsonObject:
        return {"query": self.query, "scope": self._scope, "return": "meta", **self._level}

    def _rehydration(self, bucket: JsonObject) -> JsonObject:
        payload = {"span_ids": span_ids(bucket), "placement": "after_summary", **self._level}
        return payload | self._limit("max_messages", "max_span_messages", _DEFAULT_SPAN_MESSAGES)

    def _kg_query(self) -> JsonObject:
        payload: JsonObject = {"query_text": self.query, "scope": self._scope, **self._level}
        names = {"min_score": "kg_min_score", "limit": "kg_limit"}
        payload |= {k: self.settings[n] for k, n in names.items() if n in self.settings}
        payload |= self._limit("max_input_tokens", "kg_max_input_tokens", _DEFAULT_KG_TOKENS)
        return payload | ({"model": self.model} if self.model else {})

    @property
    def _scope(self) -> str:
        return self.settings.get("memory_scope") or "run"

    @property
    def _level(self) -> JsonObject:
        level = self.settings.get("recall_level")
        return {"recall_level": level} if level else {}

    def _limit(self, key: str, name: str, default: int) -> JsonObject:
        """Give a limit as set; without one a recall level brings its own."""
        value = self.settings.get(name) or (None if self._level else default)
        return {} if value is None else {key: value}


def span_ids(bucket: JsonObject) -> list[JsonValue]:
    """Give the ids of the recalled spans."""
    result = bucket.get(_SPAN_QUERY)
    results = result.get("results") if isinstance(result, dict) else None
    first = results[0] if isinstance(results, list) and results else None
    meta = first.get("meta") if isinstance(first, dict) else None
    ids = meta.get("span_ids") if isinstance(meta, dict) else None
    return ids if isinstance(ids, list) else []


def span_messages(bucket: JsonObject, variables: JsonObject) -> list[JsonObject]:
    """Give copies of the messages that the recalled spans put into the run's conversation."""
    ids = span_ids(bucket)
    context = variables.get("context")
    messages = object_messages(context.get("messages")) if ids and isinstance(context, dict) else []
    found: list[JsonObject] = isolate([m for m in messages if _origin(m) in ids])
    return found


def _origin(message: JsonObject) -> JsonValue:
    metadata = message.get("metadata")
    return metadata.get("source_artifact_id") if isinstance(metadata, dict) else None


def kg_text(bucket: JsonObject) -> str:
    """Give the facts of the graph as text for a prompt, empty when there are none."""
    result = bucket.get(_KG_QUERY)
    value = result.get("active_memory_text") if isinstance(result, dict) else None
    return value.strip() if isinstance(value, str) else ""


def last_user_text(messages: list[JsonObject]) -> str:
    """Give the text of the last message of a user."""
    asked = (m.get("content") for m in reversed(messages) if m.get("role") == "user")
    return next((text for text in asked if isinstance(text, str)), "")
