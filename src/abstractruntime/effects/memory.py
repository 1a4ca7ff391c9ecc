"""Span memory: storing notes and finding them again.

A note is an artifact; the run that owns the scope keeps an index of spans in
`vars._runtime.memory_spans`. Scope `run` is the run itself; `session` and `global` are
internal runs that are created on first use.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from abstractruntime.core._kernel.effects import EffectContext
from abstractruntime.core.models import Effect, JsonObject, RunState, parse_moment
from abstractruntime.core.ports import EffectOutcome
from abstractruntime.core.vars import get_context, get_runtime
from abstractruntime.effects.waits import truthy

_PREVIEW = 160
_DEFAULT_LIMIT = 5
_SAFE = re.compile(r"[A-Za-z0-9_-]+\Z")
_LEVELS = frozenset({"urgent", "standard", "deep"})
_SCOPES = ("run", "session", "global")


class MemoryHost(Protocol):
    """What the handlers need of the runtime."""

    @property
    def artifact_store(self) -> Any: ...

    def root_run_id(self, run_id: str) -> str: ...

    def read_owner(self, owner_id: str) -> RunState | None: ...

    def edit_owner(self, owner_id: str, workflow_id: str) -> AbstractContextManager[JsonObject]:
        """Own the internal run briefly, creating it if need be; changes to its vars are committed."""
        ...


class MemoryNote:
    """Handler of `memory_note`."""

    def __init__(self, host: MemoryHost) -> None:
        self._host = host

    def __call__(self, ctx: EffectContext, effect: Effect) -> EffectOutcome:
        payload = effect.payload
        note = str(payload.get("note") or "").strip()
        scope = str(payload.get("scope") or "run").strip().lower()
        store = self._host.artifact_store
        problem = (
            "memory_note requires an ArtifactStore" if store is None
            else "MEMORY_NOTE requires payload.note (non-empty string)" if not note
            else f"Unknown memory scope: {scope}" if scope not in _SCOPES
            else None
        )  # fmt: skip
        if problem:
            return EffectOutcome.failed(problem)
        span = self._store(ctx, payload, note, scope)
        meta: JsonObject = {
            "span_id": span["artifact_id"],
            "created_at": span["created_at"],
            "note_preview": span["note_preview"],
        }
        if truthy(payload.get("keep_in_context") or payload.get("keepInContext")):
            meta["kept_in_context"] = _keep_in_context(ctx.run, span, note)
        tags = json.dumps(span.get("tags") or {}, ensure_ascii=False, sort_keys=True)
        text = f"Stored memory_note span_id={span['artifact_id']} tags={tags}"
        return EffectOutcome.completed(_envelope("remember_note", text, meta, payload))

    def _store(self, ctx: EffectContext, payload: JsonObject, note: str, scope: str) -> JsonObject:
        owner_id = owner_run_id(self._host, ctx.run, scope)
        tags = clean_tags(payload.get("tags"))
        now = ctx.clock.now_iso()
        document = _note_document(ctx.run, payload, note, now)
        metadata = self._host.artifact_store.store_json(
            document, run_id=owner_id, tags={"kind": "memory_note", **tags}
        )
        span: JsonObject = {
            "kind": "memory_note",
            "artifact_id": metadata.artifact_id,
            "created_at": now,
            "from_timestamp": now,
            "to_timestamp": now,
            "message_count": 0,
            "note_preview": note if len(note) <= _PREVIEW else note[: _PREVIEW - 1] + "…",
            "sources": document["sources"],
        }
        optional = {
            "tags": tags,
            "created_by": ctx.run.actor_id,
            "location": document.get("location"),
        }
        span.update({name: value for name, value in optional.items() if value})
        if owner_id == ctx.run.run_id:
            return _index_span(ctx.run.vars, span)
        # Another run's index is committed before this effect's outcome: a repeated attempt
        # must find there what the first one stored.
        span["occurrence_id"] = ctx.occurrence_id
        with self._host.edit_owner(owner_id, f"__{scope}_memory__") as owner_vars:
            return _index_span(owner_vars, span)


class MemoryQuery:
    """Handler of `memory_query`: filters by text, tags, people, places and time, newest first."""

    def __init__(self, host: MemoryHost) -> None:
        self._host = host

    def __call__(self, ctx: EffectContext, effect: Effect) -> EffectOutcome:
        payload = effect.payload
        store = self._host.artifact_store
        scope = str(payload.get("scope") or "run").strip().lower()
        level = payload.get("recall_level")
        if store is None:
            return EffectOutcome.failed("memory_query requires an ArtifactStore")
        if scope not in (*_SCOPES, "all"):
            return EffectOutcome.failed(f"Unknown memory scope: {scope}")
        if level and str(level).strip().lower() not in _LEVELS:
            return EffectOutcome.failed(f"Unknown recall_level: {level}")
        spans = self._select(ctx.run, payload, scope)
        meta = {
            "matches": [_match(s) for s in spans],
            "span_ids": [s["artifact_id"] for s in spans],
        }
        mode = payload.get("return") or payload.get("return_mode") or "rendered"
        text = render_spans(spans, store) if mode != "meta" else ""
        return EffectOutcome.completed(
            _envelope("recall_memory", text, meta if mode != "rendered" else None, payload)
        )

    def _select(self, run: RunState, payload: JsonObject, scope: str) -> list[JsonObject]:
        limit = int(payload.get("limit_spans") or _DEFAULT_LIMIT)
        keep = _filters(payload, self._host.artifact_store)
        found: list[JsonObject] = []
        scopes = _SCOPES if scope == "all" else (scope,)
        for owner_id in dict.fromkeys(owner_run_id(self._host, run, s) for s in scopes):
            owner = run if owner_id == run.run_id else self._host.read_owner(owner_id)
            spans = list(_spans(owner.vars)) if owner else []
            newest = sorted(spans, key=lambda s: str(s.get("created_at")), reverse=True)
            found.extend([s for s in newest if all(test(s) for test in keep)][:limit])
        return found


def owner_run_id(host: MemoryHost, run: RunState, scope: str) -> str:
    """Give the run whose index holds a scope."""
    if scope == "run":
        return run.run_id
    if scope == "global":
        name = os.environ.get("ABSTRACTRUNTIME_GLOBAL_MEMORY_RUN_ID", "").strip()
        return name if _SAFE.match(name) else "global_memory"
    session = (run.session_id or "").strip()
    if not session:
        return host.root_run_id(run.run_id)
    if _SAFE.match(session):
        return f"session_memory_{session}"
    return f"session_memory_sha_{hashlib.sha256(session.encode()).hexdigest()[:32]}"


def clean_tags(raw: Any) -> dict[str, str]:
    """Keep text tags; `kind` belongs to the runtime."""
    if not isinstance(raw, dict):
        return {}
    texts = {k: v for k, v in raw.items() if isinstance(k, str) and isinstance(v, str)}
    return {k: v for k, v in texts.items() if k != "kind"}


def _note_document(run: RunState, payload: JsonObject, note: str, now: str) -> JsonObject:
    given = payload.get("sources")
    given = given if isinstance(given, dict) else {}
    document: JsonObject = {
        "note": note,
        "sources": {
            "run_id": str(given.get("run_id") or run.run_id),
            "span_ids": _texts(given.get("span_ids")),
            "message_ids": _texts(given.get("message_ids")),
        },
        "created_at": now,
    }
    location = str(payload.get("location") or "").strip()
    optional = {"location": location, "actor_id": run.actor_id, "session_id": run.session_id}
    document.update({name: value for name, value in optional.items() if value})
    return document


def _texts(value: Any) -> list[str]:
    items = value if isinstance(value, list) else []
    return list(
        dict.fromkeys(str(i).strip() for i in items if isinstance(i, str | int) and str(i).strip())
    )


def _spans(vars: JsonObject) -> list[JsonObject]:  # noqa: A002 - the name of the namespace
    spans = get_runtime(vars).get("memory_spans")
    return (
        [s for s in spans if isinstance(s, dict) and s.get("kind") != "evidence"]
        if isinstance(spans, list)
        else []
    )


def _index_span(vars: JsonObject, span: JsonObject) -> JsonObject:  # noqa: A002 - the name of the namespace
    """Add a span unless the same one is there, and give the one that is."""
    spans: list[JsonObject] = get_runtime(vars).setdefault("memory_spans", [])
    for known in spans:
        if any(
            name in span and known.get(name) == span[name]
            for name in ("artifact_id", "occurrence_id")
        ):
            return known
    spans.append(span)
    return span


def _keep_in_context(run: RunState, span: JsonObject, note: str) -> JsonObject:
    message_id = f"memory_note:{span['artifact_id']}"
    messages = get_context(run.vars).setdefault("messages", [])
    if any(
        m.get("metadata", {}).get("message_id") == message_id
        for m in messages
        if isinstance(m, dict)
    ):
        return {"inserted": 0, "skipped": [message_id]}
    metadata = {
        "kind": "memory_note",
        "rehydrated": True,
        "source_artifact_id": span["artifact_id"],
        "message_id": message_id,
    }
    messages.append(
        {
            "role": "system",
            "content": f"[MEMORY NOTE]\n{note}",
            "timestamp": span["created_at"],
            "metadata": metadata,
        }
    )
    return {"inserted": 1, "skipped": []}


def _envelope(name: str, text: str, meta: JsonObject | None, payload: JsonObject) -> JsonObject:
    result: JsonObject = {
        "call_id": str(payload.get("call_id") or "memory"),
        "name": str(payload.get("tool_name") or name),
        "success": True,
        "output": text,
        "error": None,
    }
    if meta is not None:
        result["meta"] = meta
    return {"mode": "executed", "results": [result]}


def _filters(payload: JsonObject, store: Any) -> list[Callable[[JsonObject], bool]]:
    tests: list[Callable[[JsonObject], bool]] = []
    query = str(payload.get("query") or "").strip().lower()
    if query:
        tests.append(lambda span: query in _searchable(span, store))
    tags = payload.get("tags")
    if isinstance(tags, dict) and tags:
        mode = (
            payload.get("tags_mode") or payload.get("tagsMode") or payload.get("tag_mode") or "all"
        )
        combine = any if str(mode).strip().lower() in ("any", "or") else all
        wanted = {k: _lowered(v) for k, v in tags.items() if k != "kind"}
        tests.append(lambda span: combine(_has_tag(span, k, v) for k, v in wanted.items()))
    people = _lowered(
        payload.get("authors") or payload.get("usernames") or payload.get("users") or []
    )
    if people:
        tests.append(lambda span: str(span.get("created_by") or "").lower() in people)
    places = _lowered(payload.get("locations") or payload.get("location") or [])
    if places:
        tests.append(lambda span: str(span.get("location") or "").lower() in places)
    since, until = payload.get("since"), payload.get("until")
    if since or until:
        tests.append(lambda span: _within(span, since, until))
    return tests


def _lowered(value: Any) -> set[str]:
    items = value if isinstance(value, list) else [value]
    return {str(item).strip().lower() for item in items if str(item).strip()}


def _has_tag(span: JsonObject, name: str, wanted: set[str]) -> bool:
    value = (span.get("tags") or {}).get(name)
    return value is not None and str(value).lower() in wanted


def _within(span: JsonObject, since: Any, until: Any) -> bool:
    start, end = span.get("from_timestamp"), span.get("to_timestamp")
    if not start or not end:
        return False
    after_since = not since or parse_moment(str(end)) >= parse_moment(str(since))
    before_until = not until or parse_moment(str(start)) <= parse_moment(str(until))
    return after_since and before_until


def _searchable(span: JsonObject, store: Any) -> str:
    document = store.load_json(span["artifact_id"])
    note = document.get("note", "") if isinstance(document, dict) else ""
    parts = [note, json.dumps(span, ensure_ascii=False, sort_keys=True)]
    return "\n".join(parts).lower()


def _match(span: JsonObject) -> JsonObject:
    always = {
        "span_id": span["artifact_id"],
        "kind": span.get("kind"),
        "created_at": span.get("created_at"),
        "from_timestamp": span.get("from_timestamp"),
        "to_timestamp": span.get("to_timestamp"),
        "tags": span.get("tags") or {},
    }
    extra = ("created_by", "location", "note_preview", "message_count", "summary_message_id")
    return {**always, **{name: span[name] for name in extra if span.get(name)}}


def render_spans(spans: list[JsonObject], store: Any) -> str:
    """Render spans as the text that a model reads."""
    if not spans:
        return "No matching memory spans."
    blocks = [_render_span(index, span, store) for index, span in enumerate(spans, start=1)]
    return "\n\n".join(["Recalled memory spans (provenance-preserving):", *blocks])


def _render_span(index: int, span: JsonObject, store: Any) -> str:
    count = span.get("message_count") or ""
    lines = [
        f"[{index}] span_id={span['artifact_id']} kind={span.get('kind')} msgs={count} created_at={span.get('created_at')}"
    ]
    lines.append(f"    time_range: {span.get('from_timestamp')} .. {span.get('to_timestamp')}")
    lines += [f"    {name}: {span[name]}" for name in ("created_by", "location") if span.get(name)]
    if span.get("tags"):
        lines.append("    tags: " + ", ".join(f"{k}={v}" for k, v in sorted(span["tags"].items())))
    document = store.load_json(span["artifact_id"])
    if isinstance(document, dict) and document.get("note"):
        lines.append(f"    note: {document['note']}")
        lines.extend(_render_sources(document.get("sources") or {}))
    return "\n".join(lines)


def _render_sources(sources: JsonObject) -> list[str]:
    lines = [f"    sources.run_id: {sources['run_id']}"] if sources.get("run_id") else []
    lists = [name for name in ("span_ids", "message_ids") if sources.get(name)]
    return lines + [f"    sources.{name}: {', '.join(sources[name][:12])}" for name in lists]
