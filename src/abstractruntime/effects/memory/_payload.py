"""Reading payloads, and the envelope that tool-like effects answer with."""

from __future__ import annotations

from typing import Any

from abstractruntime.core import answers
from abstractruntime.core.models import JsonObject
from abstractruntime.core.ports import EffectOutcome
from abstractruntime.errors import UsageError


def tool_result(
    payload: JsonObject,
    text: str,
    *,
    name: str,
    call_id: str = "memory",
    meta: JsonObject | None = None,
    error: str | None = None,
) -> EffectOutcome:
    """Give a completed outcome in the form of an executed tool call; an error is one without success."""
    done = answers.tool_result(
        name=payload.get("tool_name") or name,
        call_id=payload.get("call_id") or call_id,
        output=text if error is None else None,
        error=error,
    )
    if meta is not None:
        done["results"][0]["meta"] = meta
    return EffectOutcome.completed(done)


def whole_number(payload: JsonObject, name: str, default: int) -> int:
    """Read a whole number; only an absent, null or blank value means the default, 0 means 0.

    Raises:
        UsageError: the value is no number.
    """
    value = payload.get(name)
    if value is None or (isinstance(value, str) and not value.strip()):
        return default
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise UsageError(f"{name} is {value!r}, expected a whole number", argument=name) from None


def first_given(payload: JsonObject, *names: str) -> Any:
    """Give the value under the first of these names that is neither absent nor null."""
    return next((payload[name] for name in names if payload.get(name) is not None), None)


def text_of(payload: JsonObject, *names: str) -> str:
    """Give the first non-blank text under these names, stripped, or an empty text."""
    texts = (str(payload.get(name) or "").strip() for name in names)
    return next((text for text in texts if text), "")


def unique_texts(value: Any) -> list[str]:
    """Give a list's texts and whole numbers as distinct, stripped, non-blank texts."""
    items = value if isinstance(value, list) else []
    texts = (str(item).strip() for item in items if isinstance(item, str | int))
    return list(dict.fromkeys(text for text in texts if text))


def clean_tags(raw: Any) -> dict[str, str]:
    """Keep text tags; `kind` belongs to the runtime."""
    if not isinstance(raw, dict):
        return {}
    texts = {k: v for k, v in raw.items() if isinstance(k, str) and isinstance(v, str)}
    return {k: v for k, v in texts.items() if k != "kind"}
