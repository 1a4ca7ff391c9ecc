# What a type checker sees of this package; at run time its names load on first use.

from abstractruntime.storage.base import (
    LedgerStore,
    QueryableRunStore,
    RunStore,
)
from abstractruntime.storage.in_memory import (
    InMemoryLedgerStore,
    InMemoryRunStore,
)
from abstractruntime.storage.json_files import (
    JsonFileRunStore,
    JsonlLedgerStore,
)
from abstractruntime.storage.ledger_chain import (
    HashChainedLedgerStore,
    verify_ledger_chain,
)
from abstractruntime.storage.observable import (
    ObservableLedgerStore,
    ObservableLedgerStoreProtocol,
)
from abstractruntime.storage.offloading import (
    OffloadingLedgerStore,
    OffloadingRunStore,
    offload_large_values,
)
from abstractruntime.storage.snapshots import (
    InMemorySnapshotStore,
    JsonSnapshotStore,
    Snapshot,
    SnapshotStore,
)

__all__ = [
    "HashChainedLedgerStore",
    "InMemoryLedgerStore",
    "InMemoryRunStore",
    "InMemorySnapshotStore",
    "JsonFileRunStore",
    "JsonSnapshotStore",
    "JsonlLedgerStore",
    "LedgerStore",
    "ObservableLedgerStore",
    "ObservableLedgerStoreProtocol",
    "OffloadingLedgerStore",
    "OffloadingRunStore",
    "QueryableRunStore",
    "RunStore",
    "Snapshot",
    "SnapshotStore",
    "offload_large_values",
    "verify_ledger_chain",
]
