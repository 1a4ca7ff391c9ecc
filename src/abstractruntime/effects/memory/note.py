"""`memory_note`: keeps a text, with its tags and sources, in the memory of a scope."""

from __future__ import annotations

import json
from typing import Any

from abstractruntime._json import mapping
from abstractruntime.core.handlers import EffectContext
from abstractruntime.core.models import Effect, JsonObject, RunState
from abstractruntime.core.ports import EffectOutcome
from abstractruntime.effects.memory._index import index_once, messages_of
from abstractruntime.effects.memory._owners import (
    MemoryHost,
    Reach,
    moment,
    read_scope,
    required_store,
)
from abstractruntime.effects.memory._payload import (
    clean_tags,
    first_given,
    text_of,
    tool_result,
    unique_texts,
)
from abstractruntime.effects.waits import truthy
from abstractruntime.errors import UsageError
from abstractruntime.memory.rehydration import note_message

_PREVIEW_CHARS = 160
_CUT = "… (truncated)"


class MemoryNote:
    """Handler of `memory_note`."""

    def __init__(self, host: MemoryHost) -> None:
        self._host = host

    def __call__(self, ctx: EffectContext, effect: Effect) -> EffectOutcome:
        """Store the note and give its span id, a preview, and whether it joined the messages."""
        payload = effect.payload
        store = required_store(self._host, "memory_note")
        note = text_of(payload, "note")
        if not note:
            raise UsageError("MEMORY_NOTE requires payload.note (non-empty string)")
        scope = read_scope(payload)
        reach = Reach(self._host, ctx)
        base = reach.base(payload)
        document = _document(ctx.run, payload, note, moment(ctx))
        owner_id = reach.owner_id(base, scope)
        tags = clean_tags(payload.get("tags"))

        with reach.editing_owner(base, scope) as owner_vars:
            span = index_once(
                owner_vars,
                ctx.occurrence_id,
                lambda: _stored(store, owner_id, document, tags, ctx.run.actor_id),
            )
        meta: JsonObject = {
            "span_id": span["artifact_id"],
            "created_at": span["created_at"],
            "note_preview": span["note_preview"],
        }
        if truthy(first_given(payload, "keep_in_context", "keepInContext")):
            meta["kept_in_context"] = reach.change(
                base.run_id, lambda run: _keep_in_context(run, span, note)
            )
        shown = json.dumps(tags, ensure_ascii=False, sort_keys=True)
        text = f"Stored memory_note span_id={span['artifact_id']} tags={shown}"
        return tool_result(payload, text, name="remember_note", meta=meta)


def _document(run: RunState, payload: JsonObject, note: str, created_at: str) -> JsonObject:
    given = mapping(payload.get("sources"))
    document: JsonObject = {
        "note": note,
        "sources": {
            "run_id": text_of(given, "run_id") or run.run_id,
            "span_ids": unique_texts(given.get("span_ids")),
            "message_ids": unique_texts(given.get("message_ids")),
        },
        "created_at": created_at,
    }
    optional = {
        "location": text_of(payload, "location"),
        "actor_id": run.actor_id,
        "session_id": run.session_id,
    }
    return {**document, **{name: value for name, value in optional.items() if value}}


def _stored(
    store: Any, owner_id: str, document: JsonObject, tags: dict[str, str], author: str | None
) -> JsonObject:
    """Store the note as an artifact of the owner, and give the span that names it."""
    artifact = store.store_json(document, run_id=owner_id, tags={"kind": "memory_note", **tags})
    created_at = document["created_at"]
    span: JsonObject = {
        "kind": "memory_note",
        "artifact_id": artifact.artifact_id,
        "created_at": created_at,
        "from_timestamp": created_at,
        "to_timestamp": created_at,
        "message_count": 0,
        "note_preview": _preview(document["note"]),
        "sources": document["sources"],
    }
    optional = {"tags": tags, "created_by": author, "location": document.get("location")}
    return {**span, **{name: value for name, value in optional.items() if value}}


def _preview(note: str) -> str:
    return note if len(note) <= _PREVIEW_CHARS else note[: _PREVIEW_CHARS - len(_CUT)] + _CUT


def _keep_in_context(run: RunState, span: JsonObject, note: str) -> JsonObject:
    """Append the note to the messages unless it is there."""
    message = note_message(span["artifact_id"], note, span["created_at"])
    message_id = message["metadata"]["message_id"]
    try:
        messages = messages_of(run.vars)
    except UsageError as problem:
        return {"inserted": 0, "skipped": 1, "error": str(problem)}
    if any(_message_id(known) == message_id for known in messages):
        return {"inserted": 0, "skipped": 1}
    messages.append(message)
    return {"inserted": 1, "skipped": 0}


def _message_id(message: JsonObject) -> Any:
    return mapping(message.get("metadata")).get("message_id")
