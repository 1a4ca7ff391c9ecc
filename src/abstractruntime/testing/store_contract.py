"""The contract every store keeps, as classes of tests to inherit.

For a pair of 0.4.x stores:

    class TestMyStores(StoreContract):
        def make_stores(self):
            return MyRunStore(...), MyLedgerStore(...)

For an engine: `EngineContract` and `make_engine`. Tests are plain methods that need no
fixture, so `unittest.TestCase` can be a second base. Each calls `make_stores` or
`make_engine` for stores that are empty, and `reopen` for what another process would see;
`setup_method` and `teardown_method`, or `setUp` and `tearDown`, are free for cleaning up.
"""

from __future__ import annotations

from functools import partial

from abstractruntime._runtime.runtime import Runtime
from abstractruntime.testing._contract_engine import EngineContract
from abstractruntime.testing._contract_runtime import ClassicRuntimeContract, Host, RuntimeContract
from abstractruntime.testing._contract_stores import (
    LedgerStoreContract,
    RunQueriesContract,
    RunStoreContract,
    Stores,
)

__all__ = [
    "ClassicRuntimeContract",
    "EngineContract",
    "Host",
    "LedgerStoreContract",
    "RunQueriesContract",
    "RunStoreContract",
    "RuntimeContract",
    "StoreContract",
    "Stores",
]


class StoreContract(
    RunStoreContract,
    RunQueriesContract,
    LedgerStoreContract,
    RuntimeContract,
    ClassicRuntimeContract,
):
    """The whole contract of a pair; a store without queries inherits the parts it keeps."""

    def make_host(self) -> Host:
        stores = self.make_stores()

        def open_runtime(**options: object) -> Runtime:
            runs, ledger = self.reopen(stores)
            make = partial(Runtime, run_store=runs, ledger_store=ledger)
            return make(**options)  # type: ignore[arg-type] # the options of Host

        return Host(open_runtime)
