"""Calling tools, from a list that a model gave or one at a time."""

from __future__ import annotations

from collections.abc import Iterable

from abstractruntime._json import JsonObject, JsonValue, load_strict
from abstractruntime.nodes._settings import text, unique
from abstractruntime.nodes.base import (
    EffectNode,
    Element,
    Example,
    Pin,
    PlannedEffect,
    Problem,
    Scope,
    register,
)
from abstractruntime.nodes.keys import TEXTS, older, settings

_ALLOWED = Pin(
    "allowed_tools",
    "tools",
    "Names of tools that may be called; an empty list allows none.",
    aliases=("allowedTools",),
    control_plane=True,
)
_EXECUTED = "executed"
_MISSING = "Missing tool result"
_COMPAT = (
    "Effects 17: an answer without results, as when an approval is denied, is no success. "
    "Effects 25: a node without an allowlist is a warning. The allowlist never comes from the "
    "ambient value."
)

_ADD: JsonObject = {"name": "add", "arguments": {"a": 1}}
_ADDED: JsonObject = {
    "mode": _EXECUTED,
    "results": [{"name": "add", "success": True, "output": 2, "error": None}],
}
_REFUSAL = "Tool 'rm' is not allowed"
_REFUSED: JsonObject = {
    "mode": _EXECUTED,
    "results": [{"name": "rm", "success": False, "output": None, "error": _REFUSAL}],
}


class _ToolNode(EffectNode):
    """What the two nodes share: the allowlist, and the effect."""

    family = "tools"
    capability = "tool:*"
    waits = "sometimes"
    data_schema = settings("effectConfig", allowed_tools=TEXTS, allowedTools=older(TEXTS))
    compat = _COMPAT

    def check(self, element: Element) -> Iterable[Problem]:
        if not _has_allowlist(element):
            yield Problem(
                "may call any tool of the host: it has no allowlist",
                "VF207",
                hint="name the tools: wire a tools_allowlist node into allowed_tools",
            )

    def request(
        self, element: Element, inputs: JsonObject, calls: list[JsonObject]
    ) -> PlannedEffect:
        payload: JsonObject = {"tool_calls": calls}
        allowed = _allowlist(element, inputs)
        payload |= {} if allowed is None else {"allowed_tools": allowed}
        return PlannedEffect("tool_calls", payload)


@register
class ToolCallsNode(_ToolNode):
    type = "tool_calls"
    needs = ("tool_calls",)
    doc = (
        "Calls tools in the order of the list and gives their results in the same order. A tool that is "
        "unknown, not allowed or raises an error is a failed result; the flow goes on, and `success` "
        "is true only if all calls succeeded. A host without tools shows the calls and waits for their "
        "results."
    )
    inputs = (
        Pin(
            "tool_calls",
            "array",
            "The calls, one call, or either as JSON text.",
            also=("object", "string"),
        ),
        _ALLOWED,
    )
    primary_pin = "results"
    outputs = (
        Pin("results", "array", "One result per call: `success`, `output`, `error`."),
        Pin("success", "boolean", "Whether all calls succeeded; true for no calls."),
        Pin("raw", "object", "The answer as it came."),
    )
    examples = (
        Example(
            {"tool_calls": [_ADD], "allowed_tools": ["add"]},
            output={"results": _ADDED["results"], "success": True, "raw": _ADDED},
            asks={"tool_calls": {"tool_calls": [_ADD], "allowed_tools": ["add"]}},
            result=_ADDED,
        ),
    )

    def plan(self, element: Element, inputs: JsonObject, scope: Scope) -> PlannedEffect:
        given = _parsed(inputs.get("tool_calls"))
        calls = given if isinstance(given, list) else [given]
        return self.request(element, inputs, [c for c in calls if isinstance(c, dict)])

    def pins(self, element: Element, result: JsonValue) -> JsonObject:
        results = _results(result)
        was_executed = results is not None and _mode(result) in ("", _EXECUTED)
        success = was_executed and all(r.get("success") is True for r in results or ())
        return {"results": results or [], "success": success, "raw": result}


