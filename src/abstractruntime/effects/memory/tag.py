"""`memory_tag`: puts tags on a span that is already stored."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from abstractruntime.core.handlers import EffectContext
from abstractruntime.core.models import Effect, JsonObject, RunState
from abstractruntime.core.ports import EffectOutcome
from abstractruntime.effects.memory._index import memory_span
from abstractruntime.effects.memory._owners import (
    ALL,
    SCOPES,
    MemoryHost,
    Reach,
    moment,
    read_scope,
)
from abstractruntime.effects.memory._payload import clean_tags, first_given, tool_result
from abstractruntime.effects.waits import truthy
from abstractruntime.errors import NotFound, UsageError
from abstractruntime.memory.spans import list_spans, resolve_span_ids, span_id_of


@dataclass(frozen=True, slots=True)
class _Tagging:
    """What is put on a span."""

    tags: dict[str, str]
    merge: bool
    at: str
    by: str | None

    def apply(self, span: JsonObject) -> JsonObject:
        """Tag the span in its index, and give all tags it has now."""
        known = span.get("tags")
        kept = known if self.merge and isinstance(known, dict) else {}
        span["tags"] = {**kept, **self.tags}
        span["tagged_at"] = self.at
        if self.by:
            span["tagged_by"] = self.by
        tags: JsonObject = dict(span["tags"])
        return tags


class MemoryTag:
    """Handler of `memory_tag`; the span is named by its id, or by its place, newest first from 1."""

    def __init__(self, host: MemoryHost) -> None:
        self._host = host

    def __call__(self, ctx: EffectContext, effect: Effect) -> EffectOutcome:
        """Tag the span in every index of the scope that lists it."""
        payload = effect.payload
        wanted = first_given(payload, "span_id")
        if wanted is None or not str(wanted).strip():
            raise UsageError("MEMORY_TAG requires payload.span_id")
        tags = clean_tags(payload.get("tags"))
        if not tags:
            raise UsageError("MEMORY_TAG requires payload.tags (non-empty object of texts)")
        scope = read_scope(payload, with_all=True)
        merge = truthy(payload.get("merge")) if payload.get("merge") is not None else True
        tagging = _Tagging(tags, merge, moment(ctx), ctx.run.actor_id)

        reach = Reach(self._host, ctx)
        applied = _applied(reach, reach.base(payload), scope, wanted, tagging)
        if not applied:
            hint = "places count within one scope; give the span's id" if scope == ALL else None
            raise NotFound(f"Unknown span_id: {wanted}", hint=hint, kind="span", id=str(wanted))
        return tool_result(
            payload, _text(scope, applied), name="remember", meta={"applied": applied}
        )


def _applied(
    reach: Reach, base: RunState, scope: str, wanted: Any, tagging: _Tagging
) -> list[JsonObject]:
    owners: dict[str, str] = {}
    for one in SCOPES if scope == ALL else (scope,):
        owners.setdefault(reach.owner_id(base, one), one)
    applied: list[JsonObject] = []
    for owner_id, one in owners.items():
        # Only an index that lists the span is owned, so that a tag never creates a memory.
        span_id = _resolve(reach.read(owner_id), wanted, by_place=scope != ALL)
        if span_id is None:
            continue
        with reach.editing_owner(base, one) as owner_vars:
            span = memory_span(owner_vars, span_id)
            if span is not None:
                tags = tagging.apply(span)
                applied.append({"run_id": owner_id, "artifact_id": span_id, "tags": tags})
    return applied


def _resolve(owner_vars: JsonObject, wanted: Any, *, by_place: bool) -> str | None:
    spans = list_spans(owner_vars)
    resolved = resolve_span_ids([wanted], spans) if by_place else [str(wanted).strip()]
    known = {span_id_of(span) for span in spans}
    return next((span_id for span_id in resolved if span_id in known), None)


def _text(scope: str, applied: list[JsonObject]) -> str:
    runs = ",".join(entry["run_id"] for entry in applied)
    tags = json.dumps(applied[0]["tags"], ensure_ascii=False, sort_keys=True)
    return f"Tagged span_id={applied[0]['artifact_id']} scope={scope} runs=[{runs}] tags={tags}"
