"""The namespaces inside `run.vars`, and paths into them."""

from __future__ import annotations

import re
from typing import Any, Final

from abstractruntime._json import (
    JsonObject,
    isolate,
    join_pointer,
    mapping,
    normalise,
    split_pointer,
)
from abstractruntime.core.config import DEFAULT_MAX_TOKENS, RuntimeConfig  # noqa: F401 - 0.4.x has the name here
from abstractruntime.errors import InvalidValue

CONTEXT: Final = "context"
SCRATCHPAD: Final = "scratchpad"
RUNTIME: Final = "_runtime"
TEMP: Final = "_temp"
LIMITS: Final = "_limits"
NODE_TRACES: Final = "node_traces"
IN_FLIGHT: Final = "in_flight"

_NAMESPACES = (CONTEXT, SCRATCHPAD, RUNTIME, TEMP)
_SEGMENT = re.compile(r"([^.\[\]]+)|\[([0-9]+)\]")


def get_namespace(vars: JsonObject, key: str) -> JsonObject:  # noqa: A002 - the 0.4.x name
    """Give the object `vars[key]`, creating or replacing whatever is not an object."""
    value = vars.get(key)
    if not isinstance(value, dict):
        value = vars[key] = {}
    return value


def ensure_namespaces(vars: JsonObject) -> JsonObject:  # noqa: A002 - the 0.4.x name
    """Create the four namespaces (not the limits) where they are missing."""
    for key in _NAMESPACES:
        get_namespace(vars, key)
    return vars


def get_context(vars: JsonObject) -> JsonObject:  # noqa: A002 - the 0.4.x name
    return get_namespace(vars, CONTEXT)


def get_scratchpad(vars: JsonObject) -> JsonObject:  # noqa: A002 - the 0.4.x name
    return get_namespace(vars, SCRATCHPAD)


def get_runtime(vars: JsonObject) -> JsonObject:  # noqa: A002 - the 0.4.x name
    return get_namespace(vars, RUNTIME)


def get_temp(vars: JsonObject) -> JsonObject:  # noqa: A002 - the 0.4.x name
    return get_namespace(vars, TEMP)


def clear_temp(vars: JsonObject) -> None:  # noqa: A002 - the 0.4.x name
    vars[TEMP] = {}


def default_limits() -> JsonObject:
    return RuntimeConfig().to_limits_dict()


# Why a compiled flow ended, as its variables keep it.
FLOW_ERROR: Final = "_flow_error"
FLOW_ERROR_NODE: Final = "_flow_error_node"
FLOW_ERROR_LINE: Final = "_flow_error_line"
FLOW_ERROR_RAISED: Final = "_flow_error_raised"
FLOW_ERROR_SOURCE: Final = "_flow_error_source"
FLOW_ERROR_FACTS: Final = {
    "source": FLOW_ERROR_SOURCE,
    "line": FLOW_ERROR_LINE,
    "raised": FLOW_ERROR_RAISED,
}
FLOW_ERRORS: Final = (FLOW_ERROR, FLOW_ERROR_NODE, *FLOW_ERROR_FACTS.values())


def initial_vars(given: Any, config: RuntimeConfig) -> JsonObject:
    """Give the variables that a run begins with: a copy of the given ones, limits and model facts.

    Raises:
        InvalidValue: they are no object, or not JSON.
    """
    if not isinstance(given, dict):
        raise InvalidValue(
            f"variables are a {type(given).__name__}, expected an object",
            hint='pass vars={"name": value}',
        )
    own: JsonObject = isolate(normalise(given))
    for name in FLOW_ERRORS:
        # What became of this run, no caller can say.
        own.pop(name, None)
    if own.get(LIMITS) is None:
        own[LIMITS] = config.to_limits_dict()
    runtime = get_runtime(own)
    # Who pauses a run, or lets it rest, does so in the course of it.
    runtime.pop("control", None)
    support = config.model_capabilities.get("tool_support")
    defaults = {"provider": config.provider, "model": config.model, "tool_support": support}
    for name, value in defaults.items():
        if isinstance(value, str) and value.strip():
            runtime.setdefault(name, value.strip())
    if isinstance(support, str) and support.strip():
        runtime.setdefault("supports_native_tools", support.strip() == "native")
    return own


def ensure_limits(vars: JsonObject) -> JsonObject:  # noqa: A002 - the 0.4.x name
    """Give `_limits`, replacing whatever is not an object by the defaults."""
    if not isinstance(vars.get(LIMITS), dict):
        vars[LIMITS] = default_limits()
    limits: JsonObject = vars[LIMITS]
    return limits


get_limits = ensure_limits


def is_paused(vars: JsonObject) -> bool:  # noqa: A002 - the 0.4.x name
    """Tell whether the run was paused by hand."""
    return mapping(mapping(vars.get(RUNTIME)).get("control")).get("paused") is True


def parse_vars_path(path: str) -> list[str | int]:
    """Split a dotted path or a JSON pointer into keys and list indexes."""
    text = str(path or "").strip()
    if text.startswith("/"):
        return [_as_index(part) for part in split_pointer(text) if part]
    return [
        int(index) if index else _as_index(name)
        for name, index in _SEGMENT.findall(text)
        if name or index
    ]


def _as_index(part: str) -> str | int:
    return int(part) if part.isascii() and part.isdigit() else part


def resolve_vars_path(root: Any, tokens: list[str | int]) -> Any:
    """Walk `tokens` from `root`.

    Raises:
        ValueError: "Expected list", "Expected object", "out of range" or "Missing key".
    """
    value = root
    for token in tokens:
        value = _item(value, token)
    return value


def _item(value: Any, token: str | int) -> Any:
    if isinstance(token, int):
        if not isinstance(value, list):
            raise ValueError(f"Expected list at index {token}")  # noqa: TRY004 - the 0.4.x type
        if token >= len(value):
            raise ValueError(f"Index {token} out of range")
        return value[token]
    if not isinstance(value, dict):
        raise ValueError(f"Expected object at key {token!r}")  # noqa: TRY004 - the 0.4.x type
    if token not in value:
        raise ValueError(f"Missing key {token!r}")
    return value[token]


def set_result(vars: JsonObject, key: str, value: Any) -> str:  # noqa: A002 - the 0.4.x name
    """Store `value` at a result key and give the JSON pointer of the place.

    A key starting with `/` is a pointer, otherwise a dotted path; what stands in the way
    and is no object is replaced by one.
    """
    parts = split_pointer(key) if key.startswith("/") else [p for p in key.split(".") if p]
    target = vars
    for part in parts[:-1]:
        target = get_namespace(target, part)
    target[parts[-1]] = value
    return join_pointer(parts)


def get_node_traces(vars: JsonObject) -> JsonObject:  # noqa: A002 - the 0.4.x name
    return get_namespace(get_runtime(vars), NODE_TRACES)


def get_node_trace(vars: JsonObject, node_id: str) -> JsonObject:  # noqa: A002 - the 0.4.x name
    trace = get_node_traces(vars).get(node_id)
    return trace if isinstance(trace, dict) else {"node_id": node_id, "steps": []}
