"""Every store of ours keeps the shipped contract."""

from __future__ import annotations

import contextlib
import json
import tempfile
import unittest
from dataclasses import replace
from pathlib import Path

import pytest

from abstractruntime.core.models import RunStatus
from abstractruntime.storage.base import LedgerStore, RunStore
from abstractruntime.storage.classic import ClassicEngine
from abstractruntime.storage.directory import open_store
from abstractruntime.storage.in_memory import InMemoryLedgerStore, InMemoryRunStore
from abstractruntime.storage.json_files import JsonFileRunStore, JsonlLedgerStore
from abstractruntime.storage.observable import ObservableLedgerStore
from abstractruntime.storage.sqlite import SqliteDatabase, SqliteLedgerStore, SqliteRunStore
from abstractruntime.testing.store_contract import EngineContract, StoreContract


class Scratch:
    """Gives each test directories of its own, and closes what the test opened."""

    def setup_method(self) -> None:
        self.stack = contextlib.ExitStack()

    def teardown_method(self) -> None:
        self.stack.close()

    def directory(self) -> Path:
        return Path(self.stack.enter_context(tempfile.TemporaryDirectory()))


class TestInMemory(StoreContract):
    def make_stores(self):
        return InMemoryRunStore(), InMemoryLedgerStore()


class TestJsonFiles(Scratch, StoreContract):
    def make_stores(self):
        base = self.directory()
        return JsonFileRunStore(base, sync=False), JsonlLedgerStore(base, sync=False)

    def reopen(self, stores):
        base = stores[0]._directory.layout.root
        return JsonFileRunStore(base, sync=False), JsonlLedgerStore(base, sync=False)


class TestSqlite(Scratch, StoreContract):
    def make_stores(self):
        return self.stores_at(self.directory() / "runs.db")

    def reopen(self, stores):
        return self.stores_at(stores[0]._db.path)

    def stores_at(self, path):
        db = self.stack.enter_context(SqliteDatabase(path, synchronous="NORMAL"))
        return SqliteRunStore(db), SqliteLedgerStore(db)


class TestObserved(StoreContract):
    def make_stores(self):
        return InMemoryRunStore(), ObservableLedgerStore(InMemoryLedgerStore())


class TestDirectoryEngine(Scratch, EngineContract):
    def make_engine(self):
        return self.open_at(self.directory())

    def reopen(self, engine):
        return self.open_at(engine.path)

    def open_at(self, path):
        return self.stack.enter_context(open_store(path, origin="t/0", durability="off"))


class TestClassicEngine(EngineContract):
    keeps_internal_records = False
    keeps_attempts = False
    excludes_other_processes = False

    def make_engine(self):
        return ClassicEngine(InMemoryRunStore(), InMemoryLedgerStore())

    def reopen(self, engine):
        return ClassicEngine(engine.runs, engine.ledgers)


class TestClassicEngineOverJsonFiles(Scratch, EngineContract):
    keeps_internal_records = False
    keeps_attempts = False
    excludes_other_processes = False

    def make_engine(self):
        return self.open_at(self.directory())

    def reopen(self, engine):
        return self.open_at(engine.runs._directory.layout.root)

    def open_at(self, base):
        stores = JsonFileRunStore(base, sync=False), JsonlLedgerStore(base, sync=False)
        return ClassicEngine(*stores)


class TestClassicEngineOverSqlite(Scratch, EngineContract):
    keeps_internal_records = False
    keeps_attempts = False
    excludes_other_processes = False

    def make_engine(self):
        return self.open_at(self.directory() / "runs.db")

    def reopen(self, engine):
        return self.open_at(engine.runs._db.path)

    def open_at(self, path):
        db = self.stack.enter_context(SqliteDatabase(path, synchronous="NORMAL"))
        return ClassicEngine(SqliteRunStore(db), SqliteLedgerStore(db))


class Sharing(InMemoryRunStore):
    """Hands out the object it was given, as 0.4.x did."""

    def __init__(self):
        super().__init__()
        self.runs = {}

    def save(self, run):
        super().save(run)
        self.runs[run.run_id] = run

    def load(self, run_id):
        return self.runs.get(run_id)


class Raising(InMemoryRunStore):
    def load(self, run_id):
        return self._runs[run_id] and super().load(run_id)


class Lenient(InMemoryRunStore):
    def save(self, run):
        run = replace(run, vars=json.loads(json.dumps(run.vars, default=str)))
        super().save(run)


class OldestFirst(InMemoryRunStore):
    def list_runs(self, **options):
        return super().list_runs(**options)[::-1]


class Unlimited(InMemoryRunStore):
    def list_runs(self, **options):
        return super().list_runs(**{**options, "limit": 99})


class TextDeadlines(InMemoryRunStore):
    def list_due_wait_until(self, *, now_iso, limit=100):
        waiting = [r for r in self.list_runs(status=RunStatus.WAITING) if r.waiting.until]
        return sorted(
            (r for r in waiting if r.waiting.until <= now_iso), key=lambda r: r.waiting.until
        )


class EveryChild(InMemoryRunStore):
    def list_children(self, *, parent_run_id, status=None):
        return [r for r in self.list_runs(status=status) if r.parent_run_id]


class NoneAsText(InMemoryRunStore):
    def list_run_index(self, **options):
        return [
            {**row, "wait_until": str(row["wait_until"])}
            for row in super().list_run_index(**options)
        ]


class OncePerStep(InMemoryLedgerStore):
    def append(self, record):
        if all(r["step_id"] != record.step_id for r in self.list(record.run_id)):
            super().append(record)


class OffByOne(InMemoryLedgerStore):
    def list_after(self, run_id, *, after):
        return super().list_after(run_id, after=max(0, after - 1))


class Extended(InMemoryLedgerStore):
    def list_after(self, run_id, *, after):
        return [{**r, "extra": 1} for r in super().list_after(run_id, after=after)]


@pytest.mark.parametrize(
    "broken",
    [
        Sharing, Raising, Lenient, OldestFirst, Unlimited, TextDeadlines, EveryChild, NoneAsText,
        OncePerStep, OffByOne, Extended,
    ],
)  # fmt: skip
def test_a_store_that_breaks_a_promise_fails_the_contract(broken):
    class Case(StoreContract, unittest.TestCase):
        def make_stores(self):
            pair = {RunStore: InMemoryRunStore, LedgerStore: InMemoryLedgerStore}
            kinds = (broken if issubclass(broken, base) else pair[base] for base in pair)
            return tuple(kind() for kind in kinds)

    assert not outcome_of(Case).wasSuccessful()


def test_the_contract_runs_under_unittest():
    class Case(StoreContract, unittest.TestCase):
        def make_stores(self):
            return InMemoryRunStore(), InMemoryLedgerStore()

    result = outcome_of(Case)

    assert result.testsRun > 40
    assert result.wasSuccessful(), result.failures + result.errors


def outcome_of(case):
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
    return result
