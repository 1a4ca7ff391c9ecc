"""Signed heads as the directory engine writes them."""

from __future__ import annotations

import json

import pytest
from signed_ledger import tree_root

from abstractruntime.core.models import RunState, RunStatus, StepRecord, StepStatus
from abstractruntime.errors import HeadMismatch
from abstractruntime.signing.keys import generate
from abstractruntime.storage._store.heads import KeySigner
from abstractruntime.storage.directory import open_store

SIGNER = KeySigner(generate("o/1"))


def a_record():
    return StepRecord("r", "s", "n", StepStatus.COMPLETED, started_at="t")


def heads(store):
    with open(store._layout.heads("r"), "rb") as file:
        return [json.loads(line) for line in file]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store"


def park(log):
    log.run.status = RunStatus.WAITING
    log.commit(a_record())
    log.settle()
    log.close()


def opened(path, **options):
    return open_store(path, origin="o/1", signer=SIGNER, **options)


def test_a_head_is_signed_at_rest_and_every_64_records(path):
    with opened(path) as store:
        log = store.create(RunState("r", "w", RunStatus.RUNNING, "n"), a_record())
        log.settle()
        for _ in range(70):
            log.commit(a_record())
        park(log)
        lines = [stored.line for stored in store.records("r")]

        assert [head["size"] for head in heads(store)] == [1, 65, 72]
        assert store.head("r").signed_records == 72
        assert tree_root(lines[:64]).hex() != tree_root(lines).hex()


def test_the_tree_goes_on_after_reopening(path):
    with opened(path) as store:
        park(store.create(RunState("r", "w", RunStatus.RUNNING, "n"), a_record()))
    with opened(path) as store:
        log = store.open("r")
        log.commit(a_record())
        log.settle()
        log.close()
        assert [head["size"] for head in heads(store)] == [1, 2, 3]


@pytest.mark.parametrize("signer", [SIGNER, None], ids=["signing", "not signing"])
def test_a_ledger_below_its_head_stops_the_run(path, signer):
    with opened(path) as store:
        park(store.create(RunState("r", "w", RunStatus.RUNNING, "n"), a_record()))
        with open(store._layout.ledger("r"), "rb+") as file:
            file.truncate(len(file.readline()))
        (path / "run_r.json").unlink()

    with open_store(path, signer=signer) as store, pytest.raises(HeadMismatch):
        store.open("r")
