"""The directory store with all its parts.

`open_store(path)` gives it. What drives runs is `storage._store`; what looks after them,
`storage._care`, is imported when somebody asks for it.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from abstractruntime._json import dump_line
from abstractruntime._ports_system import SystemClock, SystemIds
from abstractruntime.storage._files.fs import RealFileSystem, StoreFiles
from abstractruntime.storage._files.layout import Layout, check_id
from abstractruntime.storage._store.engine import DirectoryEngine
from abstractruntime.storage._store.heads import KeySigner
from abstractruntime.storage._store.lease import busy_with, expect_end, holder_facts, read_owner
from abstractruntime.storage._store.store_file import read_store_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from abstractruntime.core.ports import Clock, Ids
    from abstractruntime.signing.keys import VerifierKey
    from abstractruntime.storage._care.care import Care
    from abstractruntime.storage._care.health import Health
    from abstractruntime.storage._care.run_snapshots import DirectorySnapshots
    from abstractruntime.storage._files.fs import FileSystem
    from abstractruntime.storage._store.services import Durability, HeadSignerPort
    from abstractruntime.storage.artifacts import FileArtifactStore

__all__ = [
    "DirectoryEngine",
    "DirectoryStore",
    "KeySigner",
    "artifacts_in",
    "check_id",
    "expect_end",
    "links_of",
    "open_store",
]


def open_store(  # noqa: PLR0913 - every one is optional, and four are seams for tests
    path: str | Path,
    *,
    durability: Durability = "strict",
    signer: HeadSignerPort | None = None,
    host_keys: Callable[[], Iterable[VerifierKey]] = tuple,
    seal: Callable[[str], str] | None = None,
    only_sealed: bool = False,
    lock: bool = True,
    origin: str | None = None,
    create: bool = True,
    clock: Clock | None = None,
    ids: Ids | None = None,
    fs: FileSystem | None = None,
) -> DirectoryStore:
    """Open the store in a directory, creating it where nothing is.

    A directory of 0.4.x is a store too: nothing in it changes until the first write, and a
    run of it is imported when it is first opened for writing. A store of a newer format is
    opened for reading only.

    Args:
        path: The directory.
        durability: `strict` syncs around external effects and before acknowledging,
            `relaxed` only when a run comes to rest, `off` never.
        signer: Signs heads of ledgers; without one there are none.
        host_keys: Gives the other hosts whose heads count; a signer goes on from those only.
        seal: Marks records and commands, by which this host knows its own again; gives hexadecimal
            digits for a text, from a secret.
        only_sealed: Whether commands without that mark are set aside.
        lock: False trusts the caller to be the only process.
        origin: The name of a new store in its signed heads; default `<host>/<8 hex>`.
        create: False refuses to create.
        clock: Time, for tests.
        ids: Ids of the records and snapshots the store itself writes, for tests.
        fs: The file system, for tests.

    Raises:
        NotFound: nothing is there and `create` is False.
        UsageError: the directory holds something else.
        StoreError: it cannot be read or written.
    """
    clock = clock or SystemClock()
    root = fs.real_path(str(path)) if fs else os.path.realpath(path)
    fs = fs or RealFileSystem(root=root)
    files = StoreFiles(fs, sync=durability != "off")
    layout = Layout(root)
    is_new = files.info(layout.store_file) is None
    facts = read_store_file(files, layout, create=create, origin=origin, clock=clock)
    store = DirectoryStore(
        root,
        facts,
        files,
        durability=durability,
        signer=signer,
        host_keys=host_keys,
        seal=seal,
        only_sealed=only_sealed,
        lock=lock,
        clock=clock,
        ids=ids or SystemIds(),
    )
    store.is_new = is_new
    return store


def artifacts_in(path: str | Path) -> FileArtifactStore:
    """Give the artifacts of the store in a directory, which need not be one yet."""
    # Whoever keeps and reads no artifacts loads nothing of them.
    from abstractruntime.storage.artifacts import FileArtifactStore  # noqa: PLC0415 - see above

    return FileArtifactStore(path)


def links_of(path: str | Path) -> list[str]:
    """Give the parts of a store directory that are links, so that they may lie anywhere."""
    names = (str(path), *Layout(str(path)).fixed())
    return [name for name in names if os.path.islink(name)]  # noqa: PTH114 - names are text here


class DirectoryStore(DirectoryEngine):
    """One store in a directory; see `core.store.Store`. Made by `open_store`."""

    @property
    def artifacts(self) -> FileArtifactStore:
        found = artifacts_in(self.path)
        found.tell(self.note_added)
        return found

    def note_added(self, run_id: str, size: int) -> None:
        """Count what was written for a run beside its ledger; its next record says it."""
        self.services.beside.add(run_id, size)

    @property
    def health(self) -> Health:
        from abstractruntime.storage._care.health import Health  # noqa: PLC0415 - see above

        return Health(self)

    @property
    def snapshots(self) -> DirectorySnapshots:
        from abstractruntime.storage._care.run_snapshots import DirectorySnapshots  # noqa: PLC0415 - see above

        return DirectorySnapshots(self)

    @property
    def care(self) -> Care:
        from abstractruntime.storage._care.care import Care  # noqa: PLC0415 - see above

        return Care(self)

    def check_index(self) -> list[str]:
        """Write the rows of the index anew that are not what their runs say, and give their ids."""
        from abstractruntime.storage._store.index_check import check_index  # noqa: PLC0415 - see above

        return check_index(self)

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        """Be the one who serves this store, for the block.

        Raises:
            Busy: somebody else does.
        """
        self.require_writable()
        files, path = self._files, self._layout.serve_lock
        files.ensure_dir(self._layout.locks)
        lock = files.lock(path, dump_line(holder_facts(self.services.clock)))
        if lock is None:
            other = read_owner(files.read(path) or b"")
            hint = f"one is enough; to replace it: kill {other.pid}, then repeat"
            raise busy_with(other, f"the store {self.path!r} is served", hint=hint, path=self.path)
        try:
            yield
        finally:
            lock.close()
