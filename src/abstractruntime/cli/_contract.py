"""What a flow takes: the JSON Schema of its start pins, and checking an input against it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from abstractruntime._json import JsonObject
from abstractruntime.errors import UsageError

if TYPE_CHECKING:
    from abstractruntime.visualflow_compiler.document import FlowDocument

_JSON_TYPES: dict[str, tuple[Any, str]] = {
    "string": (str, "text"),
    "number": (int | float, "a number"),
    "boolean": (bool, "true or false"),
    "object": (dict, "an object"),
    "array": (list, "a list"),
}


def input_schema(document: FlowDocument) -> JsonObject:
    """Give the JSON Schema of the input that a flow document takes.

    No pin is required, as a flow gives unset parameters null; further names are allowed.
    """
    from abstractruntime.nodes.registry import facts_of

    flow = document.flow
    starts = [element for element in flow.elements if facts_of(element.type).declares_parameters]
    start = next((e for e in starts if e.id == flow.entry_node), starts[0] if starts else None)
    properties: JsonObject = {}
    for pin in start.outputs if start else ():
        properties[pin.id] = {"type": pin.type} if pin.type in _JSON_TYPES else {}
        if start and pin.id in start.pin_defaults:
            properties[pin.id]["default"] = start.pin_defaults[pin.id]
    return {"type": "object", "properties": properties}


def check_input(schema: JsonObject, inputs: JsonObject) -> None:
    """Compare the input of a run with the types its start pins declare; null is always fine.

    Raises:
        UsageError: names the pin, what it takes and what it was given.
    """
    for name, rule in schema["properties"].items():
        expected = _JSON_TYPES.get(rule.get("type", ""))
        value = inputs.get(name)
        if expected is None or value is None:
            continue
        wanted, words = expected
        if isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool)):
            continue
        shown = json.dumps(value, ensure_ascii=False)
        raise UsageError(
            f"input {name!r} takes {words}, not {shown if len(shown) <= 80 else shown[:77] + '...'}",
            hint=f"give {name} as {words}; see: art show FLOW",
            argument="--input",
            pin=name,
            expected=rule["type"],
        )
