"""Writing the span index of a run, and its messages."""

from __future__ import annotations

from collections.abc import Callable

from abstractruntime.core.models import JsonObject
from abstractruntime.core.vars import get_context, get_runtime
from abstractruntime.errors import UsageError
from abstractruntime.memory.spans import list_spans, stored_spans


def memory_span(owner_vars: JsonObject, span_id: str) -> JsonObject | None:
    """Give the span as it lies in the index, so that changing it changes the run."""
    known = {id_ for id_ in (s.get("artifact_id") for s in list_spans(owner_vars)) if id_}
    if span_id not in known:
        return None
    return next((s for s in stored_spans(owner_vars) if s.get("artifact_id") == span_id), None)


def index_once(
    owner_vars: JsonObject, occurrence_id: str, make: Callable[[], JsonObject]
) -> JsonObject:
    """Give the span of this occurrence, made and indexed unless it is there.

    Two equal notes of one moment are one artifact, and so one span.
    """
    for span in stored_spans(owner_vars):
        if span.get("occurrence_id") == occurrence_id:
            return span
    made = {**make(), "occurrence_id": occurrence_id}
    known = memory_span(owner_vars, made["artifact_id"])
    if known is None:
        append_span(owner_vars, made)
    return known or made


def append_span(owner_vars: JsonObject, span: JsonObject) -> None:
    runtime = get_runtime(owner_vars)
    if not isinstance(runtime.get("memory_spans"), list):
        runtime["memory_spans"] = []
    runtime["memory_spans"].append(span)


def messages_of(run_vars: JsonObject) -> list[JsonObject]:
    """Give the live list of messages of a run, created when absent.

    Raises:
        UsageError: `context.messages` is no list of objects, and changing it would lose data.
    """
    context = get_context(run_vars)
    if context.get("messages") is None:
        context["messages"] = []
    messages = context["messages"]
    if isinstance(messages, list) and all(isinstance(m, dict) for m in messages):
        return messages
    raise UsageError(
        "context.messages is not a list of message objects",
        hint="store messages as {role, content}",
        argument="messages",
    )
