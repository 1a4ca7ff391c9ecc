"""What became of a run, in one word for people and scripts.

`RunState.status` keeps the word of the ledger, which readers of 0.4.x know. A compiled flow whose
node failed is `completed` there, with an error as its output; its outcome is `failed`. Whatever
lists, shows, draws or follows runs, and the exit codes, take the outcome from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from abstractruntime._json import mapping
from abstractruntime.core.limits import reached_limit
from abstractruntime.core.models import RunStatus
from abstractruntime.core.vars import (
    FLOW_ERROR,
    FLOW_ERROR_FACTS,
    FLOW_ERROR_NODE,
    TEMP,
    is_paused,
)
from abstractruntime.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from abstractruntime.core.models import JsonObject, RunState


class Outcome(str, Enum):
    """What became of a run.

    A run that nobody drives though it could go on is `interrupted`; one that had killed who drove
    it, again and again, is `quarantined`. These two need more than the run to be told.
    """

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    WAITING = "waiting"
    RUNNING = "running"
    PAUSED = "paused"
    LIMITED = "limited"
    INTERRUPTED = "interrupted"
    QUARANTINED = "quarantined"

    @property
    def asks(self) -> bool:
        """Whether somebody's answer, an event or a moment could go on with it."""
        return self not in (Outcome.LIMITED, Outcome.INTERRUPTED)

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of a command that drove the run as far as this."""
        return _EXIT_CODES.get(self, ExitCode.WAITING)


_EXIT_CODES: Final[Mapping[Outcome, ExitCode]] = {
    Outcome.SUCCEEDED: ExitCode.OK,
    Outcome.FAILED: ExitCode.FAILED,
    Outcome.CANCELLED: ExitCode.CANCELLED,
}
_ENDED: Final[Mapping[RunStatus, Outcome]] = {
    RunStatus.COMPLETED: Outcome.SUCCEEDED,
    RunStatus.FAILED: Outcome.FAILED,
    RunStatus.CANCELLED: Outcome.CANCELLED,
}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run ended badly.

    Attributes:
        node_id: The node that failed; None where that is not known.
        line: The line of the node's own code, from 1.
        raised: `class`, and where it is known `message` and `traceback`, of what the code raised; the
            traceback is text, or a reference to an artifact.
        at_step: The step at which it happened, where that is another node: it needed the value of a pure one.
    """

    message: str
    node_id: str | None
    line: int | None = None
    raised: Mapping[str, Any] | None = None
    at_step: str | None = None

    @property
    def step_id(self) -> str | None:
        """The step at which it happened."""
        return self.at_step or self.node_id

    @property
    def summary(self) -> str:
        """What was raised, with its class; the message where nothing was."""
        return summary_of(self.message, self.raised)

    def to_dict(self, labels: Mapping[str, str] | None = None) -> JsonObject:
        """Give all that is known, nodes also by their `labels`; what is not, but for the node, is left out."""
        names = labels or {}
        at_step = _node(self.at_step, names) if self.at_step else None
        raised = _told(self.raised) if self.raised else None
        known = {"at_step": at_step, "line": self.line, "raised": raised}
        return {
            "message": self.message,
            **_node(self.node_id, names),
            **{name: fact for name, fact in known.items() if fact is not None},
        }


def _told(raised: Mapping[str, Any]) -> JsonObject:
    """Give what was raised; calls that an artifact holds are for whoever has the store."""
    artifact = mapping(raised["traceback"]).get("$artifact")
    return {**raised, **({"traceback": None, "artifact": artifact} if artifact else {})}


def _node(node_id: str | None, labels: Mapping[str, str]) -> JsonObject:
    return {"node_id": node_id, "node_label": labels.get(node_id, node_id) if node_id else None}


def summary_of(message: str, raised: Mapping[str, Any] | None) -> str:
    """Say what went wrong: what the code raised, with its class, or else the message."""
    kind = (raised or {}).get("class")
    if raised is None or not kind:
        return message
    return f"{kind}: {raised['message']}" if raised.get("message") else kind


def failure_of(run: RunState) -> Failure | None:
    """Give why a run ended badly; None when it did not, or has not ended."""
    if run.status is RunStatus.COMPLETED:
        return _flow_failure(run.vars)
    if run.status in (RunStatus.FAILED, RunStatus.CANCELLED):
        return Failure(run.error or "no reason given", run.current_node)
    return None


def overcome_failures(run: RunState) -> list[Failure]:
    """Give the nodes of a compiled flow that failed at their last visit, and after which it went on."""
    temp = mapping(run.vars.get(TEMP))
    last = {**mapping(temp.get("effects")), **mapping(temp.get("errors"))}
    failed = {node: value for node, value in last.items() if mapping(value).get("success") is False}
    raised = mapping(temp.get("raised"))
    return [
        _failure(_reason(value), node, mapping(raised.get(node))) for node, value in failed.items()
    ]


def _reason(result: Mapping[str, Any]) -> str:
    said = result.get("error") or mapping(result.get("meta")).get("error")
    return _text(said) or "it failed"


def _flow_failure(variables: JsonObject) -> Failure | None:
    node_id = _text(variables.get(FLOW_ERROR_NODE))
    if node_id is None:
        return None
    facts = {name: variables.get(key) for name, key in FLOW_ERROR_FACTS.items()}
    return _failure(_text(variables.get(FLOW_ERROR)) or "the node failed", node_id, facts)


def _failure(message: str, step_id: str, facts: Mapping[str, Any]) -> Failure:
    """Give the failure of a step; what the variables of a run say of it may be anything."""
    source, line, raised = _text(facts.get("source")), facts.get("line"), facts.get("raised")
    return Failure(
        message,
        source or step_id,
        line if type(line) is int else None,
        raised if _is_raised(raised) else None,
        at_step=step_id if source else None,
    )


def _is_raised(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    calls = value.get("traceback")
    texts = (value.get("class"), value.get("message"), mapping(calls).get("$artifact", calls))
    return all(isinstance(text, str) for text in texts)


def ended_as(status: RunStatus) -> Outcome:
    """Give the outcome that a status which ends a run stands for, unless a node of its flow failed."""
    return _ENDED[status]


def outcome_of(run: RunState) -> Outcome:
    """Give the outcome of a run, as far as the run itself tells it."""
    if run.status is RunStatus.COMPLETED and _flow_failure(run.vars) is not None:
        return Outcome.FAILED
    if run.status in _ENDED:
        return _ENDED[run.status]
    if is_paused(run.vars):
        return Outcome.PAUSED
    if reached_limit(run.vars) is not None:
        return Outcome.LIMITED
    return Outcome(run.status.value)


def child_failure(child: RunState) -> str:
    """Say why a parent cannot go on after its child ended badly."""
    failure = failure_of(child)
    reason = failure.message if failure is not None else "no reason given"
    return f"Subworkflow {child.workflow_id!r} {outcome_of(child).value}: {reason}"


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value.strip() else None
