"""Short exclusive locks: they exclude, they give up in time, and a forked child keeps none."""

from __future__ import annotations

import os
import threading

import pytest

from abstractruntime.errors import Busy
from abstractruntime.storage._files.file_lock import StoreLock
from abstractruntime.storage._files.fs import RealFileSystem, StoreFiles
from abstractruntime.testing.clocks import FakeClock


@pytest.fixture
def files():
    return StoreFiles(RealFileSystem())


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "locks" / "store.lock")


def test_two_locks_of_one_file_exclude_each_other(files, path):
    holder, other = StoreLock(files, path), StoreLock(files, path, clock=FakeClock(), wait_s=1)

    with holder.held(), pytest.raises(Busy, match=r"'store.lock' has been locked for 1 seconds"):
        other.held().__enter__()
    with other.held():
        assert os.path.exists(path)


def test_one_lock_excludes_its_own_threads(files, path):
    lock, counts = StoreLock(files, path), []

    def count():
        for _ in range(20):
            with lock.held():
                before = len(counts)
                counts.append(before)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert counts == list(range(80))


def test_a_failing_block_releases_the_lock(files, path):
    lock = StoreLock(files, path)
    with pytest.raises(RuntimeError), lock.held():
        raise RuntimeError
    with lock.held():
        pass


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_does_not_keep_the_lock(files, path):
    alive, child_is_alive = os.pipe()
    child_may_end, end = os.pipe()
    with StoreLock(files, path).held():
        child = os.fork()
        if child == 0:
            os.close(end)
            os.write(child_is_alive, b".")
            os.read(child_may_end, 1)
            os._exit(0)
        os.read(alive, 1)
    try:
        with StoreLock(files, path, clock=FakeClock(), wait_s=0).held():
            pass
    finally:
        os.close(end)
        os.waitpid(child, 0)
        for descriptor in (alive, child_is_alive, child_may_end):
            os.close(descriptor)
