"""The workspace: the one directory whose files flows may touch.

Rules:
1. The host chooses the outer root. A run's variable `workspace_root` can only narrow it, and
   `workspace_ignored_paths` takes paths away.
2. A path may not leave the root, whether by `..`, by a link or as an absolute path; `_beneath`
   walks it. Only regular files with one name are read: of others nobody knows whose they are.
3. Whatever the root is, no path reaches the user's configuration, keys, trust decisions, or a
   store of runs; a file that holds a private key is not read wherever it lies. They are known by
   what they are, not by how they are called, so that neither another name nor a mount leads to
   them. `art.yaml`, `.art` and `.git` are not written, as whoever works there obeys them.
4. Reading and writing need the grants `file:read` and `file:write`.
"""

# Paths are text here, and relative to descriptors.
# ruff: noqa: PTH116, PTH118

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from abstractruntime import _beneath
from abstractruntime._beneath import Escape, Spot, parts_below, walked
from abstractruntime._files import STORE_FILE, marks_store
from abstractruntime._json import JsonObject, JsonValue
from abstractruntime.errors import Refused
from abstractruntime.nodes.base import NodeError
from abstractruntime.nodes.services import FileListing

_ROOT, _IGNORED = "workspace_root", "workspace_ignored_paths"
_NEW_FILE = 0o666  # less what the umask takes away
_ESCAPE_HINT = "name a file inside the workspace, relative to it"
_MARK_BYTES = 4096
_OF_A_RUN = re.compile(r"(?:ledger|heads)_(?P<a>.+)\.jsonl|run_(?P<b>.+)\.json")
# Wherever it begins: beside a certificate, after its attributes, in a larger file.
_PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----")
# Whoever works in the directory obeys what lies there under these names.
_OBEYED = frozenset({"art.yaml", ".art", ".git"})
# What looks like files there are processes and settings of the system.
_KEPT = "'{}' leads to configuration, keys or a store of runs, which no flow may touch"
_SETS = "'{}' is configuration of the directory it lies in, which no flow may write"
_TAKEN = "'{}' is listed in workspace_ignored_paths"
_SYSTEM = (Path("/proc"), Path("/sys"))
_MOST_GUARDED = 512

Identity = tuple[int, int]


def here() -> Workspace:
    """Give the current directory as a workspace that may be read and written."""
    return Workspace(Path.cwd())


def configuration_directory() -> Path:
    """Give the directory of keys, trust and user configuration, unless `ART_CONFIG_DIR` names it."""
    from platformdirs import user_config_path  # noqa: PLC0415 - few look for it

    return user_config_path("abstractruntime", appauthor=False)


