"""Ledger stores that can be subscribed to, alone and in every supported composition."""

from __future__ import annotations

import pytest

from abstractruntime.core.models import RunState, RunStatus, StepRecord
from abstractruntime.storage.artifacts import InMemoryArtifactStore
from abstractruntime.storage.in_memory import InMemoryLedgerStore
from abstractruntime.storage.ledger_chain import HashChainedLedgerStore, verify_ledger_chain
from abstractruntime.storage.observable import (
    ObservableLedgerStore,
    ObservableLedgerStoreProtocol,
)
from abstractruntime.storage.offloading import OffloadingLedgerStore


def a_record(run_id="r", result=None):
    run = RunState(run_id, "w", RunStatus.RUNNING, "n")
    return StepRecord.start(run=run, node_id="n", effect=None).finish_success(result or {"a": 1})


def observed(inner=None):
    return ObservableLedgerStore(inner or InMemoryLedgerStore())


def offloading(inner):
    return OffloadingLedgerStore(
        inner, artifact_store=InMemoryArtifactStore(), max_inline_bytes=100
    )


# ---- subscribing


@pytest.mark.parametrize("run_id, expected", [(None, ["r", "s"]), ("r", ["r"]), ("x", [])])
def test_a_subscriber_hears_of_its_runs(run_id, expected):
    store, heard = observed(), []
    store.subscribe(lambda record: heard.append(record["run_id"]), run_id=run_id)

    store.append(a_record("r"))
    store.append(a_record("s"))

    assert heard == expected


def test_a_subscriber_hears_after_the_record_was_stored():
    store, counts = observed(), []
    store.subscribe(lambda record: counts.append(len(store.list("r"))))

    store.append(a_record())

    assert counts == [1]


def test_unsubscribing_twice_is_harmless():
    store, heard = observed(), []
    stop = store.subscribe(heard.append)
    store.subscribe(heard.append)
    stop()
    stop()
    store.append(a_record())
    assert len(heard) == 1

    store.clear_subscribers()
    store.append(a_record())
    assert len(heard) == 1


def test_a_subscriber_disturbs_neither_the_run_nor_the_others():
    store, heard = observed(), []

    def spoil(record):
        record["result"]["a"] = "spoilt"
        raise RuntimeError("mine")

    store.subscribe(spoil)
    store.subscribe(heard.append)
    store.append(a_record())

    assert heard[0]["result"] == store.list("r")[0]["result"] == {"a": 1}
    assert str(store.last_subscriber_error) == "mine"


# ---- passing through


class Bare(InMemoryLedgerStore):
    count = None


class Rich(InMemoryLedgerStore):
    def count_many(self, run_ids):
        return {run_id: self.count(run_id) for run_id in run_ids}

    def metrics_many(self, run_ids):
        return {run_id: {"steps": 1} for run_id in run_ids}


@pytest.mark.parametrize("wrap", [observed, offloading], ids=["observable", "offloading"])
@pytest.mark.parametrize(
    "inner, many, metrics",
    [(Bare, {}, {}), (Rich, {"r": 2}, {"r": {"steps": 1}})],
    ids=["bare", "rich"],
)
def test_counting_uses_what_the_inner_store_has(wrap, inner, many, metrics):
    store = wrap(inner())
    for _ in range(2):
        store.append(a_record())

    assert store.count("r") == 2
    assert (store.count_many(["r"]), store.metrics_many(["r"])) == (many, metrics)


@pytest.mark.parametrize("wrap", [observed, offloading, HashChainedLedgerStore])
def test_extras_of_the_inner_store_are_passed_through(wrap):
    store = wrap(InMemoryLedgerStore())
    for _ in range(3):
        store.append(a_record())

    assert len(store.list_after("r", after=1)) == 2
    assert not hasattr(store, "tail")


@pytest.mark.parametrize("wrap", [offloading, HashChainedLedgerStore])
def test_subscribing_needs_an_observable_store_below(wrap):
    silent, loud = wrap(InMemoryLedgerStore()), wrap(observed())

    assert not isinstance(silent, ObservableLedgerStoreProtocol)
    assert isinstance(loud, ObservableLedgerStoreProtocol)
    with pytest.raises(RuntimeError, match="InMemoryLedgerStore below"):
        silent.subscribe(print)


# ---- compositions

COMPOSITIONS = {
    "observable(chain)": lambda s: observed(HashChainedLedgerStore(s)),
    "chain(observable)": lambda s: HashChainedLedgerStore(observed(s)),
    "offload(chain(observable))": lambda s: offloading(HashChainedLedgerStore(observed(s))),
    "offload(observable(chain))": lambda s: offloading(observed(HashChainedLedgerStore(s))),
    "observable(offload(chain))": lambda s: observed(offloading(HashChainedLedgerStore(s))),
    "observable(chain(offload))": lambda s: observed(HashChainedLedgerStore(offloading(s))),
    "chain(offload(observable))": lambda s: HashChainedLedgerStore(offloading(observed(s))),
}


@pytest.mark.parametrize("compose", COMPOSITIONS.values(), ids=COMPOSITIONS)
def test_every_composition_chains_and_tells_what_is_stored(compose):
    inner, heard = InMemoryLedgerStore(), []
    store = compose(inner)
    store.subscribe(heard.append)

    record = a_record(result={"big": "x" * 500})
    store.append(record)
    store.append(record.finish_success({"small": (1, 2)}))

    stored = inner.list("r")
    assert heard == stored
    assert verify_ledger_chain(stored)["ok"]
    assert record.record_hash == stored[-1]["record_hash"]
    assert stored[1]["result"] == {"small": [1, 2]}


def test_a_chain_that_could_not_see_what_is_replaced_is_refused():
    with pytest.raises(ValueError, match="stands between the chain"):
        HashChainedLedgerStore(observed(offloading(InMemoryLedgerStore())))


def test_a_subscriber_that_appends_does_not_fork_the_chain():
    inner = InMemoryLedgerStore()
    store = HashChainedLedgerStore(observed(inner))

    def answer(record):
        if record["node_id"] == "n" and len(inner.list("r")) < 3:
            store.append(a_record())

    store.subscribe(answer)
    store.append(a_record())

    assert len(inner.list("r")) == 3
    assert verify_ledger_chain(inner.list("r"))["ok"]


def test_a_failed_append_does_not_fork_the_chain():
    class Failing(InMemoryLedgerStore):
        fails = False

        def append(self, record):
            if self.fails:
                raise OSError("full")
            super().append(record)

    inner = Failing()
    store = HashChainedLedgerStore(inner)
    store.append(a_record())
    inner.fails = True
    with pytest.raises(OSError, match="full"):
        store.append(a_record())
    inner.fails = False
    store.append(a_record())

    assert verify_ledger_chain(inner.list("r"))["ok"]
