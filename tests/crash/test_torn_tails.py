"""Torn tails, cuts and power cuts, one upon the other: what is left is a prefix and a torn tail."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from machine import LimitedDisk, StoreMachine, cut_without_sync

from abstractruntime.errors import AbstractRuntimeError, StoreError
from abstractruntime.signing import read_heads, verify_ledger
from abstractruntime.storage._files.fs import StoreFiles
from abstractruntime.storage._files.jsonl import JsonlFile, Tail, scan_lines
from abstractruntime.storage._files.simfs import SimAppendFile

PATH = "/d/f.jsonl"
NEXT = b"b" * 90 + b"\n"
# Lines that were written in one go, and lines as a power cut leaves them: zeros before the rest.
LINES = (b"x" * 2000 + b"\n") * 2
ZEROS = bytes(30) + LINES


# -- a whole store ------------------------------------------------------------------------


def judge_many_disks(tail: bytes) -> None:
    """Tear two tails, cut the power in a hundred ways and find each of the disks."""
    for seed in range(100):
        machine = StoreMachine()
        machine.begin("two_calls", "two_calls")
        machine.control("r0", "pause_run")
        machine.crash_with_torn_tail("r0", tail)
        machine.post("r0", "cancel", 0)
        machine.answer_with_another_key("r0")
        machine.crash_with_torn_tail("r0", tail)
        machine.power_cut(random.Random(seed))
        machine.acknowledged_records_are_there()
        machine.control("r0", "resume_run")
        machine.verify()
        machine.teardown()


@pytest.mark.parametrize("tail", [b'{"run_id":"to', ZEROS], ids=["half a line", "zeros"])
def test_a_power_cut_after_two_torn_tails_leaves_a_prefix(tail):
    judge_many_disks(tail)


def test_a_cut_that_is_not_synced_is_caught_in_a_store(monkeypatch):
    monkeypatch.setattr(JsonlFile, "cut", cut_without_sync)

    with pytest.raises((AssertionError, AbstractRuntimeError)):
        judge_many_disks(ZEROS)


# -- one file ---------------------------------------------------------------------------------


def after_a_torn_tail() -> LimitedDisk:
    disk = LimitedDisk({PATH: b"a\n" + ZEROS})
    file = JsonlFile(PATH, disk.open_append(PATH), 2)
    file.cut(2)
    file.append(NEXT)
    return disk


def after_a_short_write() -> LimitedDisk:
    disk = LimitedDisk({PATH: b"a\n"})
    file = JsonlFile(PATH, disk.open_append(PATH), 2)
    append = SimAppendFile.append
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SimAppendFile, "append", lambda file, data: append(file, data[:3000]))
        with pytest.raises(StoreError):
            file.append(LINES * 4)
    file.append(NEXT)
    return disk


def odd_lines(disk: LimitedDisk) -> set[bytes]:
    """Give the committed lines that nobody wrote there, over many power cuts."""
    found = set()
    for seed in range(200):
        files = StoreFiles(LimitedDisk(disk.power_cut(random.Random(seed))))
        found |= {line.data for line in scan_lines(files, PATH, tail=Tail())}
    return found - {b"a", NEXT[:-1]}


DEEDS = [after_a_torn_tail, after_a_short_write]


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.__name__)
def test_nothing_of_what_was_cut_off_comes_back(deed: Callable[[], LimitedDisk]):
    assert odd_lines(deed()) == set()


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.__name__)
def test_a_cut_that_is_not_synced_is_caught(deed: Callable[[], LimitedDisk], monkeypatch):
    monkeypatch.setattr(JsonlFile, "cut", cut_without_sync)

    assert odd_lines(deed())


# -- readers without a store ----------------------------------------------------------------------


def test_verifying_leaves_out_what_a_power_cut_left_of_records_and_heads():
    verdict = verify_ledger([bytes(30) + b'"}\n', b'{"seq":1}\n', b"half"])
    heads = list(read_heads([bytes(30) + b'"}\n']))

    assert (verdict.verdict, verdict.records, verdict.torn_tail_bytes) == ("valid_unsigned", 0, 47)
    assert heads == []


def test_a_head_behind_zeros_shows_that_they_are_damage():
    first, second = read_heads([bytes(30) + b"\n", b"{}\n"])

    assert (first.line, second.line) == (0, 1)
