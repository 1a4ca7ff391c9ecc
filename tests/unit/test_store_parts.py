"""The parts of a directory store that people and tools ask, as `core.store.Store` names them."""

from __future__ import annotations

import os

import pytest

from abstractruntime.core.models import RunState, RunStatus, StepRecord, StepStatus
from abstractruntime.core.store import Reached, Store
from abstractruntime.errors import Busy, NotFound, UsageError
from abstractruntime.storage.directory import KeySigner, open_store


@pytest.fixture
def store(tmp_path):
    from abstractruntime.signing import generate

    with open_store(tmp_path / "store", signer=KeySigner(generate("host"))) as engine:
        first = StepRecord("r", "s", "n", StepStatus.COMPLETED, result={"internal": "x"})
        log = engine.create(RunState("r", "w", RunStatus.WAITING, "n", {"a": 1}), first)
        log.settle()
        log.close()
        yield engine


def lines_of(store: Store, run_id: str) -> list[bytes]:
    with store.ledger(run_id) as file:
        return list(file)


def test_a_ledger_is_given_byte_for_byte(store):
    path = store._layout.ledger("r")
    with open(path, "ab") as file:
        file.write(b"torn \x00")
    with open(path, "rb") as file:
        assert lines_of(store, "r") == file.readlines()
    assert lines_of(store, "nobody") == []


def test_the_head_agrees_with_the_ledger_and_its_signature(store):
    (line,) = lines_of(store, "r")
    head = store.head("r")
    assert (head.records, head.bytes, head.signed_records) == (1, len(line), 1)
    assert len(list(store.heads.lines("r"))) == 1
    assert list(store.heads.lines("nobody")) == []


def test_a_bundle_is_kept_under_its_digest(store):
    assert store.bundles.get("d" * 64, limit=9) is None
    for _ in range(2):
        store.bundles.put("d" * 64, b"PK")
    assert store.bundles.get("d" * 64, limit=9) == b"PK"
    assert os.stat(store.bundles.address("d" * 64)).st_mode & 0o777 == 0o600


def test_one_serves_at_a_time(store):
    with store.serving(), pytest.raises(Busy, match="is served by process"), store.serving():
        pass
    with store.serving():
        pass


def test_a_store_is_new_once(store, tmp_path):
    assert store.is_new
    with open_store(tmp_path / "store") as again:
        assert not again.is_new


def test_a_run_is_known_by_what_is_left_of_it(store):
    assert store.health.knows("r")
    assert not any(map(store.health.knows, ("nobody", "", "../x", "a/b")))
    assert store.health.damage("r") is None
    assert list(store.health.unlisted(())) == []


@pytest.mark.parametrize(
    ("checkpoint", "reached"),
    [
        (b'{"_meta": {"size": 7, "head": "h"}}', Reached(7, "h")),
        (b'{"_meta": {"size": 0, "head": "h"}}', None),
        (b'{"_meta": {"size": "7", "head": "h"}}', None),
        (b'{"_meta": []}', None),
        (b"[[", None),
        (None, None),
    ],
    ids=["readable", "empty", "no size", "no meta", "no json", "none"],
)
def test_what_a_checkpoint_remembers(store, checkpoint, reached):
    os.unlink(store._layout.checkpoint("r"))
    if checkpoint is not None:
        with open(store._layout.checkpoint("r"), "wb") as file:
            file.write(checkpoint)
    assert store.health.reached("r") == reached


def test_a_directory_that_cannot_be_written_is_a_fault(store, monkeypatch):
    assert list(store.health.access()) == []
    monkeypatch.setattr("os.access", lambda *_: False)
    (fault,) = store.health.access()
    assert (fault.code, fault.level) == ("not_writable", "error")


def test_a_run_that_is_not_there_has_no_origin(store):
    assert store.origin("r").bundle_digest is None
    with pytest.raises(NotFound):
        store.origin("nobody")


def test_a_store_does_what_it_has_planned_itself(store):
    repair = store.care.plan_repair("r")

    assert store.care.repair(repair).to_dict() == repair.to_dict()
    for act in (store.care.repair, store.care.collect):
        with pytest.raises(UsageError, match="is no plan of this store"):
            act(object())
