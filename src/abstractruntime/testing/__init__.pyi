# What a type checker sees of this package; at run time its names load on first use.

from abstractruntime.testing.clocks import (
    FakeClock,
    SequentialIds,
)
from abstractruntime.testing.store_contract import (
    EngineContract,
    LedgerStoreContract,
    RunQueriesContract,
    RunStoreContract,
    StoreContract,
)
from abstractruntime.testing.stub_graph import (
    StubGraph,
)
from abstractruntime.testing.stub_llm import (
    StubAnswer,
    StubLLM,
)
from abstractruntime.testing.stub_tools import (
    StubTools,
)

__all__ = [
    "EngineContract",
    "FakeClock",
    "LedgerStoreContract",
    "RunQueriesContract",
    "RunStoreContract",
    "SequentialIds",
    "StoreContract",
    "StubAnswer",
    "StubGraph",
    "StubLLM",
    "StubTools",
]
