"""What a flow takes: the JSON Schema of its start pins, and checking an input against it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from abstractruntime._json import JsonObject
from abstractruntime._near import close_names
from abstractruntime.cli._inputs import parse_inputs
from abstractruntime.errors import UsageError

if TYPE_CHECKING:
    from abstractruntime.visualflow_compiler.document import FlowDocument

# Variables that hosts, agents and files read without a pin or node that says so.
_HOST_NAMES = ("context", "scratchpad", "workspace", "workspace_root", "session_id")
_MOST_NAMED = 20
_MANY_DIGITS = re.compile(r"-?[0-9]{1000,}")
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


def unknown_names(document: FlowDocument, given: Iterable[str]) -> list[str]:
    """Give those names of an input that the flow cannot mean.

    A flow can mean its parameters, the variables that its nodes read by a written name, and names
    for its host. One that declares no parameter, or computes the names of variables, can mean any.
    """
    parameters = input_schema(document)["properties"]
    read = list(_variables_read(document))
    if not parameters or None in read:
        return []
    known = {*parameters, *filter(None, read), *_HOST_NAMES}
    return [name for name in given if name not in known and not name.startswith("_")]


def _variables_read(document: FlowDocument) -> Iterator[str | None]:
    """Give the names of variables that nodes read, and None for one that is computed."""
    graph = document.graph
    for element in graph.elements.values():
        pin = graph.facts(element.id).pins_by_role.get("reads")
        if pin is None:
            continue
        feeding = [e for e in graph.data_in.get(element.id, ()) if e.pin == pin.id]
        value = element.pin_defaults.get(pin.id)
        if feeding:
            value = graph.literal(feeding[-1].source, pin.type)
        yield re.split(r"[.\[]", value.strip())[0] if isinstance(value, str) else None


def require_known_names(document: FlowDocument, given: Iterable[str]) -> None:
    """Do nothing when a flow can mean every name of an input; see `unknown_names`.

    Raises:
        UsageError: it cannot; names those that it takes.
    """
    unknown = unknown_names(document, given)
    if not unknown:
        return
    parameters = list(input_schema(document)["properties"])
    near = [close_names(name, parameters, n=1) for name in unknown]
    meant = " and ".join(repr(name) for (name,) in filter(None, near[:_MOST_NAMED]))
    shown = ", ".join(map(repr, unknown[:_MOST_NAMED]))
    more = f" and {len(unknown) - _MOST_NAMED} more" if len(unknown) > _MOST_NAMED else ""
    is_one = len(unknown) == 1
    raise UsageError(
        f"input{'' if is_one else 's'} {shown}{more} {'is no parameter' if is_one else 'are no parameters'}"
        f" of flow {document.id!r}",
        hint=(f"did you mean {meant}? " if meant else "")
        + f"it takes {', '.join(parameters)}; to give more: --allow-extra-input",
        argument="--input",
    )


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
        if isinstance(value, str) and _MANY_DIGITS.fullmatch(value):
            words = f"{words} of fewer digits"
        raise UsageError(
            f"input {name!r} takes {words}, not {shown if len(shown) <= 80 else shown[:77] + '...'}",
            hint=f"give {name} as {words}; see: art show FLOW",
            argument="--input",
            pin=name,
            expected=rule["type"],
        )


def checked_input(
    document: FlowDocument, given: Iterable[str], *, allow_extra: bool = True
) -> JsonObject:
    """Give the input of a run of this flow document.

    Raises:
        UsageError: it has no known form, a value has another type than its start pin, or a name
            is one that the flow cannot mean.
    """
    schema = input_schema(document)
    texts = {name for name, rule in schema["properties"].items() if rule.get("type") == "string"}
    values = parse_inputs(given, text_names=texts)
    if not allow_extra:
        require_known_names(document, values)
    check_input(schema, values)
    return values


def input_notes(document: FlowDocument, values: JsonObject) -> Iterator[str]:
    """Give what is odd about an input without being wrong."""
    parameters = input_schema(document)["properties"]
    extra = [name for name in values if name not in parameters and not name.startswith("_")]
    if extra and not parameters:
        yield f"note: the flow declares no parameters; variables by name: {_listed(extra)}"
    elif extra:
        yield f"note: no parameters of the flow, but variables by name: {_listed(extra)}"
    missing = [n for n, rule in parameters.items() if "default" not in rule and n not in values]
    if missing:
        yield f"note: no input for {', '.join(missing)}; without a default it is null"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
