"""What a flow takes: the JSON Schema of its start pins, and checking an input against it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from abstractruntime._json import JsonObject
from abstractruntime._near import close_names
from abstractruntime.cli._inputs import parse_inputs
from abstractruntime.core.vars import FLOW_ERROR, RUNTIME, TEMP
from abstractruntime.errors import UsageError

if TYPE_CHECKING:
    from abstractruntime.visualflow_compiler.document import FlowDocument

# Variables that hosts, agents and files read without a pin or node that says so.
_KEPT_NAMES = frozenset({RUNTIME, TEMP, "_last_output"})
# Compat: hosts hand the limits of models over.
_OPEN_NAMES = ("_limits",)
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


def known_names(document: FlowDocument) -> frozenset[str] | None:
    """Give the names that an input of a flow may have, beside those for its host; None for any."""
    from abstractruntime.visualflow_compiler.check import names_read

    return names_read(document.graph)


def unknown_names(known: frozenset[str] | None, given: Iterable[str]) -> list[str]:
    """Give those names of an input that a flow cannot mean; `known` is what `known_names` gives."""
    if known is None:
        return []
    return [n for n in given if n not in known and n not in _HOST_NAMES and n not in _OPEN_NAMES]


def require_free_names(given: Iterable[str]) -> None:
    """Refuse inputs that are called like what the runtime keeps: they would say what a run has done.

    Raises:
        UsageError: one is.
    """
    kept = [name for name in given if name in _KEPT_NAMES or name.startswith(FLOW_ERROR)]
    if kept:
        is_one = len(kept) == 1
        raise UsageError(
            f"input{'' if is_one else 's'} {_listed([repr(name) for name in kept])} cannot be given:"
            " the runtime keeps there what a run has done",
            hint="leave it out" if is_one else "leave them out",
            argument="--input",
        )


def require_known_names(document: FlowDocument, given: Iterable[str]) -> None:
    """Do nothing when a flow can mean every name of an input: a parameter, or a variable that it reads.

    Raises:
        UsageError: it cannot; names those that it takes.
    """
    known = known_names(document)
    unknown = unknown_names(known, given)
    if not unknown:
        return
    names = list(input_schema(document)["properties"]) or sorted(known or ())
    near = [close_names(name, sorted({*names, *(known or ())}), n=1) for name in unknown]
    meant = " and ".join(repr(name) for (name,) in filter(None, near[:_MOST_NAMED]))
    is_one = len(unknown) == 1
    raise UsageError(
        f"input{'' if is_one else 's'} {_listed([repr(name) for name in unknown])} "
        f"{'is no parameter' if is_one else 'are no parameters'} of flow {document.id!r}",
        hint=(f"did you mean {meant}? " if meant else "")
        + f"it takes {_listed(names) or 'no input'}; to give more: --allow-extra-input",
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
    require_free_names(values)
    if not allow_extra:
        require_known_names(document, values)
    check_input(schema, values)
    return values


def input_notes(document: FlowDocument, values: JsonObject) -> Iterator[str]:
    """Give what is odd about an input without being wrong."""
    parameters = input_schema(document)["properties"]
    extra = unknown_names(known_names(document), values)
    if extra:
        yield f"note: nothing in the flow reads {_listed(extra)}"
    missing = [n for n, rule in parameters.items() if "default" not in rule and n not in values]
    if missing:
        yield f"note: no input for {', '.join(missing)}; without a default it is null"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
