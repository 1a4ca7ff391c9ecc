"""Tool results as lines for a prompt: what was called, how it went, what it said."""

from __future__ import annotations

import json
from typing import Final

from abstractruntime._json import JsonObject, JsonValue
from abstractruntime.nodes._coerce import text_of

_MAX_PRIMARY: Final = 160
_MAX_TEXT: Final = 420


def tool_line(entry: JsonObject) -> str:
    """Give `- name(primary) [STATUS] : text` for one tool result."""
    name = _first_text(entry, "name", "tool") or "tool"
    return f"- {name}({_primary(entry)}) [{_status(entry)}] : {_message(entry)}"


def _first_text(entry: JsonObject, *keys: str) -> str:
    texts = (text_of(entry.get(key)).strip() for key in keys)
    return next((text for text in texts if text), "")


def _status(entry: JsonObject) -> str:
    success = entry.get("success")
    if not isinstance(success, bool):
        return "DONE"
    return "SUCCESS" if success else "FAILURE"


def _primary(entry: JsonObject) -> str:
    """Give the first argument that has a value; it tells calls of one tool apart."""
    for key in ("arguments", "output"):
        source = entry.get(key)
        values = source.values() if isinstance(source, dict) else ()
        for value in values:
            if value is not None:
                return _clip(_one_line(value), _MAX_PRIMARY)
    return ""


def _message(entry: JsonObject) -> str:
    error = entry.get("error")
    # Compat: errors and rendered texts keep their line ends and length; flows show them as they are.
    if entry.get("success") is False and (text := text_of(error).strip()):
        return text
    output = entry.get("output")
    if isinstance(output, dict) and (text := text_of(output.get("rendered")).strip()):
        return text
    return _clip(_one_line(output), _MAX_TEXT) or "(no output)"


def _one_line(value: JsonValue) -> str:
    if isinstance(value, dict | list):
        value = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return " ".join(text_of(value).splitlines()).strip()


def _clip(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "\u2026"
