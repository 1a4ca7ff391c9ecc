"""Effect handlers of a case: scripted ones first, then those of the runtime.

Which mock a call gets:
1. the script of its node, as `FLOW:NODE` or `NODE`; else that of its effect type; a call of
   tools gets one for each tool by name;
2. in a script, the first mock with a rule that fits the question; else those without a
   rule, one after another. A single mock that is no list serves every call.
A call that has no mock goes to the runtime's own handler. A model has none, and its call fails.
Without a mock of any tool the run waits for the results of tool calls, as on the command line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from abstractruntime._json import JsonObject, JsonValue, isolate
from abstractruntime.core.handlers import EffectContext, Handler
from abstractruntime.core.models import Effect, EffectType
from abstractruntime.core.ports import EffectOutcome
from abstractruntime.effects.tool_calls import ToolCalls
from abstractruntime.llm.handler import LLMHandler
from abstractruntime.testing._case_model import Case, Mock, Script
from abstractruntime.testing.stub_llm import StubLLM
from abstractruntime.tools.port import ToolContext, failed


class CaseHandlers:
    """Handlers of all effect types for one run of a case, and what they were asked."""

    def __init__(self, case: Case) -> None:
        self.messages: list[str] = []
        self.calls: Counter[str] = Counter()
        self._nodes, self._effects, self._tools = (
            {name: _Reader(script) for name, script in scripts.items()}
            for scripts in (case.nodes, case.effects, case.tools)
        )
        self._tool_calls = ToolCalls(_ScriptedTools(self._tools) if self._tools else None)
        self._builtin: Mapping[EffectType, Handler] = {}

    def handlers(self) -> dict[EffectType, Handler]:
        return {kind: Handler(self._call, external=True) for kind in EffectType}

    def fall_back_to(self, builtin: Mapping[EffectType, Handler]) -> None:
        """Set who serves the calls that have no mock."""
        self._builtin = builtin

    def unused(self) -> Iterator[str]:
        """Name the scripts with mocks that no call has taken."""
        parts = {"nodes": self._nodes, "effects": self._effects, "tools": self._tools}
        for part, readers in parts.items():
            for name, reader in readers.items():
                if reader.left:
                    yield f"mocks/{part}/{name}: {reader.left} of {reader.size} were not used"

    def _call(self, ctx: EffectContext, effect: Effect) -> EffectOutcome:
        self.calls.update((effect.type.value, ctx.node_id))
        outcome = self._outcome(ctx, effect)
        if effect.type is EffectType.ANSWER_USER and outcome.status == "completed":
            said = outcome.result if isinstance(outcome.result, dict) else {}
            self.messages.append(str(said.get("message", "")))
        return outcome

    def _outcome(self, ctx: EffectContext, effect: Effect) -> EffectOutcome:
        reader = self._reader(ctx, effect)
        if reader is not None:
            mock = reader.take(_question(effect.payload))
            if mock is None:
                text = f"node {ctx.node_id!r}: the case has no mock left for {effect.type.value}"
                return EffectOutcome.failed(text)
            return _perform(mock, ctx, effect)
        if effect.type is EffectType.TOOL_CALLS:
            return self._tool_calls(ctx, effect)
        own = self._builtin.get(effect.type)
        if own is not None:
            return own.call(ctx, effect)
        return EffectOutcome.failed(
            f"node {ctx.node_id!r} asks for {effect.type.value}, and the case has no mock for it;"
            f" add mocks/nodes/{ctx.node_id} or mocks/effects/{effect.type.value}"
        )

    def _reader(self, ctx: EffectContext, effect: Effect) -> _Reader | None:
        named = self._nodes.get(f"{ctx.run.workflow_id}:{ctx.node_id}")
        return named or self._nodes.get(ctx.node_id) or self._effects.get(effect.type.value)


class _ScriptedTools:
    """A `ToolExecutor` that answers from the scripts of a case."""

    def __init__(self, readers: Mapping[str, _Reader]) -> None:
        self._readers = readers

    def execute(self, calls: Sequence[JsonObject], ctx: ToolContext) -> Sequence[JsonObject]:  # noqa: ARG002 - part of the protocol
        return [self._result(str(call.get("name") or "")) for call in calls]

    def specs(self) -> Sequence[JsonObject]:
        return [{"name": name, "description": "", "parameters": {}} for name in self._readers]

    def _result(self, name: str) -> JsonObject:
        reader = self._readers.get(name)
        mock = reader.take("") if reader else None
        if mock is None:
            return failed(f"the case has no mock for the tool {name!r}")
        if mock.fail is not None:
            return failed(mock.fail)
        return {"success": True, "output": isolate(mock.raw), "error": None}


class _Reader:
    """Gives the mocks of one script, and counts what is left."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._ruled = [mock for mock in script.mocks if mock.answer and mock.answer.has_rule]
        self._queue = [mock for mock in script.mocks if mock not in self._ruled]
        self.size = len(self._queue)

    @property
    def left(self) -> int:
        return 0 if self._script.is_fixed else len(self._queue)

    def take(self, question: str) -> Mock | None:
        for mock in self._ruled:
            if mock.answer and mock.answer.fits(question):
                return mock
        if not self._queue:
            return None
        return self._queue[0] if self._script.is_fixed else self._queue.pop(0)


def _perform(mock: Mock, ctx: EffectContext, effect: Effect) -> EffectOutcome:
    if mock.fail is not None:
        return EffectOutcome.failed(mock.fail)
    if mock.answer is None or mock.answer.fail is not None:
        return EffectOutcome.completed(isolate(mock.raw))
    if effect.type is not EffectType.LLM_CALL:
        return EffectOutcome.failed(
            f"node {ctx.node_id!r}: reply, data and tool_calls answer a model call,"
            f" and this is {effect.type.value}; give its result"
        )
    return LLMHandler(StubLLM([mock.answer]))(ctx, effect)


def _question(payload: JsonObject) -> str:
    """Give the text that rules look at: of a model call the prompt or last user message."""
    prompt: JsonValue = payload.get("prompt")
    if isinstance(prompt, str) and prompt.strip():
        return prompt
    messages = payload.get("messages")
    users = (
        [m for m in messages if isinstance(m, dict) and m.get("role") == "user"]
        if isinstance(messages, list)
        else []
    )
    return str(users[-1].get("content") or "") if users else ""
