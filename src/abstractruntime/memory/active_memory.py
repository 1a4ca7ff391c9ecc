"""MemAct: a small working memory that the agent edits itself and sees in every prompt.

It lives in `vars._runtime.active_memory`: a persona and six lists of records, newest
first, each with a limit. An agent answers with an envelope that adds to and removes from
the lists; `apply_memact_envelope` is the only writer of records.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from abstractruntime._json import JsonObject, isolate, mapping
from abstractruntime._ports_system import random_hex
from abstractruntime.core.models import utc_now
from abstractruntime.core.vars import get_runtime
from abstractruntime.memory._memact_prompts import DEFAULT_PERSONA_MD, MEMORY_BLUEPRINTS_MD
from abstractruntime.memory._stamps import Stamp, stamp_text

__all__ = [
    "DEFAULT_LIMITS",
    "DEFAULT_PERSONA_MD",
    "MEMACT_ACTIVE_MEMORY_VERSION",
    "MEMACT_ENVELOPE_SCHEMA_V1",
    "MEMORY_BLUEPRINTS_MD",
    "apply_memact_envelope",
    "ensure_memact_memory",
    "get_memact_memory",
    "render_memact_blocks",
    "render_memact_system_prompt",
    "utc_now_compact_seconds",
    "utc_now_iso_seconds",
]

MEMACT_ACTIVE_MEMORY_VERSION: Final = 1

DEFAULT_LIMITS: Final[dict[str, int]] = {
    "relationships": 40,
    "current_tasks": 8,
    "current_context": 60,
    "critical_insights": 60,
    "references": 80,
    "history": 200,
}

_PREFIXES: Final = {
    "relationships": "rel",
    "current_tasks": "tsk",
    "current_context": "ctx",
    "critical_insights": "ins",
    "references": "ref",
    "history": "hist",
}
_EDITABLE = tuple(name for name in _PREFIXES if name != "history")
# A line as it is rendered: an optional dash, the stamp with or without brackets, the text.
_STAMP = re.compile(
    r"(?:[-*•]\s+)?\[?\d{2}/\d{2}/\d{2}[ T]\d{2}:\d{2}(?::\d{2})?\]?\s*(?:[:-]\s+)?"
)
_DASH = re.compile(r"[-*•]\s+")


def _texts_schema() -> JsonObject:
    return {"type": "array", "items": {"type": "string"}}


def _strict_object(properties: JsonObject) -> JsonObject:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


MEMACT_ENVELOPE_SCHEMA_V1: Final[JsonObject] = _strict_object(
    {
        "content": {"type": "string"},
        **{
            name: _strict_object({"added": _texts_schema(), "removed": _texts_schema()})
            for name in _EDITABLE
        },
        "history": _strict_object({"added": _texts_schema()}),
    }
)


def utc_now_iso_seconds() -> str:
    """Give the current time as ISO-8601 in UTC, to the second."""
    return utc_now().isoformat(timespec="seconds")


def utc_now_compact_seconds() -> str:
    """Give the current time in UTC as `YY/MM/DD HH:MM:SS`."""
    return utc_now().strftime("%y/%m/%d %H:%M:%S")


def get_memact_memory(vars: JsonObject) -> JsonObject | None:  # noqa: A002 - the 0.4.x name
    """Give the stored memory as it is, or None."""
    memory = mapping(vars.get("_runtime")).get("active_memory")
    return memory if isinstance(memory, dict) else None


def ensure_memact_memory(
    vars: JsonObject,  # noqa: A002 - the 0.4.x name
    *,
    now_iso: Stamp = utc_now_iso_seconds,
) -> JsonObject:
    """Give the stored memory, created or repaired in place: every part there, records well formed."""
    stored = get_memact_memory(vars)
    moment = stamp_text(now_iso)
    memory = stored if stored is not None else {}
    memory.update(_complete(memory, moment))
    get_runtime(vars)["active_memory"] = memory
    return memory


def _complete(memory: JsonObject, moment: str) -> JsonObject:
    persona = memory.get("persona")
    return {
        "version": MEMACT_ACTIVE_MEMORY_VERSION,
        "persona": persona if isinstance(persona, str) and persona.strip() else DEFAULT_PERSONA_MD,
        **{name: _records(memory.get(name), moment) for name in _PREFIXES},
        "limits": _limits(memory.get("limits")),
        "created_at": memory.get("created_at") or moment,
        "updated_at": memory.get("updated_at") or moment,
    }


def _limits(given: Any) -> dict[str, int]:
    known = mapping(given)
    return {
        name: known[name]
        if isinstance(known.get(name), int)
        and not isinstance(known[name], bool)
        and known[name] >= 0
        else default
        for name, default in DEFAULT_LIMITS.items()
    }


def _records(given: Any, moment: str) -> list[JsonObject]:
    found: list[JsonObject] = []
    for item in given if isinstance(given, list) else []:
        if isinstance(item, dict) and str(item.get("text") or "").strip():
            found.append(item)
        elif isinstance(item, str) and item.strip():
            found.append(_record("m", item.strip(), "", moment, random_hex))
    return found


def _record(prefix: str, text: str, ts: str, moment: str, new_id: Callable[[], str]) -> JsonObject:
    return {"id": f"{prefix}_{new_id()}", "text": text, "ts": ts, "created_at": moment}


def apply_memact_envelope(
    vars: JsonObject,  # noqa: A002 - the 0.4.x name
    *,
    envelope: Any,
    now_iso: Stamp = utc_now_iso_seconds,
    now_compact: Stamp = utc_now_compact_seconds,
    new_id: Callable[[], str] = random_hex,
) -> JsonObject:
    """Apply an agent's edits: removals first, additions at the front, then the limits.

    Texts are the same when they differ only in white space, case or a leading timestamp.
    History can only be added to.

    Returns:
        `{ok: True, applied: {list: {added, removed}}}` with the number of records, or
        `{ok: False, error}`; then nothing changed.
    """
    if not isinstance(envelope, dict):
        return {"ok": False, "error": "the envelope is not an object"}
    moment, ts = stamp_text(now_iso), stamp_text(now_compact)
    memory = ensure_memact_memory(vars, now_iso=moment)
    applied: JsonObject = {}
    for name, prefix in _PREFIXES.items():
        edits = mapping(envelope.get(name))
        removed = [] if name == "history" else _texts(edits.get("removed"))
        kept, gone = _without(memory[name], {memory_key(text) for text in removed})
        fresh = [
            _record(prefix, text, ts, moment, new_id)
            for text in _new_texts(_texts(edits.get("added")), kept)
        ]
        memory[name] = [*fresh, *kept][: memory["limits"][name]]
        applied[name] = {"added": len(fresh), "removed": gone}
    if any(count for counts in applied.values() for count in counts.values()):
        memory["updated_at"] = moment
    return {"ok": True, "applied": applied}


def _texts(given: Any) -> list[str]:
    items = given if isinstance(given, list) else [given]
    texts = (item.get("text") if isinstance(item, dict) else item for item in items)
    return [text.strip() for text in texts if isinstance(text, str) and text.strip()]


def _without(records: list[JsonObject], keys: set[str]) -> tuple[list[JsonObject], int]:
    kept = [r for r in records if memory_key(str(r["text"])) not in keys]
    return kept, len(records) - len(kept)


def _new_texts(texts: list[str], kept: list[JsonObject]) -> list[str]:
    known = {memory_key(str(r["text"])) for r in kept}
    fresh: dict[str, str] = {}
    for text in texts:
        key = memory_key(text)
        if key and key not in known:
            fresh.setdefault(key, strip_stamp(text))
    return list(fresh.values())


def memory_key(text: str) -> str:
    """Give what identifies a record: its text without stamp, white space collapsed, case folded."""
    return " ".join(strip_stamp(text).split()).casefold()


def strip_stamp(text: str) -> str:
    """Give the text without the dash and timestamp that rendering puts before it."""
    plain = text.strip()
    stamp = _STAMP.match(plain) or _DASH.match(plain)
    return plain[stamp.end() :].strip() if stamp else plain


def render_memact_blocks(vars: JsonObject) -> list[JsonObject]:  # noqa: A002 - the 0.4.x name
    """Give `{component_id, title, content}` per part, in the order of the prompt; reads only."""
    memory = _complete(isolate(get_memact_memory(vars) or {}), "")
    blueprints = MEMORY_BLUEPRINTS_MD.split("\n", 1)[1].strip()
    parts = [
        ("memory_blueprints", "MEMORY BLUEPRINTS", blueprints),
        ("persona", "MY PERSONA", str(memory["persona"]).strip()),
        *((n, n.replace("_", " ").upper(), _render_records(memory[n])) for n in _PREFIXES),
    ]
    return [
        {"component_id": name, "title": title, "content": content} for name, title, content in parts
    ]


def _render_records(records: list[JsonObject]) -> str:
    lines = [f"- {r['ts']} {r['text']}" if r.get("ts") else f"- {r['text']}" for r in records]
    return "\n".join(lines) or "(empty)"


def render_memact_system_prompt(vars: JsonObject) -> str:  # noqa: A002 - the 0.4.x name
    """Give all parts as one text, each under a heading."""
    blocks = render_memact_blocks(vars)
    return "\n\n".join(f"## {block['title']}\n{block['content']}" for block in blocks)
