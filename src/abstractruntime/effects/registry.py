"""Which handler serves which effect, and what the kernel must know about each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from abstractruntime import kg
from abstractruntime.core.handlers import EffectContext, Handler, adapt_handler
from abstractruntime.core.models import Effect, EffectType
from abstractruntime.core.ports import EffectOutcome
from abstractruntime.core.spec import WorkflowSpec
from abstractruntime.effects import memory, waits
from abstractruntime.effects.events import EmitEvent, EventHost, WaitEvent
from abstractruntime.effects.memory.compact_workflow import COMPACT_WORKFLOW_ID, compact_workflow
from abstractruntime.effects.subworkflow import StartSubworkflow
from abstractruntime.effects.vars_query import VarsQuery

if TYPE_CHECKING:

    class Host(memory.CompactHost, EventHost, Protocol):
        """Everything that built-in handlers need of the runtime."""


_Call = Callable[[EffectContext, Effect], EffectOutcome]

# Workflows that the runtime itself brings along.
INTERNAL_WORKFLOWS: Mapping[str, WorkflowSpec] = {COMPACT_WORKFLOW_ID: compact_workflow()}


def builtin_handlers(host: Host) -> dict[EffectType, Handler]:
    """Give the handlers that need nothing but the runtime itself.

    Those of memory and of the graph are loaded when they are first called, as few runs do.
    """
    return {
        EffectType.WAIT_EVENT: Handler(WaitEvent(host), state_free=True),
        EffectType.WAIT_UNTIL: Handler(waits.wait_until, state_free=True),
        EffectType.ASK_USER: Handler(waits.ask_user, state_free=True),
        EffectType.ANSWER_USER: Handler(waits.answer_user, state_free=True),
        EffectType.EMIT_EVENT: Handler(EmitEvent(host), external=True),
        EffectType.MEMORY_NOTE: Handler(_on_call(lambda: memory.MemoryNote(host))),
        EffectType.MEMORY_QUERY: Handler(
            _on_call(lambda: memory.MemoryQuery(host)), state_free=True
        ),
        EffectType.MEMORY_TAG: Handler(_on_call(lambda: memory.MemoryTag(host))),
        EffectType.MEMORY_COMPACT: Handler(
            _on_call(lambda: memory.MemoryCompact(host)), external=True
        ),
        EffectType.MEMORY_REHYDRATE: Handler(_on_call(lambda: memory.MemoryRehydrate(host))),
        EffectType.MEMORY_KG_ASSERT: Handler(_on_call(lambda: kg.no_graph), state_free=True),
        EffectType.MEMORY_KG_QUERY: Handler(_on_call(lambda: kg.no_graph), state_free=True),
        EffectType.MEMORY_KG_RESOLVE: Handler(_on_call(lambda: kg.no_graph), state_free=True),
        EffectType.VARS_QUERY: Handler(VarsQuery(host), state_free=True),
        EffectType.START_SUBWORKFLOW: Handler(
            StartSubworkflow(host), external=True, state_free=True
        ),
    }


def _on_call(make: Callable[[], _Call]) -> _Call:
    def call(ctx: EffectContext, effect: Effect) -> EffectOutcome:
        return make()(ctx, effect)

    return call


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
