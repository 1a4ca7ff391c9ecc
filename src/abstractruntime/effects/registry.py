"""Which handler serves which effect, and what the kernel must know about each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from abstractruntime.core.handlers import Handler, adapt_handler
from abstractruntime.core.models import EffectType
from abstractruntime.core.ports import EffectOutcome
from abstractruntime.core.spec import WorkflowSpec
from abstractruntime.effects import waits
from abstractruntime.effects.events import EmitEvent, EventHost, WaitEvent
from abstractruntime.effects.memory import (
    COMPACT_WORKFLOW_ID,
    CompactHost,
    MemoryCompact,
    MemoryNote,
    MemoryQuery,
    MemoryRehydrate,
    MemoryTag,
    compact_workflow,
)
from abstractruntime.effects.subworkflow import StartSubworkflow
from abstractruntime.effects.vars_query import VarsQuery
from abstractruntime.kg import no_graph

# Workflows that the runtime itself brings along.
INTERNAL_WORKFLOWS: Mapping[str, WorkflowSpec] = {COMPACT_WORKFLOW_ID: compact_workflow()}


class Host(CompactHost, EventHost, Protocol):
    """Everything that built-in handlers need of the runtime."""


def builtin_handlers(host: Host) -> dict[EffectType, Handler]:
    """Give the handlers that need nothing but the runtime itself."""
    return {
        EffectType.WAIT_EVENT: Handler(WaitEvent(host), state_free=True),
        EffectType.WAIT_UNTIL: Handler(waits.wait_until, state_free=True),
        EffectType.ASK_USER: Handler(waits.ask_user, state_free=True),
        EffectType.ANSWER_USER: Handler(waits.answer_user, state_free=True),
        EffectType.EMIT_EVENT: Handler(EmitEvent(host), external=True),
        EffectType.MEMORY_NOTE: Handler(MemoryNote(host)),
        EffectType.MEMORY_QUERY: Handler(MemoryQuery(host), state_free=True),
        EffectType.MEMORY_TAG: Handler(MemoryTag(host)),
        EffectType.MEMORY_COMPACT: Handler(MemoryCompact(host), external=True),
        EffectType.MEMORY_REHYDRATE: Handler(MemoryRehydrate(host)),
        EffectType.MEMORY_KG_ASSERT: Handler(no_graph, state_free=True),
        EffectType.MEMORY_KG_QUERY: Handler(no_graph, state_free=True),
        EffectType.MEMORY_KG_RESOLVE: Handler(no_graph, state_free=True),
        EffectType.VARS_QUERY: Handler(VarsQuery(host), state_free=True),
        EffectType.START_SUBWORKFLOW: Handler(
            StartSubworkflow(host), external=True, state_free=True
        ),
    }


def merge_handlers(
    builtin: dict[EffectType, Handler],
    given: Mapping[EffectType, Callable[..., EffectOutcome] | Handler],
) -> dict[EffectType, Handler]:
    """Put a host's handlers over the built-in ones."""
    adapted = {
        EffectType(kind): function if isinstance(function, Handler) else adapt_handler(function)
        for kind, function in given.items()
    }
    return {**builtin, **adapted}