@dataclass(frozen=True, slots=True)
class Workspace:
    """A directory, and what may be done in it; a path of a flow never leaves it.

    Attributes:
        root: The directory.
        may_write: Whether writing is granted.
        may_read: Whether reading is granted.
        guarded: More files and directories that no path reaches, such as a store in use.
        home: Where the host makes workspaces; below it nothing is configuration, even where it lies
            in the directory of the configuration.
        inner: The part of the root that a run has narrowed it to.
        ignored: The parts that a run has taken out.
    """

    root: Path
    may_write: bool = True
    may_read: bool = True
    guarded: tuple[Path, ...] = ()
    home: Path | None = None
    inner: tuple[str, ...] = ()
    ignored: tuple[tuple[str, ...], ...] = ()

    def for_run(self, variables: JsonObject) -> Workspace:
        """Give the part of the workspace that the run's variables leave.

        Raises:
            NodeError: `workspace_root` lies outside.
        """
        narrowed = self.narrowed(variables.get(_ROOT))
        named = _paths(variables.get(_IGNORED))
        taken = tuple(narrowed.names_of(path) for path in named)
        return replace(narrowed, ignored=(*self.ignored, *taken))

    def narrowed(self, root: JsonValue) -> Workspace:
        """Give the part below `root`; a blank one changes nothing."""
        text = root.strip() if isinstance(root, str) else ""
        return replace(self, inner=self.names_of(text)) if text else self

    def require_usable(self) -> None:
        """Refuse a workspace that lies where no flow may be.

        Raises:
            Refused: it does.
        """
        guard = _Guard.of(self)
        try:
            guard.check_root()
            with guard.entered(".", []):
                pass
        except NodeError as cause:
            raise Refused(
                f"'{self.root}' cannot be a workspace: {cause}",
                hint="name another directory: --workspace DIR",
                path=str(self.root),
            ) from cause
        except FileNotFoundError:
            pass  # the first file makes it

    def names_of(self, path: str) -> tuple[str, ...]:
        """Give the way to what a run's variables call `path`; it need not be there."""
        root = os.path.realpath(self.root)
        with _worded(path):
            parts = self._parts(root, path)
            try:
                with walked(root, parts, _pass) as spot:
                    names = spot.names
            except FileNotFoundError:
                names = tuple(part for part in parts if part not in {"", "."})
            if names[: len(self.inner)] != self.inner or ".." in names:
                raise Escape
            return names

    def _parts(self, root: str, path: str) -> list[str]:
        given = str(Path(path.strip().removeprefix("@")).expanduser())
        if "\0" in given:
            raise ValueError("embedded null byte")
        parts = parts_below(root, given)
        return parts if given.startswith("/") else [*self.inner, *parts]

    @contextmanager
    def _at(self, path: str, guard: _Guard) -> Iterator[Spot]:
        """Walk to what a flow calls `path`.

        Raises:
            NodeError: it leaves the workspace, or is kept from flows.
            OSError: the operating system refused.
        """
        with _worded(path), guard.entered(path, self._parts(guard.root, path)) as spot:
            if spot.names[: len(self.inner)] != self.inner:
                raise Escape
            guard.check(path, spot)
            yield spot

    # -- files ---------------------------------------------------------------------------

    def read(self, path: str, *, limit: int) -> bytes:
        """Give the content of a file; see `Files`."""
        self._require_reading(path)
        guard = _Guard.of(self)
        try:
            with self._at(path, guard) as spot:
                if not spot.missing:
                    raise NodeError(f"Not a file: {path}")
                if len(spot.missing) > 1:
                    raise NodeError(f"File not found: {path}")
                data = guard.content(path, spot, limit + 1)
        except (FileNotFoundError, NotADirectoryError):
            raise NodeError(f"File not found: {path}") from None
        except OSError as cause:
            raise NodeError(f"Cannot read '{path}': {cause.strerror}") from cause
        if len(data) > limit:
            raise NodeError(
                f"'{path}' is longer than {limit} bytes; split it, or hand over what the flow needs"
            )
        return data

    def write(self, path: str, data: bytes) -> str:
        """Write a file whole or not at all; see `Files`."""
        if not self.may_write:
            raise NodeError(
                f"writing '{path}' is not granted; start the run with --allow file:write"
            )
        try:
            self.require_usable()
            self.root.mkdir(parents=True, exist_ok=True)
            with self._at(path, _Guard.of(self)) as spot:
                if not spot.missing:
                    raise NodeError(f"Not a file: {path}")
                where = (*Path(os.path.realpath(self.root)).parts, *spot.names)
                if not _OBEYED.isdisjoint(name.casefold() for name in where):
                    raise NodeError(_SETS.format(path))
                mode = _mode_of(path, spot)
                directory = _beneath.make_directories(spot)
                try:
                    _beneath.write_file(directory, spot.missing[-1], data, mode=mode)
                finally:
                    os.close(directory)
                return os.path.join(os.path.realpath(self.root), *spot.names)
        except Refused as cause:
            raise NodeError(cause.message) from cause
        except OSError as cause:
            raise NodeError(f"Cannot write '{path}': {cause.strerror}") from cause

    def list_files(self, folder: str, *, pattern: str, recursive: bool, limit: int) -> FileListing:
        """Give the files of a folder; see `Files`."""
        self._require_reading(folder)
        names: list[str] = []
        guard = _Guard.of(self)
        try:
            with self._at(folder, guard) as spot:
                if spot.missing:
                    raise NodeError(f"Folder not found: {folder}")
                for found in guard.files(spot.directory, spot.names, recursive=recursive):
                    if fnmatchcase(found[-1], pattern):
                        names.append("/".join(found[len(self.inner) :]))
                    if len(names) > limit:
                        break
        except (FileNotFoundError, NotADirectoryError):
            raise NodeError(f"Folder not found: {folder}") from None
        except OSError as cause:
            raise NodeError(f"Cannot list '{folder}': {cause.strerror}") from cause
        return FileListing(tuple(names[:limit]), len(names) > limit)

    def _require_reading(self, path: str) -> None:
        if not self.may_read:
            raise NodeError(
                f"reading '{path}' is not granted; start the run with --allow file:read"
            )


