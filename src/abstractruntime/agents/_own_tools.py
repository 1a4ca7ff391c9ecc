"""Tools of an agent that the runtime serves itself: questions, memory, its own state, other agents."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from abstractruntime._json import JsonObject, JsonValue, mapping
from abstractruntime.core.failures import CONTINUE, ON_FAILURE
from abstractruntime.core.models import Effect, EffectType, RunState
from abstractruntime.core.vars import default_limits, get_runtime

__all__ = ["OWN_TOOLS", "OwnTool", "own_specs"]

_SUB_ITERATIONS: Final = 10
_TEXT: Final[JsonObject] = {"type": "string"}
_TEXTS: Final[JsonObject] = {"type": "array", "items": _TEXT}

Payload = Callable[[RunState, JsonObject, list[str]], JsonObject]


@dataclass(frozen=True, slots=True)
class OwnTool:
    """One tool: what the model is told, and the effect that a call becomes.

    Attributes:
        parameters: By name; one with a `default` may be left out.
        payload: Makes the effect's payload from the run, the arguments and the allowed tools.
        reads: Gives the text of a result; None where it is that of a tool.
    """

    description: str
    parameters: Mapping[str, JsonObject]
    kind: EffectType
    payload: Payload
    reads: Callable[[JsonValue], str] | None = None

    def effect(
        self, run: RunState, call: JsonObject, allowed: list[str], result_key: str
    ) -> Effect:
        """Give the effect of a call; one that fails is the model's to deal with, not the run's end."""
        names = {"tool_name": call["name"], "call_id": call["call_id"], ON_FAILURE: CONTINUE}
        asked = self.payload(run, mapping(call["arguments"]), allowed)
        return Effect(self.kind, {**asked, **names}, result_key)


def own_specs(allowed: list[str]) -> list[JsonValue]:
    """Give the specifications of those that an agent may use."""
    return [
        {"name": name, "description": tool.description, "parameters": dict(tool.parameters)}
        for name, tool in OWN_TOOLS.items()
        if name in allowed
    ]


def _arguments(*names: str, **renamed: str) -> Payload:
    """Make a payload of the arguments as they are, or under another name."""
    wanted = {name: name for name in names} | renamed

    def make(_run: RunState, arguments: JsonObject, _allowed: list[str]) -> JsonObject:
        return {
            theirs: arguments[ours]
            for ours, theirs in wanted.items()
            if arguments.get(ours) is not None
        }

    return make


def _question(_run: RunState, arguments: JsonObject, _allowed: list[str]) -> JsonObject:
    asked = arguments.get("question") or arguments.get("prompt")
    choices = arguments.get("choices")
    listed = [str(c) for c in choices] if isinstance(choices, list) and choices else None
    return {"prompt": str(asked or ""), **({"choices": listed} if listed else {})}


def _said(answer: JsonValue) -> str:
    """Give the text of a person's answer."""
    said = answer.get("response", answer) if isinstance(answer, dict) else answer
    return said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)


def _delegation(run: RunState, arguments: JsonObject, allowed: list[str]) -> JsonObject:
    """Give a part of the task to another agent, with at most the tools that this one has."""
    wanted, runtime = arguments.get("tools"), get_runtime(run.vars)
    named = wanted if isinstance(wanted, list) else allowed
    tools = [name for name in allowed if name in named and name not in _NOT_DELEGATED]
    about = arguments.get("context")
    messages = (
        [{"role": "user", "content": about}] if isinstance(about, str) and about.strip() else []
    )
    kept = {n: runtime[n] for n in ("provider", "model", "temperature", "seed") if n in runtime}
    child_vars: dict[str, Any] = {
        "context": {"task": str(arguments.get("task") or ""), "messages": messages},
        "scratchpad": {"iteration": 0, "max_iterations": _SUB_ITERATIONS},
        "_runtime": {"inbox": [], "allowed_tools": tools, **kept},
        "_temp": {},
        "_limits": {**default_limits(), "max_iterations": _SUB_ITERATIONS},
    }
    return {
        "workflow_id": run.workflow_id,
        "vars": child_vars,
        "async": True,
        "wait": True,
        "wrap_as_tool_result": True,
    }


_NOT_DELEGATED: Final = frozenset({"ask_user", "delegate_agent"})

OWN_TOOLS: Final[Mapping[str, OwnTool]] = {
    "ask_user": OwnTool(
        "Ask the user one question and get the answer. Use it only for what no tool can tell.",
        {"question": _TEXT, "choices": {**_TEXTS, "default": []}},
        EffectType.ASK_USER,
        _question,
        _said,
    ),
    "delegate_agent": OwnTool(
        "Give a part of the task, described completely, to another agent, and get its answer.",
        {"task": _TEXT, "context": {**_TEXT, "default": ""}, "tools": {**_TEXTS, "default": []}},
        EffectType.START_SUBWORKFLOW,
        _delegation,
    ),
    "recall_memory": OwnTool(
        "Search what was remembered.",
        {"query": _TEXT, "scope": {**_TEXT, "default": "run"}},
        EffectType.MEMORY_QUERY,
        _arguments("query", "scope", "tags", "since", "until", limit="limit_spans"),
    ),
    "remember_note": OwnTool(
        "Remember a note.",
        {"note": _TEXT, "tags": {"type": "object", "default": {}}},
        EffectType.MEMORY_NOTE,
        _arguments("note", "tags", "scope", "sources", "location"),
    ),
    "remember": OwnTool(
        "Add tags to something that was remembered.",
        {"span_id": _TEXT, "tags": {"type": "object"}},
        EffectType.MEMORY_TAG,
        _arguments("span_id", "tags", "merge", "scope"),
    ),
    "compact_memory": OwnTool(
        "Replace older messages of this conversation by a summary.",
        {
            "preserve_recent": {"type": "integer", "default": 6},
            "focus": {**_TEXT, "default": ""},
        },
        EffectType.MEMORY_COMPACT,
        _arguments("preserve_recent", "focus", "compression_mode"),
    ),
    "inspect_vars": OwnTool(
        "Look at a place in the variables of this run.",
        {"path": {**_TEXT, "default": "scratchpad"}},
        EffectType.VARS_QUERY,
        _arguments("path", "keys_only"),
    ),
}
