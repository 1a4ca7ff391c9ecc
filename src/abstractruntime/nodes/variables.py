"""Reading and writing the run's own variables."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, ClassVar

from abstractruntime._json import JsonObject, JsonValue, isolate
from abstractruntime._ports_system import random_hex
from abstractruntime.core.models import format_time
from abstractruntime.nodes._shown import shown_value
from abstractruntime.nodes.base import (
    MISSING,
    Element,
    Example,
    NodeError,
    PassThroughNode,
    Pin,
    Problem,
    Scope,
    ValueNode,
    register,
)
from abstractruntime.nodes.keys import FLAG, TEXT, settings
from abstractruntime.nodes.paths import assign, is_reserved, read_path

_TYPES = ("boolean", "number", "string", "object", "array", "any")
_EMPTY: dict[str, JsonValue] = {
    "boolean": False,
    "number": 0,
    "string": "",
    "object": {},
    "array": [],
    "any": None,
}


# --- reading ---------------------------------------------------------------------------


@register
class GetVar(ValueNode):
    type = "get_var"
    needs = ("name",)
    family = "variables"
    reads_variables = True
    doc = (
        "Reads a run variable by name or path (`order.lines[0].sku`, `order.lines.0.sku`), anew each "
        "time. Anything missing on the way gives the `default`, null without one; a stored null is kept."
    )
    inputs = (
        Pin("name", "string", role="reads"),
        Pin("default", doc="Given when nothing is stored."),
    )
    outputs = (Pin("value"),)
    examples = (
        Example(
            {"name": "user.name"},
            output={"value": "Ada"},
            around={"variables": {"user": {"name": "Ada"}}},
        ),
    )
    compat = "Q26: `[n]` works beside dotted numbers. `default` was ignored."

    def evaluate(self, element: Element, inputs: JsonObject, scope: Scope) -> JsonValue:
        found = read_path(scope.vars, _text(inputs.get("name")))
        return {"value": inputs.get("default") if found is MISSING else found}


@register
class BoolVar(ValueNode):
    type = "bool_var"
    family = "variables"
    reads_variables = True
    doc = "Reads a variable that is a boolean; anything else gives the declared default."
    outputs = (Pin("name", "string"), Pin("value", "boolean"))
    data_schema: ClassVar[JsonObject] = {
        "literalValue": {
            "type": ["string", "object"],
            "properties": {"name": TEXT, "default": FLAG},
        }
    }
    examples = (
        Example(
            {}, {"name": "on", "value": True}, {"literalValue": {"name": "on", "default": True}}
        ),
    )

    def variable(self, element: Element) -> str:
        declared = element.data.get("literalValue")
        return _text(declared if isinstance(declared, str) else _declared(element, "name"))

    def evaluate(self, element: Element, inputs: JsonObject, scope: Scope) -> JsonValue:
        name = self.variable(element)
        stored = _lookup(scope.vars, name)
        default = _declared(element, "default") is True
        return {"name": name, "value": stored if isinstance(stored, bool) else default}


@register
class VarDecl(ValueNode):
    type = "var_decl"
    family = "variables"
    reads_variables = True
    doc = (
        "Reads a variable of a declared type: the stored value if it has the type, else the declared "
        "default, else the empty value of the type. Declaring stores nothing."
    )
    outputs = (Pin("name", "string"), Pin("value"))
    data_schema = settings("literalValue", name=TEXT, type={"enum": list(_TYPES)}, default={})
    examples = (
        Example(
            {},
            {"name": "n", "value": 3},
            {"literalValue": {"name": "n", "type": "number", "default": 3}},
        ),
    )
    compat = "Q24: the type `any` uses its declared default."

    def variable(self, element: Element) -> str:
        return _text(_declared(element, "name"))

    def evaluate(self, element: Element, inputs: JsonObject, scope: Scope) -> JsonValue:
        name, kind = self.variable(element), _text(_declared(element, "type"))
        kind = kind if kind in _TYPES else "any"
        for candidate in (_lookup(scope.vars, name), _declared(element, "default")):
            if _has_type(candidate, kind):
                return {"name": name, "value": candidate}
        return {"name": name, "value": isolate(_EMPTY[kind])}


def _declared(element: Element, fact: str) -> JsonValue:
    return element.config("literalValue").get(fact)


def _has_type(value: JsonValue, kind: str) -> bool:
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    expected: dict[str, type] = {"boolean": bool, "string": str, "object": dict, "array": list}
    return isinstance(value, expected[kind]) if kind in expected else value is not None


@register
class GetContext(ValueNode):
    type = "get_context"
    family = "variables"
    reads_variables = True
    doc = "Reads the conversation: the variable `context`, its task as text and its messages as a list."
    outputs = (Pin("context", "object"), Pin("task", "string"), Pin("messages", "array"))
    examples = (
        Example(
            {},
            output={"context": {"task": "greet", "messages": []}, "task": "greet", "messages": []},
            around={"variables": {"context": {"task": "greet", "messages": []}}},
        ),
    )

    def evaluate(self, element: Element, inputs: JsonObject, scope: Scope) -> JsonValue:
        return context_record(scope.vars)


def context_record(variables: JsonObject) -> JsonObject:
    """Give the pins `context`, `task` and `messages` of the run's context."""
    context = variables.get("context")
    context = context if isinstance(context, dict) else {}
    messages = context.get("messages")
    if not isinstance(messages, list):
        messages = [] if messages is None else [messages]
    task = context.get("task")
    return {"context": context, "task": "" if task is None else str(task), "messages": messages}


