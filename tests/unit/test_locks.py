"""Both kinds of locks: they exclude, they can be asked without being taken, and they lead nowhere."""

from __future__ import annotations

import os

import pytest

from abstractruntime.storage._files.fs import RealFileSystem
from abstractruntime.storage._files.locks import DescriptionLocks, FlockLocks, best_locks

NOTE = b'{"pid": %d}' % os.getpid()


@pytest.fixture(params=[DescriptionLocks, FlockLocks], ids=["description", "flock"])
def fs(request):
    return RealFileSystem(request.param())


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "run.lock")


def test_one_holder_at_a_time(fs, path):
    lock = fs.lock(path, NOTE)
    assert fs.lock(path, b"other") is None
    lock.close()
    fs.lock(path, NOTE).close()


def test_the_note_is_given_while_somebody_holds_the_lock(fs, path):
    assert fs.lock_note(path) is None
    lock = fs.lock(path, NOTE)
    assert fs.lock_note(path) == NOTE
    lock.close()
    assert fs.lock_note(path) is None


def test_asking_takes_nothing(fs, path):
    fs.lock(path, NOTE).close()
    descriptor = os.open(path, os.O_RDONLY)
    fs._locks.note(descriptor)
    assert fs.lock(path, NOTE) is not None
    os.close(descriptor)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_holder_that_died_holds_nothing(fs, path):
    child = os.fork()
    if child == 0:  # pragma: no cover - runs in the child
        fs.lock(path, b'{"pid": %d}' % os.getpid())
        os._exit(0)
    os.waitpid(child, 0)
    assert fs.lock_note(path) is None
    fs.lock(path, NOTE).close()


def test_a_shorter_note_leaves_nothing_of_a_longer_one(fs, path):
    fs.lock(path, NOTE + b" " * 100).close()
    lock = fs.lock(path, NOTE)
    assert fs.lock_note(path) == NOTE
    lock.close()


def test_a_link_in_place_of_a_lock_file_is_not_followed(fs, path, tmp_path):
    (tmp_path / "precious").write_bytes(b"mine")
    os.symlink(tmp_path / "precious", path)
    for act in (lambda: fs.lock(path, NOTE), lambda: fs.lock_note(path)):
        with pytest.raises(OSError, match="a link"):
            act()
    assert (tmp_path / "precious").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("note", "holds"),
    [
        (b"", False),
        (NOTE, True),
        (b"not json", True),
        (b'{"pid": "x"}', True),
        (b'{"pid": 4194305}', False),
        (b'{"pid": 4194305, "host": "elsewhere"}', True),
        (b'{"pid": 1, "boot_id": "another"}', False),
    ],
    ids=["empty", "mine", "not json", "no pid", "gone", "of another host", "before a restart"],
)
def test_without_a_way_to_ask_the_note_stands_in(tmp_path, note, holds):
    (tmp_path / "lock").write_bytes(note)
    found = RealFileSystem(FlockLocks()).lock_note(str(tmp_path / "lock"))
    assert found == (note if holds else None)


def test_a_system_that_cannot_ask_gets_the_portable_kind(monkeypatch):
    monkeypatch.delattr("fcntl.F_OFD_GETLK")
    assert isinstance(best_locks.__wrapped__(), FlockLocks)
