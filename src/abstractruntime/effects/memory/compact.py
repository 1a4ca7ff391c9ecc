"""`memory_compact`: archives the older messages of a run and leaves a summary in their place.

Rules:
1. The archive is an artifact before anything names it; messages, summary and span change in
   one commit. A crash in between leaves an artifact that nothing names, never a lost message.
2. Ids and times come from the messages and from the step, so a repeated attempt archives the
   same bytes under the same id.
3. Another run than the executing one is committed before the effect's outcome; it keeps a
   receipt, and a repeated attempt answers with it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

from abstractruntime._json import isolate
from abstractruntime.core.derived_ids import item_id
from abstractruntime.core.handlers import EffectContext
from abstractruntime.core.models import Effect, JsonObject, RunState, WaitState
from abstractruntime.core.ports import EffectOutcome
from abstractruntime.effects.memory._index import append_span, messages_of
from abstractruntime.effects.memory._owners import Reach, moment, required_store
from abstractruntime.effects.memory._payload import tool_result
from abstractruntime.effects.memory._summary import CompactHost, Summary, Wish, summarise
from abstractruntime.errors import UsageError
from abstractruntime.memory.compaction import (
    CompactionSplit,
    normalize_messages,
    span_metadata_from_messages,
    split_for_compaction,
)
from abstractruntime.memory.rehydration import SUMMARY_KIND


class MemoryCompact:
    """Handler of `memory_compact`."""

    def __init__(self, host: CompactHost) -> None:
        self._host = host

    def __call__(self, ctx: EffectContext, effect: Effect) -> EffectOutcome:
        """Compact the messages and give the span that holds the older ones.

        Where nothing is older, nothing changes and the text says so. A summary that someone
        else is just making is waited for; the node is then visited again.
        """
        payload = effect.payload
        store = required_store(self._host, "memory_compact")
        wish = Wish.of(payload)
        reach = Reach(self._host, ctx)
        base = reach.base(payload)
        known = reach.receipt(base) if base is not ctx.run else None
        if known is not None:
            return _told(payload, known)
        split = _split(ctx, base, wish)
        if not split.older_messages:
            return _nothing(payload, split, wish)
        summary = summarise(self._host, ctx, base, split.older_messages, wish)
        if isinstance(summary, WaitState):
            return EffectOutcome.waiting(summary)
        compaction = _Compaction(ctx, store, wish, split.older_messages, summary)
        return _told(payload, reach.change(base.run_id, compaction.apply))


def _split(ctx: EffectContext, run: RunState, wish: Wish) -> CompactionSplit:
    """Give the messages in normal form and in three parts; the run stays as it is.

    Hazard: ids for messages without one count such messages from the start, so messages that
    are appended in the meantime do not change the ids of earlier ones.
    """
    context = run.vars.get("context")
    given = messages_of({"context": dict(context) if isinstance(context, dict) else {}})
    ids = (item_id(ctx.occurrence_id, number) for number in itertools.count())
    normal = normalize_messages(given, now_iso=moment(ctx), new_id=lambda: next(ids))
    whole = [_with_content_of(m, original) for m, original in zip(normal, given, strict=True)]
    return split_for_compaction(whole, preserve_recent=wish.preserve_recent)


def _with_content_of(message: JsonObject, original: JsonObject) -> JsonObject:
    """Keep content in parts, such as text and images, as it is: what is archived must come back."""
    content = original.get("content")
    return {**message, "content": content} if isinstance(content, list | dict) else message


def _nothing(payload: JsonObject, split: CompactionSplit, wish: Wish) -> EffectOutcome:
    text = (
        f"Nothing to compact (non-system messages <= preserve_recent={wish.preserve_recent})."
        if split.recent_messages or split.system_messages
        else "No messages to compact."
    )
    return tool_result(payload, text, name="compact_memory")


def _told(payload: JsonObject, done: JsonObject) -> EffectOutcome:
    meta = done["meta"]
    text = f"Compacted {done['message_count']} messages into span_id={meta['span_id']}."
    return tool_result(payload, text, name="compact_memory", meta=meta)


@dataclass(frozen=True, slots=True)
class _Compaction:
    """A summary in hand, and the older messages it stands for."""

    ctx: EffectContext
    store: Any
    wish: Wish
    older: list[JsonObject]
    summary: Summary

    def apply(self, run: RunState) -> JsonObject:
        """Archive the older messages and put the summary in their place.

        Raises:
            UsageError: the older messages are no longer those that were summarised.
        """
        split = _split(self.ctx, run, Wish(0, self.wish.mode, self.wish.focus))
        others = split.older_messages
        if others[: len(self.older)] != self.older:
            raise UsageError(
                f"the messages of run {run.run_id!r} changed while they were summarised",
                hint="repeat the step",
                run_id=run.run_id,
            )
        span = self._archived(run.run_id)
        summary = self._summary_message(span)
        kept = [*split.system_messages, summary, *others[len(self.older) :]]
        messages_of(run.vars)[:] = kept
        if isinstance(run.output, dict) and "messages" in run.output:
            run.output["messages"] = isolate(kept)
        append_span(run.vars, span)
        return {"message_count": span["message_count"], "meta": self._meta(span)}

    def _archived(self, run_id: str) -> JsonObject:
        """Store the older messages as an artifact, and give the span that names it."""
        created_at = moment(self.ctx)
        facts = {
            "kind": "conversation_span",
            "created_at": created_at,
            **span_metadata_from_messages(self.older),
            "compression_mode": self.wish.mode,
            **self._focus(),
        }
        tags = {
            "kind": "conversation_span",
            "compression_mode": self.wish.mode,
            "preserve_recent": str(self.wish.preserve_recent),
            **self._focus(),
        }
        artifact = self.store.store_json(
            {"messages": self.older, "span": facts, "created_at": created_at},
            run_id=run_id,
            tags=tags,
        )
        author = self.ctx.run.actor_id
        return {
            **facts,
            "artifact_id": artifact.artifact_id,
            "summary_message_id": f"msg_{item_id(self.ctx.occurrence_id, 'summary')}",
            "occurrence_id": self.ctx.occurrence_id,
            **({"created_by": author} if author else {}),
        }

    def _focus(self) -> dict[str, str]:
        return {"focus": self.wish.focus} if self.wish.focus else {}

    def _summary_message(self, span: JsonObject) -> JsonObject:
        span_id = span["artifact_id"]
        metadata = {
            "message_id": span["summary_message_id"],
            "kind": SUMMARY_KIND,
            "compression_mode": self.wish.mode,
            "preserve_recent": self.wish.preserve_recent,
            "source_artifact_id": span_id,
            "source_message_count": span["message_count"],
            "source_from_timestamp": span["from_timestamp"],
            "source_to_timestamp": span["to_timestamp"],
            "source_from_message_id": span["from_message_id"],
            "source_to_message_id": span["to_message_id"],
            **self._focus(),
        }
        return {
            "role": "system",
            "content": f"[CONVERSATION HISTORY SUMMARY span_id={span_id}]: {self.summary.text}",
            "timestamp": span["created_at"],
            "metadata": metadata,
        }

    def _meta(self, span: JsonObject) -> JsonObject:
        return {
            "llm_run_id": self.summary.llm_run_id,
            "span_id": span["artifact_id"],
            "summary_message_id": span["summary_message_id"],
            "preserve_recent": self.wish.preserve_recent,
            "compression_mode": self.wish.mode,
            "focus": self.wish.focus,
            "key_points": self.summary.key_points,
            "confidence": self.summary.confidence,
        }