@dataclass(frozen=True, slots=True)
class _Guard:
    """Who keeps the paths of one workspace from what no flow may touch, as that is now."""

    root: str
    ignored: tuple[tuple[str, ...], ...]
    kept: frozenset[Identity]
    kept_names: tuple[str, ...]
    taken: frozenset[Identity]

    @classmethod
    def of(cls, workspace: Workspace) -> _Guard:
        chosen = os.environ.get("ART_CONFIG_DIR")
        configuration = [configuration_directory(), *([Path(chosen)] if chosen else [])]
        root = os.path.realpath(workspace.root)
        around = [os.path.realpath(place) for place in configuration]
        if _is_in_home(workspace, root):
            around = [place for place in around if not _is_below(root, place)]
        names = [*around, *(os.path.realpath(place) for place in (*workspace.guarded, *_SYSTEM))]
        kept = frozenset(_identities([*names, *_content(configuration)]))
        taken = frozenset(_identities(os.path.join(root, *way) for way in workspace.ignored))
        return cls(root, workspace.ignored, kept, tuple(names), taken)

    def check_root(self) -> None:
        """Refuse a root that lies in what is kept, whether it is there or not."""
        if any(_is_below(self.root.casefold(), name.casefold()) for name in self.kept_names):
            raise NodeError(_KEPT.format(self.root))

    @contextmanager
    def entered(self, path: str, parts: list[str]) -> Iterator[Spot]:
        """Walk below the root, which must itself lie outside of what is kept."""
        for above in Path(self.root).parents:
            if found := _stat(str(above), None):
                self._require_free(path, found, is_store=_marked(f"{above}/{STORE_FILE}", None))

        def enter(directory: int) -> None:
            self._enter(path, directory)

        with walked(self.root, parts, enter) as spot:
            yield spot

    def _enter(self, path: str, directory: int) -> None:
        self._require_free(path, os.fstat(directory), is_store=_marked(STORE_FILE, directory))

    def _require_free(self, path: str, found: os.stat_result, *, is_store: bool = False) -> None:
        identity = found.st_dev, found.st_ino
        if identity in self.taken:
            raise NodeError(_TAKEN.format(path))
        if is_store or identity in self.kept:
            raise NodeError(_KEPT.format(path))

    def check(self, path: str, spot: Spot) -> None:
        """Refuse what is kept from flows by its name, or by a run's own wish."""
        if any(spot.names[: len(way)] == way for way in self.ignored):
            raise NodeError(_TAKEN.format(path))
        if len(spot.missing) == 1 and (found := _stat(spot.missing[0], spot.directory)):
            self._require_free(path, found)
        # What is not there yet has no identity, and on some systems case makes no difference.
        whole = os.path.join(self.root, *spot.names).casefold()
        if any(_is_below(whole, name.casefold()) for name in self.kept_names) or _is_runs(spot):
            raise NodeError(_KEPT.format(path))

    def content(self, path: str, spot: Spot, size: int) -> bytes:
        """Read the file at the end of a path."""
        descriptor = _beneath.open_file(spot.directory, spot.missing[-1])
        if descriptor is None:
            raise NodeError(f"Not a file: {path}")
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(file.fileno())
            self._require_free(path, found)
            if found.st_nlink > 1:
                raise NodeError(
                    f"'{path}' has other names, so nobody knows whose it is; copy it and read the copy"
                )
            data = file.read(size)
        if _PRIVATE_KEY.search(data):
            raise NodeError(f"'{path}' holds a private key, which no flow may read")
        return data

    def files(
        self, directory: int, names: tuple[str, ...], *, recursive: bool
    ) -> Iterator[tuple[str, ...]]:
        """Give the files below a directory in order; links and what is kept are passed over."""
        for entry in _beneath.entries(directory):
            found = (*names, entry.name)
            if found in self.ignored:
                continue
            if entry.is_file:
                yield found
            elif recursive and entry.is_dir:
                yield from self._files_in(directory, found)

    def _files_in(self, directory: int, names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        with _beneath.entered(directory, names[-1]) as below:
            try:
                self._enter(names[-1], below)
            except NodeError:
                return
            yield from self.files(below, names, recursive=True)


@contextmanager
def _worded(path: str) -> Iterator[None]:
    """Say what is wrong with a path in the words of a node."""
    try:
        yield
    except Escape:
        raise NodeError(f"Path escapes workspace_root: '{path}'; {_ESCAPE_HINT}") from None
    except NodeError:
        raise
    except (ValueError, RuntimeError) as cause:
        raise NodeError(f"'{path}' is not a path: {cause}") from cause


def _pass(_directory: int) -> None:
    """Enter any directory."""


def _is_in_home(workspace: Workspace, root: str) -> bool:
    """Say whether a root is one that the host made; that a path is called like one proves nothing."""
    home = os.path.realpath(workspace.home) if workspace.home else root
    return root != home and _is_below(root, home)


def _identities(paths: Iterable[str]) -> Iterator[Identity]:
    for path in paths:
        try:
            found = os.stat(path)
        except OSError:
            continue
        yield found.st_dev, found.st_ino


def _content(directories: Iterable[Path]) -> Iterator[str]:
    """Give what lies in the directories of the configuration, which may have other names elsewhere."""
    left = _MOST_GUARDED
    for directory in directories:
        for above, below, files in os.walk(directory):
            # Where configuration and data share a directory, stores and workspaces are no part of it.
            below[:] = [name for name in below if name == "keys"]
            for name in (*below, *files)[:left]:
                left -= 1
                yield os.path.join(above, name)


def _marked(name: str, directory: int | None) -> bool:
    """Say whether a file makes its directory a store."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True  # nobody can tell
    try:
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        return is_file and marks_store(os.read(descriptor, _MARK_BYTES))
    finally:
        os.close(descriptor)


def _is_runs(spot: Spot) -> bool:
    """Say whether a file is of a run in a store of 0.4.x, which has no mark."""
    match = _OF_A_RUN.fullmatch(spot.missing[0]) if spot.missing else None
    if match is None:
        return False
    run_id = match["a"] or match["b"]
    both = (f"ledger_{run_id}.jsonl", f"run_{run_id}.json")
    return all(_stat(name, spot.directory) for name in both)


def _is_below(path: str, directory: str) -> bool:
    return path == directory or path.startswith(f"{directory}/")


def _stat(name: str, directory: int | None) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return None


def _mode_of(path: str, spot: Spot) -> int:
    """Give the permissions that a written file gets: those of the file it replaces."""
    found = _stat(spot.missing[0], spot.directory) if len(spot.missing) == 1 else None
    if found is None:
        return _NEW_FILE
    if not stat.S_ISREG(found.st_mode):
        raise NodeError(f"Not a file: {path}")
    # Hazard: a file that runs as its owner must not do so with the content of a flow.
    return found.st_mode & 0o777


def _paths(value: JsonValue) -> list[str]:
    """Read a list of paths: a list, lines, or the JSON text of a list."""
    if isinstance(value, str):
        try:
            parsed = json.loads(value)
        except ValueError:
            parsed = value.splitlines()
        value = parsed if isinstance(parsed, list) else value.splitlines()
    texts = value if isinstance(value, list) else []
    return [text.strip() for text in texts if isinstance(text, str) and text.strip()]
