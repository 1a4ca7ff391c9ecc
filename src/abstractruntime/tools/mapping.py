"""An executor over plain Python functions."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from abstractruntime._json import JsonObject, JsonValue, load_strict, normalise, replace_surrogates
from abstractruntime.errors import InvalidValue, UsageError
from abstractruntime.tools.port import ToolContext, failed

_JSON_TYPES: Mapping[Any, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    list: "array",
    dict: "object",
}


class MappingTools:
    """Runs tools from a map of names to functions, in this process.

    A function gets the arguments by name. Failed results are: an unknown tool, an exception,
    an object with `success` or `ok` false, and a text that starts with `Error:`.
    """

    def __init__(self, tools: Mapping[str, Callable[..., Any]]) -> None:
        self._tools = dict(tools)
        for name, function in self._tools.items():
            if not name.strip() or not callable(function):
                raise UsageError(f"tool {name!r} is no name of a function", argument="tools")

    @classmethod
    def of(cls, functions: Iterable[Callable[..., Any]]) -> MappingTools:
        """Take functions under their own names.

        Raises:
            UsageError: two have the same name, or one has none.
        """
        tools: dict[str, Callable[..., Any]] = {}
        for function in functions:
            name = getattr(function, "__name__", "")
            if not name or name in tools:
                raise UsageError(f"tool {name!r} is named twice, or not at all", argument="tools")
            tools[name] = function
        return cls(tools)

    def execute(
        self,
        calls: Sequence[JsonObject],
        ctx: ToolContext,  # noqa: ARG002 - part of the protocol
    ) -> Sequence[JsonObject]:
        return [self._run(call) for call in calls]

    def specs(self) -> Sequence[JsonObject]:
        return [_spec(name, function) for name, function in self._tools.items()]

    def _run(self, call: JsonObject) -> JsonObject:
        name = str(call.get("name") or "")
        function = self._tools.get(name)
        if function is None:
            return failed(f"Tool {name!r} not found")
        try:
            returned = function(**read_arguments(call.get("arguments")))
            return _result(normalise(_plain(returned)))
        except InvalidValue as error:
            return failed(f"Tool {name!r} returned a value that is not JSON: {error}")
        # A tool is foreign code, and its failure a result: the text says what was raised.
        except Exception as error:  # noqa: BLE001 - see above
            return failed(str(error) or type(error).__name__)


def read_arguments(value: JsonValue) -> JsonObject:
    """Give the arguments of a call: an object, or its JSON text; anything else is none."""
    if isinstance(value, str):
        try:
            value = load_strict(value)
        except ValueError:
            return {}
    return value if isinstance(value, dict) else {}


def _plain(value: Any) -> JsonValue:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, str):
        return replace_surrogates(value)
    is_json = value is None or isinstance(value, bool | int | float | list | tuple | dict)
    return value if is_json else str(value)


def _result(output: JsonValue) -> JsonObject:
    if isinstance(output, dict) and (output.get("success") is False or output.get("ok") is False):
        told = output.get("error") or output.get("message") or "Tool failed"
        return failed(str(told), output)
    if isinstance(output, str) and output.lstrip().startswith("Error:"):
        return failed(output.strip().removeprefix("Error:").strip() or "Tool failed")
    return {"success": True, "output": output, "error": None}


def _spec(name: str, function: Callable[..., Any]) -> JsonObject:
    """Describe a function to a model; a parameter without default is required."""
    try:
        hints = get_type_hints(function)
    except (NameError, TypeError):
        hints = {}
    parameters: JsonObject = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        described: JsonObject = {"type": _json_type(hints.get(parameter.name))}
        if parameter.default is not parameter.empty:
            described["default"] = _plain(parameter.default)
        parameters[parameter.name] = described
    doc = (inspect.getdoc(function) or "").split("\n\n")[0]
    return {"name": name, "description": " ".join(doc.split()), "parameters": parameters}


def _json_type(hint: Any) -> str:
    if get_origin(hint) in (Union, UnionType):
        hint = next((a for a in get_args(hint) if a is not NoneType), str)
    return _JSON_TYPES.get(get_origin(hint) or hint, "string")