# --- writing ---------------------------------------------------------------------------


@register
class SetVar(PassThroughNode):
    type = "set_var"
    needs = ("name",)
    family = "variables"
    doc = (
        "Stores a value in a run variable; a dotted name reaches into objects and lists. Without a "
        "value it stores the empty value of the pin's type. The ambient value stays as it was."
    )
    inputs = (Pin("name", "string", role="sets"), Pin("value"))
    outputs = (Pin("value"),)
    examples = (
        Example(
            {"name": "user.name", "value": "Ada"},
            output={"value": "Ada"},
            around={"variables": {"user": {"age": 36}}},
            after={"variables": {"user": {"age": 36, "name": "Ada"}}},
        ),
    )
    compat = "Q25: an index into a list replaces that item, out of range is an error."

    def evaluate(self, element: Element, inputs: JsonObject, scope: Scope) -> JsonValue:
        name = _variable_name(
            inputs.get("name"), "Set Variable requires a non-empty variable name."
        )
        value = inputs["value"] if "value" in inputs else _natural_default(element)
        assign(scope.vars, name, value)
        return {"value": value}

    def completion(self, record: JsonObject, ambient: JsonValue) -> JsonObject:
        return {"success": True, "result": ambient}


@register
class SetVarProperty(PassThroughNode):
    type = "set_var_property"
    needs = ("name", "key")
    family = "variables"
    doc = "Sets one property of an object variable, also a nested one, and gives the whole object."
    inputs = (
        Pin("name", "string", role="changes"),
        Pin("key", "string", role="names"),
        Pin("value"),
    )
    outputs = (Pin("value", "object"),)
    examples = (
        Example(
            {"name": "user", "key": "name", "value": "Ada"},
            output={"value": {"age": 36, "name": "Ada"}},
            around={"variables": {"user": {"age": 36}}},
            after={"variables": {"user": {"age": 36, "name": "Ada"}}},
        ),
    )
    compat = "Q12: other places that hold the same object keep theirs."

    def evaluate(self, element: Element, inputs: JsonObject, scope: Scope) -> JsonValue:
        name = _variable_name(
            inputs.get("name"), "Set Variable Property requires a non-empty variable name."
        )
        key = _text(inputs.get("key"))
        if not key:
            raise NodeError("Set Variable Property requires a non-empty key.")
        current = _lookup(scope.vars, name)
        record = isolate(current) if isinstance(current, dict) else {}
        value = inputs["value"] if "value" in inputs else _natural_default(element)
        if key.strip("."):
            assign(record, key, value)
        assign(scope.vars, name, record)
        return {"value": record}

    def completion(self, record: JsonObject, ambient: JsonValue) -> JsonObject:
        return {"success": True, "value": record["value"], "result": ambient}