@register
class CallToolNode(_ToolNode):
    type = "call_tool"
    needs = ("tool_call",)
    doc = (
        "Calls one tool and gives what it returned, or the text of its error when `success` is false. "
        "The flow goes on either way."
    )
    inputs = (
        Pin(
            "tool_call",
            "object",
            "The call, `name` and `arguments`, or its JSON text.",
            aliases=("toolCall",),
            also=("string",),
        ),
        _ALLOWED,
    )
    primary_pin = "result"
    outputs = (
        Pin("result", "any", "What the tool returned, or why it did not."),
        Pin("success", "boolean", "Whether the call succeeded."),
        Pin("raw", "object", "The answer as it came."),
    )
    examples = (
        Example(
            {"tool_call": _ADD, "allowed_tools": ["add"]},
            output={"result": 2, "success": True, "raw": _ADDED},
            asks={"tool_calls": {"tool_calls": [_ADD], "allowed_tools": ["add"]}},
            result=_ADDED,
        ),
        Example(
            {"tool_call": {"name": "rm"}, "allowed_tools": []},
            output={"result": _REFUSAL, "success": False, "raw": _REFUSED},
            asks={"tool_calls": {"tool_calls": [{"name": "rm"}], "allowed_tools": []}},
            result=_REFUSED,
        ),
    )

    def plan(self, element: Element, inputs: JsonObject, scope: Scope) -> PlannedEffect:
        call = _parsed(inputs.get("tool_call"))
        return self.request(element, inputs, [call] if isinstance(call, dict) else [])

    def pins(self, element: Element, result: JsonValue) -> JsonObject:
        first = next(iter(_results(result) or ()), None)
        if first is None:
            return {"result": _no_result(result), "success": False, "raw": result}
        success = first.get("success") is True and _mode(result) in ("", _EXECUTED)
        told = first.get("output") if success else text(first.get("error")) or "Tool failed"
        return {"result": told, "success": success, "raw": result}


# --- allowlist and calls ---------------------------------------------------------------


def _has_allowlist(element: Element) -> bool:
    spellings = (_ALLOWED.id, *_ALLOWED.aliases)
    config = element.config("effectConfig")
    return any(
        name in element.wired or name in element.pin_defaults or isinstance(config.get(name), list)
        for name in spellings
    )


def _allowlist(element: Element, inputs: JsonObject) -> list[JsonValue] | None:
    """Give the names that may be called, None when all may."""
    if _ALLOWED.id in inputs:
        return _names(inputs[_ALLOWED.id])
    config = element.config("effectConfig")
    lists = (config.get(name) for name in (_ALLOWED.id, *_ALLOWED.aliases))
    found = next((names for names in lists if isinstance(names, list)), None)
    return None if found is None else _names(found)


def _names(value: JsonValue) -> list[JsonValue]:
    names = value if isinstance(value, list) else []
    return unique([n.strip() for n in names if isinstance(n, str) and n.strip()])


def _parsed(value: JsonValue) -> JsonValue:
    if not isinstance(value, str):
        return value
    try:
        return load_strict(value)
    except ValueError:
        return None


# --- results ---------------------------------------------------------------------------


def _results(result: JsonValue) -> list[JsonObject] | None:
    """Give the results, None where the answer has no list of them."""
    found = result.get("results") if isinstance(result, dict) else None
    return [r for r in found if isinstance(r, dict)] if isinstance(found, list) else None


def _mode(result: JsonValue) -> str:
    return text(result.get("mode")).strip() if isinstance(result, dict) else ""


def _no_result(result: JsonValue) -> str:
    """Say why there is no result: what the answer says, else its mode."""
    facts = result if isinstance(result, dict) else {}
    for name in ("reason", "error", "message"):
        if text(facts.get(name)).strip():
            return text(facts[name]).strip()
    if isinstance(facts.get("approved"), bool):
        return "Approved, but no result was given" if facts["approved"] else "Denied by user"
    mode = _mode(result)
    return (
        f"Tool calls were not executed (mode: {mode})" if mode not in ("", _EXECUTED) else _MISSING
    )
