"""Putting the result of a knowledge-graph query into CURRENT CONTEXT of the working memory."""

from __future__ import annotations

from typing import Any

from abstractruntime._json import JsonObject, isolate
from abstractruntime.memory._stamps import Stamp
from abstractruntime.memory.active_memory import (
    apply_memact_envelope,
    ensure_memact_memory,
    strip_stamp,
    utc_now_compact_seconds,
    utc_now_iso_seconds,
)
from abstractruntime.memory.kg_packets import packetize_assertions


def compose_memact_current_context_from_kg_result(
    vars: JsonObject,  # noqa: A002 - the 0.4.x name
    *,
    kg_result: Any,
    stimulus: str,
    marker: str = "KG:",
    max_items: int | None = None,
    now_iso: Stamp = utc_now_iso_seconds,
    now_compact: Stamp = utc_now_compact_seconds,
) -> JsonObject:
    """Replace the marked lines of CURRENT CONTEXT by one line per packet of the result.

    Lines keep the order of the result. `max_items` bounds them; None leaves that to the
    list's own limit.

    Returns:
        `{ok, delta, trace, active_memory}`: the texts added and removed, how the lines were
        chosen, and a copy of the memory; with `ok: False` also `error`, and nothing changed.
    """
    if not isinstance(kg_result, dict):
        error = "kg_result is not an object"
        return {"ok": False, "error": error, "delta": {}, "trace": {}, "active_memory": {}}
    mark = marker.strip() or "KG:"
    source, packets = _packets(kg_result)
    memory = ensure_memact_memory(vars, now_iso=now_iso)
    bound = memory["limits"]["current_context"]
    if max_items is not None:
        bound = min(bound, max(0, max_items))
    lines = list(dict.fromkeys(_line(mark, packet) for packet in packets))
    delta = {"added": lines[:bound], "removed": _marked(memory["current_context"], mark)}
    envelope = {"current_context": delta}
    apply_memact_envelope(vars, envelope=envelope, now_iso=now_iso, now_compact=now_compact)
    trace = {
        "stimulus": str(stimulus or ""),
        "marker": mark,
        "source": source,
        "packets": len(packets),
        "selected": len(delta["added"]),
        "dropped": len(lines) - len(delta["added"]),
    }
    return {
        "ok": True,
        "delta": envelope,
        "trace": trace,
        "active_memory": isolate(memory),
    }


def _packets(kg_result: JsonObject) -> tuple[str, list[JsonObject]]:
    given = kg_result.get("packets")
    if isinstance(given, list):
        packets = [
            p for p in given if isinstance(p, dict) and str(p.get("statement") or "").strip()
        ]
        return "packets", packets
    items = kg_result.get("items")
    return "items", packetize_assertions(items if isinstance(items, list) else [])


def _line(marker: str, packet: JsonObject) -> str:
    facts = [
        f"{label}:{packet[name]}"
        for label, name in (("span", "span_id"), ("wf", "writer_workflow_id"))
        if packet.get(name)
    ]
    suffix = f" ({'; '.join(facts)})" if facts else ""
    return f"{marker} {str(packet['statement']).strip()}{suffix}"


def _marked(records: list[JsonObject], marker: str) -> list[str]:
    texts = (str(r["text"]) for r in records)
    return [t for t in texts if strip_stamp(t).casefold().startswith(marker.casefold())]
