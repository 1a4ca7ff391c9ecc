"""How near a run is to its limits; the kernel counts tokens, hosts count the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from abstractruntime.core.config import DEFAULT_MAX_TOKENS, RuntimeConfig
from abstractruntime.core.models import JsonObject, LimitWarning

SETTABLE: Final = frozenset(RuntimeConfig().to_limits_dict())
_DEFAULT_ITERATIONS = 25
_DEFAULT_WARN_PCT = 80


def limit_status(limits: Mapping[str, Any]) -> JsonObject:
    """Give what is used of each limit; a maximum of zero or null counts as the default."""
    iterations = _use(limits, "current_iteration", "max_iterations", _DEFAULT_ITERATIONS)
    tokens = _use(limits, "estimated_tokens_used", "max_tokens", DEFAULT_MAX_TOKENS)
    return {
        "iterations": {
            "current": iterations.current,
            "max": iterations.maximum,
            "pct": iterations.pct,
            "warning": iterations.pct >= _warn_pct(limits, "warn_iterations_pct"),
        },
        "tokens": {
            "estimated_used": tokens.current,
            "max": tokens.maximum,
            "max_input_tokens": limits.get("max_input_tokens"),
            "max_output_tokens": limits.get("max_output_tokens"),
            "pct": tokens.pct,
            "warning": tokens.pct >= _warn_pct(limits, "warn_tokens_pct"),
        },
        "history": {"max_messages": limits.get("max_history_messages", -1)},
    }


def limit_warnings(limits: Mapping[str, Any]) -> list[LimitWarning]:
    """Give a warning for each limit that is near or passed; unused tokens warn of nothing."""
    iterations = _use(limits, "current_iteration", "max_iterations", _DEFAULT_ITERATIONS)
    tokens = _use(limits, "estimated_tokens_used", "max_tokens", DEFAULT_MAX_TOKENS)
    found = [_warning("iterations", iterations, _warn_pct(limits, "warn_iterations_pct"))]
    if tokens.current > 0:
        found.append(_warning("tokens", tokens, _warn_pct(limits, "warn_tokens_pct")))
    return [warning for warning in found if warning is not None]


def _use(limits: Mapping[str, Any], used: str, most: str, default: int) -> LimitWarning:
    maximum = int(limits.get(most) or 0)
    return LimitWarning("", "", int(limits.get(used) or 0), maximum if maximum > 0 else default)


def _warn_pct(limits: Mapping[str, Any], name: str) -> float:
    value = limits.get(name)
    return float(value) if isinstance(value, int | float) else float(_DEFAULT_WARN_PCT)


def _warning(kind: str, use: LimitWarning, warn_pct: float) -> LimitWarning | None:
    if use.current >= use.maximum:
        return LimitWarning(kind, "exceeded", use.current, use.maximum)
    if use.pct >= warn_pct:
        return LimitWarning(kind, "warning", use.current, use.maximum)
    return None


def reached_limit(_vars: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return None
