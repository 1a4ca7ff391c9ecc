"""Limits and defaults that a runtime gives to its runs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final

DEFAULT_MAX_TOKENS: Final = 32768
DEFAULT_RECOMMENDED_MAX_INPUT_TOKENS = -1
"""Negative: no recommended cap on input tokens."""

_SAFETY_TOKENS = 256


@dataclass(frozen=True, slots=True)
class RunLimits:
    """What a run may use before it rests until somebody raises the limit; 0 is no limit.

    Attributes:
        steps: Calls of nodes, of one run.
        ledger_bytes: Bytes of the ledger of one run, and of what the run put beside it: large values and
            artifacts, each once.
        seconds: Time for which one run was driven. While it waits, or nobody drives it, none passes: an
            answer that comes after weeks finds the run as it was.
        depth: How deep runs start runs below the root of their tree.
        runs: Runs of the whole tree.
        failures: Failures of one node after which its run went on, without a success between.
    """

    steps: int = 100_000
    ledger_bytes: int = 128 * 1024 * 1024
    seconds: int = 24 * 60 * 60
    depth: int = 64
    runs: int = 1000
    failures: int = 100


@dataclass(frozen=True)
class RuntimeConfig:
    """Limits are counts and tokens; None means "from the model's capabilities, else unknown".

    `run_limits` are what new runs may use, and runs without any limits that are gone on with; None,
    the default, leaves them unlimited.
    """

    max_iterations: int = 25
    warn_iterations_pct: int = 80
    max_tokens: int | None = None
    max_output_tokens: int | None = None
    max_input_tokens: int | None = None
    warn_tokens_pct: int = 80
    max_history_messages: int = -1
    provider: str | None = None
    model: str | None = None
    model_capabilities: dict[str, Any] = field(default_factory=dict)
    run_limits: RunLimits | None = None

    def to_limits_dict(self) -> dict[str, Any]:
        """Give the initial `_limits` of a run."""
        max_tokens = (
            self.max_tokens or self.model_capabilities.get("max_tokens") or DEFAULT_MAX_TOKENS
        )
        max_output = self.max_output_tokens
        if max_output is None:
            max_output = self.model_capabilities.get("max_output_tokens")
        return {
            "max_iterations": self.max_iterations,
            "current_iteration": 0,
            "max_tokens": max_tokens,
            "max_output_tokens": max_output,
            "max_input_tokens": self._clamped_input(max_tokens, max_output),
            "estimated_tokens_used": 0,
            "max_history_messages": self.max_history_messages,
            "warn_iterations_pct": self.warn_iterations_pct,
            "warn_tokens_pct": self.warn_tokens_pct,
        }

    def _clamped_input(self, max_tokens: int, max_output: int | None) -> int | None:
        if self.max_input_tokens is None or max_output is None:
            return self.max_input_tokens
        ceiling = max(0, max_tokens - max_output - _SAFETY_TOKENS)
        return max(0, min(self.max_input_tokens, ceiling))

    def with_capabilities(self, capabilities: dict[str, Any]) -> RuntimeConfig:
        """Give a copy whose model capabilities are replaced."""
        return replace(self, model_capabilities=dict(capabilities))
