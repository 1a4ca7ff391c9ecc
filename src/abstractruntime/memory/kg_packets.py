"""Packets: knowledge-graph assertions as statements that fit a prompt."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from abstractruntime._json import JsonObject, mapping
from abstractruntime.memory.token_budget import estimate_tokens

KG_MEMORY_PACKETS_VERSION: Final = 0

_OWN_FIELDS = ("observed_at", "scope", "owner_id")
_PROVENANCE_FIELDS = ("span_id", "writer_run_id", "writer_workflow_id")


def packetize_assertions(items: Iterable[Any] | None) -> list[JsonObject]:
    """Give one packet per distinct assertion, in the order of the items.

    Assertions are the same when subject, predicate, object and `observed_at` are, whatever
    their case. What is no object or lacks one of the three terms is left out.
    """
    packets: dict[tuple[str, ...], JsonObject] = {}
    for item in items or []:
        packet = _packet(item) if isinstance(item, dict) else None
        if packet is not None:
            names = ("subject", "predicate", "object", "observed_at")
            packets.setdefault(tuple(packet.get(n, "").casefold() for n in names), packet)
    return list(packets.values())


def _packet(item: JsonObject) -> JsonObject | None:
    subject, predicate, target = (_text(item.get(n)) for n in ("subject", "predicate", "object"))
    if not (subject and predicate and target):
        return None
    packet: JsonObject = {
        "version": KG_MEMORY_PACKETS_VERSION,
        "statement": f"{subject} —{predicate}→ {target}",
        "subject": subject,
        "predicate": predicate,
        "object": target,
    }
    provenance = mapping(item.get("provenance"))
    optional = {
        **{name: _text(item.get(name)) for name in _OWN_FIELDS},
        **{name: _text(provenance.get(name)) for name in _PROVENANCE_FIELDS},
    }
    packet.update({name: text for name, text in optional.items() if text})
    score = mapping(mapping(item.get("attributes")).get("_retrieval")).get("score")
    if isinstance(score, int | float) and not isinstance(score, bool):
        packet["retrieval_score"] = float(score)
    return packet


def pack_active_memory_text(
    packets: Iterable[JsonObject],
    *,
    scope: str,
    max_input_tokens: int,
    model: str | None = None,
    title: str = "KG ACTIVE MEMORY",
    include_scores: bool = True,
) -> tuple[str, list[JsonObject], int, int]:
    """Give a text for the prompt, the packets in it, its tokens, and how many were dropped.

    Packets enter in their order until the first that exceeds the budget; the rest is
    dropped. When none fits the text is empty and takes no tokens.
    """
    offered = list(packets)
    scored = any("retrieval_score" in p for p in offered)
    order = "similarity-desc" if scored else "observed_at-desc"
    text = (
        f"## {title}\n(scope={scope}; order={order}; budget={max_input_tokens} max_input_tokens)\n"
    )
    kept: list[JsonObject] = []
    tokens = 0
    for packet in offered:
        longer = f"{text}\n{_line(packet, include_scores=include_scores)}"
        needed = estimate_tokens(longer, model=model)
        if needed > max_input_tokens:
            break
        text, tokens = longer, needed
        kept.append(packet)
    return (text if kept else "", kept, tokens, len(offered) - len(kept))


def _line(packet: JsonObject, *, include_scores: bool) -> str:
    facts = [f"span:{packet['span_id']}"] if packet.get("span_id") else []
    score = packet.get("retrieval_score")
    if include_scores and score is not None:
        facts.append(f"score:{score:.3f}")
    time = f"[{packet['observed_at']}] " if packet.get("observed_at") else ""
    suffix = f" ({'; '.join(facts)})" if facts else ""
    return f"- {time}{packet.get('statement', '')}{suffix}"


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()
