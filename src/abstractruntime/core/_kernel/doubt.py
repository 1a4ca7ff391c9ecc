"""Effects in doubt: started, and then the process ended before an outcome was recorded.

The policy's `on_unknown` decides: `retry` repeats the attempt under the same identity,
`fail` ends the run, `ask` parks it with a question to a person.
"""

from __future__ import annotations

from typing import Any, Final

from abstractruntime.core._kernel.effects import EffectRequest
from abstractruntime.core.models import Effect, JsonObject, RunState, WaitReason, WaitState
from abstractruntime.errors import WaitMismatch

RETRY: Final = "retry"
SKIP: Final = "skip"
FAIL: Final = "fail"
CHOICES: Final = (RETRY, SKIP, FAIL)

_KIND = "unknown_outcome"


def describe_doubt(request: EffectRequest) -> str:
    """Say what is not known."""
    return (
        f"the process ended during attempt {request.attempt} of effect"
        f" {request.effect.type.value!r} of node {request.node_id!r}; whether it took place is unknown"
    )


def doubt_wait(run: RunState, request: EffectRequest) -> WaitState:
    """Give the question that decides; its details hold the request."""
    details: JsonObject = {
        "kind": _KIND,
        "node_id": request.node_id,
        "effect": request.effect.to_dict(),
        "next_node": request.next_node,
        "key": request.key,
        "occ": request.occurrence,
        "attempt": request.attempt,
    }
    return WaitState(
        reason=WaitReason.USER,
        wait_key=f"unknown:{run.run_id}:{request.occurrence}",
        resume_to_node=run.current_node,
        prompt=describe_doubt(request),
        choices=list(CHOICES),
        allow_free_text=False,
        details=details,
    )


def doubted_request(wait: WaitState) -> EffectRequest | None:
    """Give the request that a wait is in doubt about, or None for any other wait."""
    details = wait.details or {}
    if details.get("kind") != _KIND:
        return None
    return EffectRequest(
        node_id=details["node_id"],
        effect=Effect.from_dict(details["effect"]),
        next_node=details["next_node"],
        key=details["key"],
        occurrence=details["occ"],
        attempt=details["attempt"],
    )


def chosen(payload: Any) -> str:
    """Read the decision.

    Raises:
        WaitMismatch: it is none of retry, skip and fail.
    """
    choice = payload.get("response") if isinstance(payload, dict) else payload
    if choice not in CHOICES:
        raise WaitMismatch(
            f"answer {choice!r} does not settle an effect in doubt",
            hint="choose one of: " + ", ".join(CHOICES),
            given=choice,
            choices=list(CHOICES),
        )
    return str(choice)
