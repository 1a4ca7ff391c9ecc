"""Helpers for tests of flows, handlers and stores; names load on first use.

A scripted model, a clock and ids without surprises, and the contract that every store keeps.
"""

from __future__ import annotations

from abstractruntime._exports import homes, lazy_names

_HOMES = homes(
    {
        "clocks": "FakeClock SequentialIds",
        "store_contract": "EngineContract LedgerStoreContract RunQueriesContract RunStoreContract"
        " StoreContract",
        "stub_graph": "StubGraph",
        "stub_llm": "StubAnswer StubLLM",
        "stub_tools": "StubTools",
    }
)

__all__ = sorted(_HOMES)  # noqa: PLE0605 - the table above is the single source

__getattr__ = lazy_names(__name__, _HOMES)
