from __future__ import annotations

import errno

import pytest

from abstractruntime.errors import LedgerForked, StoreFull, StoreIOError, WriterPoisoned
from abstractruntime.storage._files.fs import StoreFiles
from abstractruntime.storage._files.jsonl import (
    JsonlFile,
    Tail,
    last_committed,
    last_line,
    scan_lines,
)
from abstractruntime.storage._files.simfs import SimFileSystem

PATH = "/d/f.jsonl"


def opened(data=b"", path=PATH):
    fs = SimFileSystem({path: data})
    return fs, JsonlFile(path, fs.open_append(path), len(data))


def test_append_gives_the_offset():
    fs, file = opened(b"1\n")
    assert (file.append(b"22\n"), file.append(b"3\n"), file.size) == (2, 5, 7)
    assert fs.image()[PATH] == b"1\n22\n3\n"


def test_a_short_write_is_cut_back(monkeypatch):
    fs, file = opened(b"1\n")
    handle = file._file
    original = type(handle).append
    monkeypatch.setattr(
        type(handle), "append", lambda self, data: original(self, data[:2]) and min(2, len(data))
    )
    with pytest.raises(StoreIOError):
        file.append(b"123456\n")
    assert fs.image()[PATH] == b"1\n"
    monkeypatch.undo()
    assert file.append(b"2\n") == 2


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_says_what_is_needed(code):
    fs, file = opened()
    fs.fail_at[len(fs.calls) + 1] = code
    with pytest.raises(StoreFull) as caught:
        file.append(b"123\n")
    assert caught.value.details["bytes_needed"] == 4


def test_a_grown_file_is_a_fork():
    fs, file = opened()
    fs.open_append(PATH).append(b"x\n")
    with pytest.raises(LedgerForked):
        file.append(b"1\n")
    with pytest.raises(WriterPoisoned):
        file.append(b"1\n")


def test_a_failed_sync_is_never_repeated():
    fs, file = opened(b"1\n")
    fs.fail_at[len(fs.calls)] = errno.EIO
    with pytest.raises(StoreIOError):
        file.sync()
    for call in (file.sync, lambda: file.append(b"2\n")):
        with pytest.raises(WriterPoisoned):
            call()


def test_sync_does_nothing_when_nothing_was_written():
    fs, file = opened(b"1\n")
    file.sync()
    calls = len(fs.calls)
    file.sync()
    assert len(fs.calls) == calls


SCANS = {
    "empty": (b"", [], 0),
    "clean": (b"a\nbb\n", [(0, b"a"), (2, b"bb")], 0),
    "torn": (b"a\nbb", [(0, b"a")], 2),
    "zeros": (b"a\n\x00\x00\x00", [(0, b"a")], 3),
    "zeros before a line": (b"a\n\x00\x00b\nc\n", [(0, b"a")], 6),
    "only a torn line": (b"abc", [], 3),
}


@pytest.mark.parametrize("data, lines, torn", SCANS.values(), ids=SCANS)
def test_scan(data, lines, torn):
    files, tail = StoreFiles(SimFileSystem({PATH: data})), Tail()

    assert [(line.offset, line.data) for line in scan_lines(files, PATH, tail=tail)] == lines
    assert (tail.torn_bytes, tail.end) == (torn, len(data))


@pytest.mark.parametrize(
    "data, lines", [(c[0], c[1]) for n, c in SCANS.items() if n != "zeros before a line"]
)
def test_the_last_committed_line(data, lines):
    last = last_committed(StoreFiles(SimFileSystem({PATH: data})), PATH)

    assert (last and (last.offset, last.data)) == (lines[-1] if lines else None)


@pytest.mark.parametrize("length", [3, 4096, 4097, 100_000])
def test_the_last_line_is_found_from_the_end(length):
    line = b"x" * length
    files = StoreFiles(SimFileSystem({PATH: b"first\n" + line + b"\nrest"}))
    size = 6 + length + 1

    found = last_line(files, PATH, size)
    assert (found.offset, found.data) == (6, line)
    assert last_line(files, PATH, size - 1) is None
    assert last_line(files, PATH, size + 50) is None
