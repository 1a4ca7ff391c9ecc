"""Nodes with `onError: "continue"`: their failure becomes a value, and the flow goes on.

A failing node of this kind gives no output but the pins `success` (false) and `error` (the
text); when it succeeds, `success` is true and `error` null, unless its own output has such
pins. The ambient value stays as it was. Where nothing follows the node, the run ends with
its error as usual.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from abstractruntime._json import JsonObject, JsonValue, replace_surrogates
from abstractruntime.core.failures import CONTINUE, ON_FAILURE, failure_result, is_failure
from abstractruntime.core.models import StepPlan
from abstractruntime.errors import AbstractRuntimeError
from abstractruntime.nodes.base import EffectNode, NodeError, StagedNode
from abstractruntime.visualflow_compiler._lower._program import Unit
from abstractruntime.visualflow_compiler._lower._state import Durable, own

if TYPE_CHECKING:
    from abstractruntime.core.store import Artifacts

_FACTS = "raised"


class FailedElsewhere(Exception):  # noqa: N818 - a signal to the step, which failed with it
    """Another node failed than the step that is planned: one whose value it needs, or has to store."""

    def __init__(self, node_id: str, cause: Exception) -> None:
        super().__init__(str(cause))
        self.node_id = node_id
        self.cause = cause


def tolerant(plan: StepPlan) -> StepPlan:
    """Give the plan so that a failure of its effect is stored as its result."""
    if plan.effect is None:
        return plan
    payload = {**plan.effect.payload, ON_FAILURE: CONTINUE}
    return replace(plan, effect=replace(plan.effect, payload=payload))


def require_stage(state: Durable, unit: Unit) -> None:
    """Let a staged node go on with what its stage gave.

    Raises:
        NodeError: the stage failed.
    """
    if not isinstance(unit.type, StagedNode):
        return
    is_open, held = state.read(unit.type.area, unit.id)
    result = held.get(held["stage"]) if is_open else None
    if isinstance(result, dict) and is_failure(result):
        raise NodeError(str(result["error"]))


@dataclass(frozen=True, slots=True)
class Cause:
    """What went wrong, as text, and what else is known: see `FLOW_ERROR_FACTS`."""

    error: str
    facts: JsonObject

    @classmethod
    def of(cls, raised: Exception) -> Cause:
        source: JsonObject = {}
        if isinstance(raised, FailedElsewhere):
            source, raised = {"source": raised.node_id}, raised.cause
        found = {"line": getattr(raised, "line", None), "raised": getattr(raised, "raised", None)}
        known: JsonObject = {name: own(fact) for name, fact in found.items() if fact}
        return cls(replace_surrogates(str(raised) or type(raised).__name__), {**source, **known})


def with_kept_calls(facts: JsonObject, artifacts: Artifacts | None, run_id: str) -> JsonObject:
    """Give the facts of a failure that ends a run, with its traceback as an artifact where there are any.

    Those of failures after which a flow goes on stay in the variables: a loop would keep one for
    each of them, and only the last one counts.
    """
    raised = facts.get("raised")
    if artifacts is None or not raised or not raised["traceback"]:
        return facts
    text = replace_surrogates(raised["traceback"]).encode()
    try:
        # Invariant: the bytes are durable before a record refers to them.
        kept = artifacts.store(
            text, content_type="text/plain", run_id=run_id, tags={"kind": "traceback"}
        )
    except (AbstractRuntimeError, OSError):
        # What cannot be kept beside the run is kept in it: nothing hides why a run failed.
        return facts
    return {**facts, "raised": {**raised, "traceback": {"$artifact": kept.artifact_id}}}


def note_failure(state: Durable, unit: Unit, cause: Cause) -> None:
    """Store the failure of a node, and close its activation."""
    if isinstance(unit.type, StagedNode):
        state.drop(unit.type.area, unit.id)
    state.write(_place(unit), unit.id, failure_result(cause.error))
    if cause.facts:
        state.write(_FACTS, unit.id, cause.facts)


def forget_failure(state: Durable, unit: Unit) -> None:
    """Start a visit without the failure of an earlier one."""
    state.drop("errors", unit.id)
    state.drop(_FACTS, unit.id)


def failure_of(state: Durable, unit: Unit) -> JsonObject | None:
    """Give `{success, error}` when the last visit of the node failed."""
    if not unit.element.goes_on:
        return None
    exists, result = state.read(_place(unit), unit.id)
    return result if exists and is_failure(result) else None


def outcome_pin(unit: Unit, record: JsonValue, handle: str) -> JsonValue:
    """Give the pin `success` or `error` of a node that succeeded."""
    own = record if isinstance(record, dict) and not unit.type.bare else {}
    return own.get(handle, {"success": True}.get(handle))


def _place(unit: Unit) -> str:
    # The kernel stores the failure of an effect where its result would be.
    return "effects" if isinstance(unit.type, EffectNode) else "errors"
