"""Stores: the directory engine, the engine over 0.4.x store pairs, the pairs, and artifacts.

Names load on first use.
"""

from __future__ import annotations

from abstractruntime._exports import homes, lazy_names

_HOMES = homes(
    {
        "base": "RunStore LedgerStore QueryableRunStore",
        "in_memory": "InMemoryRunStore InMemoryLedgerStore",
        "json_files": "JsonFileRunStore JsonlLedgerStore",
        "ledger_chain": "HashChainedLedgerStore verify_ledger_chain",
        "observable": "ObservableLedgerStore ObservableLedgerStoreProtocol",
        "offloading": "OffloadingRunStore OffloadingLedgerStore offload_large_values",
        "snapshots": "Snapshot SnapshotStore InMemorySnapshotStore JsonSnapshotStore",
    }
)

__all__ = sorted(_HOMES)  # noqa: PLE0605 - the table above is the single source

__getattr__ = lazy_names(__name__, _HOMES)
