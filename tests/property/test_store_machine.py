"""Deeds and accidents in any order: what was acknowledged stays, damage is noticed, calls happen once."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from machine import StoreMachine, cut_without_sync

from abstractruntime.core._kernel import waits
from abstractruntime.errors import AbstractRuntimeError
from abstractruntime.signing import verdict, verify_ledger
from abstractruntime.storage._files.jsonl import JsonlFile
from abstractruntime.storage._files.simfs import SimAppendFile
from abstractruntime.storage._store import lease
from abstractruntime.storage._store.image import RunImage
from abstractruntime.storage._store.lease import Leases
from abstractruntime.storage._store.run_log import DirectoryRunLog

COMMON = settings(
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)
COMMIT = settings(COMMON, max_examples=400, stateful_step_count=30)
# Together 20,000 stories; what the search remembers of its examples would take gigabytes in one piece.
_PARTS = 20
NIGHTLY = settings(COMMON, max_examples=20_000 // _PARTS, stateful_step_count=60, derandomize=False)
QUICK = settings(COMMIT, report_multiple_bugs=False, phases=[Phase.generate])


def test_any_order_of_deeds_and_accidents_keeps_the_promises():
    run_state_machine_as_test(StoreMachine, settings=COMMIT)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(_PARTS))
def test_many_orders_of_deeds_and_accidents_keep_the_promises(part):
    run_state_machine_as_test(StoreMachine, settings=NIGHTLY)


# -- mutants ------------------------------------------------------------------------


def skip_syncs(monkeypatch):
    monkeypatch.setattr(SimAppendFile, "sync", lambda self: None)


def ignore_leases(monkeypatch):
    acquire = Leases.acquire

    def careless(leases, run_id, **options):
        lease._claims.clear()
        return acquire(leases, run_id, **options)

    monkeypatch.setattr(Leases, "acquire", careless)


def forget_command_ids(monkeypatch):
    take = DirectoryRunLog.take_commands

    def forgetful(log):
        log._memory.image.commands.clear()
        return take(log)

    monkeypatch.setattr(DirectoryRunLog, "take_commands", forgetful)


def ignore_wait_keys(monkeypatch):
    require = waits.require_wait
    monkeypatch.setattr(waits, "require_wait", lambda run, key, *more: require(run, None, *more))


def forget_outcomes(monkeypatch):
    def forgetful(image, *arguments):
        before = image.pending
        apply(image, *arguments)
        image.pending = image.pending or before

    apply = RunImage._apply
    monkeypatch.setattr(RunImage, "_apply", forgetful)


def trust_every_byte(monkeypatch):
    monkeypatch.setattr("machine.verify_ledger", lambda lines, **options: VERIFIED)


def keep_half_lines(monkeypatch):
    monkeypatch.setattr(JsonlFile, "cut", lambda self, size: None)


def leave_cuts_unsynced(monkeypatch):
    monkeypatch.setattr(JsonlFile, "cut", cut_without_sync)


def judge_lost_lines(monkeypatch):
    monkeypatch.setattr(verdict, "_is_torn", lambda raw, *, is_signed: raw[-1:] != b"\n")


VERIFIED = verify_ledger([], run_id="r")
MUTANTS = [
    skip_syncs, ignore_leases, forget_command_ids, ignore_wait_keys, forget_outcomes,
    trust_every_byte, keep_half_lines, leave_cuts_unsynced, judge_lost_lines,
]  # fmt: skip


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.__name__)
def test_a_mutant_is_caught(mutant, monkeypatch):
    mutant(monkeypatch)

    with pytest.raises((AssertionError, AbstractRuntimeError)):
        run_state_machine_as_test(StoreMachine, settings=QUICK)
