"""Tools that answer from a table, for tests and offline runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from abstractruntime._json import JsonObject, isolate
from abstractruntime.tools.mapping import MappingTools
from abstractruntime.tools.port import ToolContext

__all__ = ["StubTools"]


class StubTools:
    """A `ToolExecutor` over a table of tools; `calls` holds every call it got, `contexts` for whom.

    The value of a name is what the tool returns, an exception it raises, or a function of its
    arguments. Other names are unknown tools, unless there is a `default`, which is a function
    of name and arguments.
    """

    def __init__(
        self,
        tools: Mapping[str, Any] | None = None,
        *,
        default: Callable[[str, JsonObject], Any] | None = None,
    ) -> None:
        self.calls: list[JsonObject] = []
        self.contexts: list[ToolContext] = []
        self._tools = {name: _as_function(value) for name, value in (tools or {}).items()}
        self._default = default

    def execute(self, calls: Sequence[JsonObject], ctx: ToolContext) -> Sequence[JsonObject]:
        """Answer the calls from the table."""
        self.calls += isolate(list(calls))
        self.contexts += [ctx] * len(calls)
        return self._executor(calls).execute(calls, ctx)

    def specs(self) -> Sequence[JsonObject]:
        """Give the tools of the table, without parameters."""
        return [{"name": name, "description": "", "parameters": {}} for name in self._tools]

    def _executor(self, calls: Sequence[JsonObject]) -> MappingTools:
        if self._default is None:
            return MappingTools(self._tools)
        names = {str(call.get("name")) for call in calls} - self._tools.keys()
        return MappingTools({**self._tools, **{name: self._fallback(name) for name in names}})

    def _fallback(self, name: str) -> Callable[..., Any]:
        return lambda **arguments: self._default and self._default(name, arguments)


def _as_function(value: Any) -> Callable[..., Any]:
    if callable(value) and not isinstance(value, type):
        return value  # type: ignore[no-any-return]  # a table of tools holds functions of any shape

    def answer(**_arguments: Any) -> Any:
        if isinstance(value, Exception):
            raise value
        return value

    return answer
