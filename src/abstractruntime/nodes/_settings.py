"""Reading the settings that model calls and agents share: numbers, limits, routing, tools."""

from __future__ import annotations

import math
from collections.abc import Callable

from abstractruntime._json import JsonObject, JsonValue
from abstractruntime.nodes.base import Pin

DEFAULT_TEMPERATURE = 0.7
MAX_IN = Pin(
    "max_in_tokens",
    "number",
    "The most tokens to send; the oldest messages are left out first.",
    aliases=("max_input_tokens", "maxInputTokens"),
)
MAX_OUT = Pin(
    "max_out_tokens",
    "number",
    "The most tokens to answer with.",
    aliases=("max_output_tokens", "maxOutTokens", "maxOutputTokens"),
)
RESPONSE_SCHEMA = Pin(
    "resp_schema",
    "json_schema",
    "JSON Schema of the answer; it makes the answer an object at `data`.",
    aliases=("response_schema",),
    also=("string",),
)
CONTEXT_KEYS = ("include_context", "use_context")


def text(value: JsonValue) -> str:
    return "" if value is None else str(value)


def as_number(value: JsonValue, kind: Callable[[JsonValue], float], default: float) -> float:
    """Read a number as authors write it; what is none, or not finite, is the default."""
    try:
        number = kind(value)
        return number if math.isfinite(number) else default
    except (TypeError, ValueError, OverflowError):
        return default


def first_positive(inputs: JsonObject, config: JsonObject, pin: Pin) -> int | None:
    """Give a limit: the pin's, else the configuration's under any spelling, if above zero."""
    for value in (inputs.get(pin.id), *(config.get(name) for name in (*pin.aliases, pin.id))):
        number = 0 if value is None else as_number(value, int, 0)
        if number > 0:
            return int(number)
    return None


def seed_of(inputs: JsonObject, config: JsonObject) -> int | None:
    """Give the seed, None when it is negative."""
    seed = as_number(inputs.get("seed"), int, as_number(config.get("seed"), int, -1))
    return int(seed) if seed >= 0 else None


def chosen_text(inputs: JsonObject, config: JsonObject, name: str) -> str:
    """Give a name of the configuration unless the pin holds a text, even a blank one."""
    value = inputs.get(name)
    if not isinstance(value, str):
        value = config.get(name)
    return value.strip() if isinstance(value, str) else ""


def context_flag(inputs: JsonObject, config: JsonObject) -> JsonValue:
    """Give what switches the conversation on: the pin, else the configuration."""
    value = inputs.get(CONTEXT_KEYS[0])
    if value is None:
        value = next((config[key] for key in CONTEXT_KEYS if config.get(key) is not None), None)
    return value


def object_messages(value: JsonValue) -> list[JsonObject]:
    return [m for m in value if isinstance(m, dict)] if isinstance(value, list) else []


def unique(items: list[JsonValue]) -> list[JsonValue]:
    return [item for index, item in enumerate(items) if item not in items[:index]]