@register
class SetVars(PassThroughNode):
    type = "set_vars"
    needs = ("updates",)
    family = "variables"
    doc = (
        "Stores several variables at once: `updates` is an object (or its JSON text) from path to "
        "value. All names are checked before the first is stored; anything else changes nothing."
    )
    inputs = (Pin("updates", "object", also=("string",), role="sets"),)
    outputs = (Pin("updates", "object"),)
    examples = (
        Example(
            {"updates": {"count": 1, "user.name": "Ada"}},
            output={"updates": {"count": 1, "user.name": "Ada"}},
            after={"variables": {"count": 1, "user": {"name": "Ada"}}},
        ),
    )
    compat = "Q25: see set_var."

    def doubts(self, element: Element, inputs: JsonObject) -> Iterable[Problem]:
        value = inputs.get("updates")
        if isinstance(value, str) and value and not _updates(value):
            yield Problem(
                f"sets nothing: updates is {shown_value(value)}, expected an object",
                "VF213",
                pin="updates",
                hint='write an object from name to value, such as {"count": 1}',
            )

    def evaluate(self, element: Element, inputs: JsonObject, scope: Scope) -> JsonValue:
        updates = _updates(inputs.get("updates"))
        blank = "Set Variables requires non-empty variable names in updates."
        names = [_variable_name(name, blank) for name in updates]
        for name, value in zip(names, updates.values(), strict=True):
            assign(scope.vars, name, isolate(value))
        return {"updates": updates}

    def completion(self, record: JsonObject, ambient: JsonValue) -> JsonObject:
        return {"success": True, "updates": record["updates"], "result": ambient}


def _updates(value: JsonValue) -> JsonObject:
    if isinstance(value, str) and value.strip():
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return value if isinstance(value, dict) else {}


_GREETING: JsonObject = {
    "role": "user",
    "content": "hi",
    "timestamp": "2026-01-02T03:04:05.000000+00:00",
    "metadata": {"message_id": "msg_1"},
}


@register
class AddMessage(PassThroughNode):
    type = "add_message"
    family = "variables"
    doc = "Appends a message to the conversation in the variable `context`."
    examples = (
        Example(
            {"role": "user", "content": "hi"},
            output={
                "message": _GREETING,
                "context": {"messages": [_GREETING]},
                "task": "",
                "messages": [_GREETING],
            },
            after={"variables": {"context": {"messages": [_GREETING]}}},
        ),
    )
    compat = "Q29: it is a step whatever its pins."
    inputs = (Pin("role", "string", default="user"), Pin("content", "string", default=""))
    outputs = (
        Pin("message", "object"),
        Pin("context", "object"),
        Pin("task", "string"),
        Pin("messages", "array"),
    )

    def evaluate(self, element: Element, inputs: JsonObject, scope: Scope) -> JsonValue:
        message = {
            "role": _or(inputs.get("role"), "user"),
            "content": _or(inputs.get("content"), ""),
            "timestamp": format_time(scope.now()),
            "metadata": {"message_id": f"msg_{random_hex()}"},
        }
        _append_message(scope.vars, message)
        return {"message": message, **context_record(scope.vars)}

    def completion(self, record: JsonObject, ambient: JsonValue) -> JsonObject:
        return {"success": True, "message": record["message"]}


def _append_message(variables: JsonObject, message: JsonObject) -> None:
    context = variables.get("context")
    if not isinstance(context, dict):
        context = variables["context"] = {}
    messages = context.get("messages")
    if not isinstance(messages, list):
        messages = context["messages"] = []
    messages.append(message)


# --- shared ----------------------------------------------------------------------------


def _lookup(variables: JsonObject, path: str) -> JsonValue:
    found = read_path(variables, path)
    return None if found is MISSING else found


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _or(value: JsonValue, default: str) -> str:
    return default if value is None else str(value)


def _variable_name(value: JsonValue, blank: str) -> str:
    name = _text(value)
    if not name:
        raise NodeError(blank)
    if is_reserved(name):
        raise NodeError(f"Invalid variable name '{name}': names starting with '_' are reserved.")
    if not name.strip("."):
        raise NodeError(f"Failed to set variable '{name}': the name has no letters.")
    return name


def _natural_default(element: Element) -> JsonValue:
    kinds: Iterable[str] = (pin.type for pin in element.inputs if pin.id == "value")
    return {"boolean": False, "number": 0, "string": ""}.get(next(iter(kinds), "any"))
