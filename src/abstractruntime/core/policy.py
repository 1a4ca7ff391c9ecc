"""How often an effect is tried, how long to wait in between, and what identifies it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from abstractruntime.core.models import Effect, EffectType, JsonObject, RunState

OnUnknown = Literal["retry", "ask", "fail"]

# Compat: 0.4.x keys are over ASCII-escaped JSON that admits NaN.
_KEY_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
_CALL_IDS = frozenset({"call_id", "id", "runtime_call_id", "model_call_id", "idempotency_key"})


class EffectPolicy(Protocol):
    def max_attempts(self, effect: Effect) -> int: ...

    def backoff_seconds(self, *, effect: Effect, attempt: int) -> float:
        """Give the pause after `attempt` (1-based) failed."""
        ...

    def idempotency_key(self, *, run: RunState, node_id: str, effect: Effect) -> str: ...


def compute_idempotency_key(*, run_id: str, node_id: str, effect: Effect) -> str:
    """Give the payload key: 32 hex digits over run, node, effect type and payload.

    It is an attribute of an effect, recorded and sent outside; the identity of one
    occurrence is the key together with its ordinal (see `occurrence_id`).

    Raises:
        TypeError: the payload is not JSON.
    """
    document = {
        "run_id": run_id,
        "node_id": node_id,
        "effect_type": effect.type.value,
        "effect_payload": _normalised_payload(effect),
    }
    return hashlib.sha256(_KEY_ENCODER.encode(document).encode()).hexdigest()[:32]


def occurrence_id(key: str, occurrence: int) -> str:
    """Give the 32-hex identity of one effect occurrence: child ids, event ids, headers derive from it."""
    return hashlib.sha256(f"{key}:{occurrence}".encode()).hexdigest()[:32]


def _normalised_payload(effect: Effect) -> JsonObject:
    payload: Any = effect.payload
    if not isinstance(payload, dict):
        return {}
    if effect.type is not EffectType.TOOL_CALLS:
        return payload
    clean = dict(payload)
    if isinstance(clean.get("tool_calls"), list):
        clean["tool_calls"] = [
            _normalised_call(c) if isinstance(c, dict) else c for c in clean["tool_calls"]
        ]
    if isinstance(clean.get("allowed_tools"), list):
        names = {n.strip() for n in clean["allowed_tools"] if isinstance(n, str)}
        clean["allowed_tools"] = sorted(names - {""})
    return clean


def _normalised_call(call: JsonObject) -> JsonObject:
    clean = {k: v for k, v in call.items() if k not in _CALL_IDS}
    if isinstance(clean.get("name"), str):
        clean["name"] = clean["name"].strip()
    clean["arguments"] = _parsed_arguments(clean.get("arguments"))
    if isinstance(clean.get("function"), dict):
        clean["function"] = _normalised_call(clean["function"])
    return clean


def _parsed_arguments(arguments: Any) -> JsonObject:
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            return {}
    return arguments if isinstance(arguments, dict) else {}


@dataclass
class DefaultEffectPolicy:
    """One attempt unless `effect_max_attempts` (keyed by effect type text) says otherwise."""

    default_max_attempts: int = 1
    default_backoff_base: float = 1.0
    default_backoff_max: float = 60.0
    effect_max_attempts: dict[str, int] = field(default_factory=dict)
    on_unknown: OnUnknown = "retry"

    def __post_init__(self) -> None:
        self.effect_max_attempts = self.effect_max_attempts or {}

    def max_attempts(self, effect: Effect) -> int:
        return self.effect_max_attempts.get(effect.type.value, self.default_max_attempts)

    def backoff_seconds(self, *, effect: Effect, attempt: int) -> float:  # noqa: ARG002 - port
        return float(min(self.default_backoff_base * 2 ** (attempt - 1), self.default_backoff_max))

    def idempotency_key(self, *, run: RunState, node_id: str, effect: Effect) -> str:
        return compute_idempotency_key(run_id=run.run_id, node_id=node_id, effect=effect)


class RetryPolicy(DefaultEffectPolicy):
    """Retries model and tool calls; everything else has one attempt."""

    def __init__(
        self,
        *,
        llm_max_attempts: int = 3,
        tool_max_attempts: int = 2,
        backoff_base: float = 1.0,
        backoff_max: float = 30.0,
    ) -> None:
        super().__init__(
            default_backoff_base=backoff_base,
            default_backoff_max=backoff_max,
            effect_max_attempts={"llm_call": llm_max_attempts, "tool_calls": tool_max_attempts},
        )


class NoRetryPolicy(DefaultEffectPolicy):
    """One attempt for everything."""

    def __init__(self) -> None:
        super().__init__()
