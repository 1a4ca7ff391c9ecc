"""How near a run is to its limits.

Two kinds of limits: those of 0.4.x, in `vars._limits`, which only warn (the kernel counts
tokens, hosts count the rest), and the brakes of `RunLimits`, in `vars._runtime.limits`, at which
a run rests: the kernel counts them, and `reached_limit` says at which one it rests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from abstractruntime._json import mapping
from abstractruntime.core.config import DEFAULT_MAX_TOKENS, RunLimits, RuntimeConfig
from abstractruntime.core.models import JsonObject, LimitWarning, RunState
from abstractruntime.core.vars import RUNTIME, get_namespace, get_runtime

SETTABLE: Final = frozenset(RuntimeConfig().to_limits_dict())
RUN_LIMITS: Final[Mapping[str, int]] = asdict(RunLimits())
"""The brakes by name, each with its default."""
NEAR_PCT: Final = 80
_OWN, _REACHED = "limits", "limited"
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


# -- brakes -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LimitUse:
    """How much of one limit is used; `maximum` is above 0."""

    limit: str
    used: int
    maximum: int

    @property
    def is_reached(self) -> bool:
        return self.used >= self.maximum

    @property
    def is_near(self) -> bool:
        return 100 * self.used >= NEAR_PCT * self.maximum

    def to_dict(self) -> JsonObject:
        return {"limit": self.limit, "used": self.used, "max": self.maximum}


def run_limits(vars: Mapping[str, Any]) -> dict[str, int]:  # noqa: A002 - the 0.4.x name
    """Give the limits of a run by name; those that are none, or 0, are left out."""
    return {name: most for name, most in stated_limits(vars).items() if most}


def stated_limits(vars: Mapping[str, Any]) -> dict[str, int]:  # noqa: A002 - the 0.4.x name
    """Give what is said of the limits of a run, 0 for one that it shall not have."""
    found = mapping(mapping(vars.get(RUNTIME)).get(_OWN))
    return settable_run_limits(found)


def limits_given_by(config: RuntimeConfig) -> dict[str, int]:
    """Give the limits of new runs by name; nothing where there are none."""
    return asdict(config.run_limits) if config.run_limits else {}


def is_limit(value: Any) -> bool:
    """Tell whether a value is one that a limit can have."""
    return type(value) is int and value >= 0


def settable_run_limits(updates: Mapping[str, Any]) -> dict[str, int]:
    """Give what of some updates are limits at which a run rests."""
    return {n: most for n, most in updates.items() if n in RUN_LIMITS and is_limit(most)}


def set_limits(vars: JsonObject, limits: Mapping[str, int]) -> None:  # noqa: A002
    """Give a new run these limits and no others, whatever its variables say."""
    runtime = get_runtime(vars)
    runtime.pop(_OWN, None)
    if limits:
        runtime[_OWN] = dict(limits)


def change_limits(vars: JsonObject, limits: Mapping[str, int]) -> None:  # noqa: A002
    """Change some limits of a run."""
    set_limits(vars, {**mapping(get_runtime(vars).get(_OWN)), **limits})


def reached_limit(vars: Mapping[str, Any]) -> Mapping[str, Any] | None:  # noqa: A002
    """Give the limit at which a run rests, `{limit, used, max, at}`; None while it rests at none."""
    control = mapping(mapping(vars.get(RUNTIME)).get("control"))
    found = mapping(control.get(_REACHED))
    is_whole = found.get("limit") in RUN_LIMITS and all(
        is_limit(found.get(n)) for n in ("used", "max")
    )
    return found if is_whole else None


def rest_at(vars: JsonObject, use: LimitUse, at: str) -> None:  # noqa: A002
    """Note in the variables of a run that it rests at a limit."""
    get_namespace(get_runtime(vars), "control")[_REACHED] = {**use.to_dict(), "at": at}


def go_on_from(vars: JsonObject) -> None:  # noqa: A002
    """Note in the variables of a run that it rests at no limit any more."""
    mapping(mapping(vars.get(RUNTIME)).get("control")).pop(_REACHED, None)


def limit_uses(run: RunState, used: Mapping[str, int | None]) -> Iterator[LimitUse]:
    """Give the use of each limit of a run.

    Args:
        run: Has counted its own steps, seconds and failures.
        used: What stands elsewhere, such as `ledger_bytes`; what is unknown is left out.
    """
    own = run.used or {}
    failures = max(mapping(own.get("failures")).values(), default=0)
    known = {"steps": own.get("steps", 0), "seconds": int(own.get("seconds", 0)), **used}
    for name, maximum in run_limits(run.vars).items():
        amount = failures if name == "failures" else known.get(name)
        if amount is not None:
            yield LimitUse(name, amount, maximum)


def count_outcome(run: RunState, node_id: str, *, failed: bool) -> None:
    """Count the failures of a node after which its run went on; a success ends the count."""
    if run.used is None:
        return
    failures = mapping(run.used.get("failures"))
    if failed:
        failures = {**failures, node_id: failures.get(node_id, 0) + 1}
    elif node_id in failures:
        failures = {name: count for name, count in failures.items() if name != node_id}
    else:
        return
    run.used = {**run.used, "failures": failures}
