"""The disk is full: exit code 74, a valid store, and the work ends once there is space.

A limit on the size of files makes a write short and the next one fail, as a full disk does.
"""

from __future__ import annotations

import resource
import signal
from collections import Counter
from functools import partial

import pytest
from faults_cli import DEEDS, Tool

from abstractruntime.errors import IntegrityError
from abstractruntime.storage._files.jsonl import JsonlFile

SIZES = 16


def limit(size: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def largest(tool: Tool) -> int:
    """Give the size of the largest file that the store cannot do without."""
    files = [p for p in tool.store.rglob("*") if p.is_file() and "index" not in p.name]
    return max(p.stat().st_size for p in files)


def fill(tmp_path, name: str, sizes: int) -> Counter[int]:
    """Do a deed under every limit below what it needs; give how often it ended with which code."""
    clean = Tool(tmp_path / "clean", DEEDS[name])
    clean.prepare()
    before = largest(clean) if DEEDS[name].before else 0
    assert clean.do(DEEDS[name].verb) in (0, 4)
    after = largest(clean)
    codes: Counter[int] = Counter()
    for i in range(sizes):
        tool = Tool(tmp_path / str(i), DEEDS[name])
        tool.prepare()
        told = tool.ledger()
        size = before + (after - before) * i // sizes
        codes[tool.do(DEEDS[name].verb, partial(limit, size))] += 1
        tool.check_and_finish(told)
    return codes


@pytest.mark.parametrize("name", DEEDS)
def test_a_full_disk_is_told_and_survived(name, tmp_path):
    assert fill(tmp_path, name, SIZES) == {74: SIZES}


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", DEEDS)
def test_a_full_disk_is_survived_at_many_sizes(name, tmp_path):
    assert fill(tmp_path, name, 500) == {74: 500}


def test_a_writer_that_keeps_half_a_line_is_caught(tmp_path, monkeypatch):
    def append(file, data):
        offset = file.size
        file.size += file._file.append(data)
        return offset

    monkeypatch.setattr(JsonlFile, "append", append)

    with pytest.raises((AssertionError, IntegrityError)):
        assert fill(tmp_path, "run", SIZES) == {74: SIZES}
