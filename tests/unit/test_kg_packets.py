"""Assertions as packets, and packets as a text within a budget."""

from __future__ import annotations

import pytest

from abstractruntime.memory import kg_packets
from abstractruntime.memory.kg_packets import pack_active_memory_text, packetize_assertions


def an_item(target="Paris", **fields):
    return {"subject": "ada", "predicate": "lives-in", "object": target, **fields}


def test_a_packet_carries_statement_and_provenance():
    item = an_item(
        observed_at="T",
        scope="run",
        owner_id=" ",
        provenance={"span_id": "s", "writer_workflow_id": "w"},
        attributes={"_retrieval": {"score": 1}},
    )

    assert packetize_assertions([item]) == [
        {
            "version": 0,
            "statement": "ada —lives-in→ Paris",
            "subject": "ada",
            "predicate": "lives-in",
            "object": "Paris",
            "observed_at": "T",
            "scope": "run",
            "span_id": "s",
            "writer_workflow_id": "w",
            "retrieval_score": 1.0,
        }
    ]


@pytest.mark.parametrize(
    ("items", "objects"),
    [
        ([an_item(), an_item("PARIS")], ["Paris"]),
        ([an_item(observed_at="1"), an_item(observed_at="2")], ["Paris", "Paris"]),
        ([an_item(0), an_item("")], ["0"]),
        (["text", None, {"subject": "a"}], []),
        (None, []),
        ([an_item(attributes={"_retrieval": {"score": "high"}}, provenance="x")], ["Paris"]),
    ],
    ids=["same", "other-time", "falsy-terms", "junk", "none", "odd-fields"],
)
def test_packetizing(items, objects):
    packets = packetize_assertions(items)

    assert [p["object"] for p in packets] == objects
    assert all("retrieval_score" not in p for p in packets)


def pack(count, budget, monkeypatch, **options):
    monkeypatch.setattr(kg_packets, "estimate_tokens", lambda text, *, model=None: text.count("- "))
    packets = packetize_assertions([an_item(str(n)) for n in range(count)])
    return pack_active_memory_text(packets, scope="run", max_input_tokens=budget, **options)


@pytest.mark.parametrize(
    ("count", "budget", "kept", "tokens", "dropped"),
    [(3, 9, 3, 3, 0), (3, 2, 2, 2, 1), (3, 0, 0, 0, 3), (0, 9, 0, 0, 0)],
)
def test_packing_stops_at_the_budget(count, budget, kept, tokens, dropped, monkeypatch):
    text, packets, used, left = pack(count, budget, monkeypatch)

    assert (len(packets), used, left) == (kept, tokens, dropped)
    assert bool(text) is bool(kept)


def test_packed_text():
    score = {"attributes": {"_retrieval": {"score": 0.5}}}
    packets = packetize_assertions(
        [an_item(observed_at="T", provenance={"span_id": "s"}, **score), an_item("Rome")]
    )

    text, *_ = pack_active_memory_text(packets, scope="all", max_input_tokens=900)
    plain, *_ = pack_active_memory_text(
        packets, scope="all", max_input_tokens=900, title="FACTS", include_scores=False
    )

    assert text == (
        "## KG ACTIVE MEMORY\n"
        "(scope=all; order=similarity-desc; budget=900 max_input_tokens)\n"
        "\n"
        "- [T] ada —lives-in→ Paris (span:s; score:0.500)\n"
        "- ada —lives-in→ Rome"
    )
    assert plain.startswith("## FACTS\n")
    assert "score:" not in plain


def test_order_without_scores():
    text, *_ = pack_active_memory_text(
        packetize_assertions([an_item()]), scope="run", max_input_tokens=900
    )

    assert "order=observed_at-desc" in text
