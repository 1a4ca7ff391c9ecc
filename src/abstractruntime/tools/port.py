"""What an executor of tools is to the runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from abstractruntime._json import JsonObject, JsonValue, replace_surrogates


@dataclass(frozen=True, slots=True)
class ToolContext:
    """For whom tools are called.

    A batch that was begun and not concluded, as after a crash, comes again with the same
    `occurrence_id`, and its calls with the same `runtime_call_id`: an executor that must not
    act twice remembers one of them. `attempt` counts repetitions that a policy asked for.
    """

    run_id: str
    node_id: str
    occurrence_id: str
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Delegated:
    """The executor's answer when someone else runs the calls: the run waits for the results.

    Without `wait_key` the wait is named `tool_calls:<run>:<node>`. `calls` replaces the calls
    shown, `details` says more about who runs them.
    """

    mode: str = "passthrough"
    wait_reason: str | None = None
    wait_key: str | None = None
    calls: list[JsonObject] | None = None
    details: JsonObject = field(default_factory=dict)


class ToolExecutor(Protocol):
    """Runs tools."""

    def execute(
        self, calls: Sequence[JsonObject], ctx: ToolContext
    ) -> Sequence[JsonObject] | Delegated:
        """Run the calls, one after another, or hand them to someone else.

        A call is `{name, arguments, call_id, runtime_call_id}`. A result is
        `{success, output, error}`, in the order of the calls; one that fails is a result and no
        exception.
        """
        ...

    def specs(self) -> Sequence[JsonObject]:
        """Give `{name, description, parameters}` of each tool, for models."""
        ...


class Passthrough:
    """An executor that runs nothing: every batch waits for the host, who answers with results."""

    def __init__(self, mode: str = "passthrough") -> None:
        self._mode = mode

    def execute(
        self,
        calls: Sequence[JsonObject],  # noqa: ARG002 - part of the protocol
        ctx: ToolContext,  # noqa: ARG002 - part of the protocol
    ) -> Delegated:
        return Delegated(self._mode)

    def specs(self) -> Sequence[JsonObject]:
        return ()


def failed(error: str, output: JsonValue = None) -> JsonObject:
    """Give the result of a call that failed."""
    return {"success": False, "output": output, "error": replace_surrogates(error)}
