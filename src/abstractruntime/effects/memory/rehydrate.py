"""`memory_rehydrate`: puts archived messages and notes back into the messages of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from abstractruntime.core.handlers import EffectContext
from abstractruntime.core.models import Effect, JsonObject, RunState
from abstractruntime.core.ports import EffectOutcome
from abstractruntime.effects.memory._index import messages_of
from abstractruntime.effects.memory._owners import MemoryHost, Reach, required_store
from abstractruntime.effects.memory._payload import first_given, text_of, whole_number
from abstractruntime.errors import UsageError
from abstractruntime.memory.archive import Archive
from abstractruntime.memory.recall_levels import RecallBudget, parse_recall_level, policy_for
from abstractruntime.memory.rehydration import rehydrate
from abstractruntime.memory.spans import list_spans


class MemoryRehydrate:
    """Handler of `memory_rehydrate`."""

    def __init__(self, host: MemoryHost) -> None:
        self._host = host

    def __call__(self, ctx: EffectContext, effect: Effect) -> EffectOutcome:
        """Insert what is not there yet, and give `{inserted, skipped, artifacts, effort, warnings}`.

        Without a recall level there is no cap, unless `max_messages` sets one; 0 inserts nothing.
        """
        payload = effect.payload
        store = required_store(self._host, "memory_rehydrate")
        named = _named(payload)
        level = parse_recall_level(payload.get("recall_level"))
        if not named:
            return EffectOutcome.completed({"inserted": 0, "skipped": 0, "artifacts": []})
        budget = RecallBudget(level) if level else None
        insertion = _Insertion(
            archive=Archive(store),
            named=named,
            placement=text_of(payload, "placement"),
            dedup_by=text_of(payload, "dedup_by") or "message_id",
            cap=_cap(payload, budget),
        )
        reach = Reach(self._host, ctx)
        done = reach.change(reach.base(payload).run_id, insertion.apply)
        effort = budget.effort() if budget else None
        warnings = list(budget.warnings) or None if budget else None
        return EffectOutcome.completed({**done, "effort": effort, "warnings": warnings})


def _named(payload: JsonObject) -> list[Any]:
    given = first_given(payload, "span_ids", "span_id")
    if given is None:
        raise UsageError("MEMORY_REHYDRATE requires payload.span_ids", argument="span_ids")
    return given if isinstance(given, list) else [given]


def _cap(payload: JsonObject, budget: RecallBudget | None) -> int:
    if budget is None:
        return whole_number(payload, "max_messages", -1)
    bounds = policy_for(budget.level).rehydrate
    default = bounds.max_messages_default
    asked = whole_number(payload, "max_messages", default)
    return budget.at_most("max_messages", asked, default=default, maximum=bounds.max_messages_max)


@dataclass(frozen=True, slots=True)
class _Insertion:
    archive: Archive
    named: list[Any]
    placement: str
    dedup_by: str
    cap: int

    def apply(self, run: RunState) -> JsonObject:
        messages = messages_of(run.vars)
        result = rehydrate(
            messages,
            self.named,
            list_spans(run.vars),
            self.archive,
            placement=self.placement,
            dedup_by=self.dedup_by,
            max_messages=self.cap,
        )
        if result.inserted:
            messages[:] = result.messages
        return result.to_dict()
