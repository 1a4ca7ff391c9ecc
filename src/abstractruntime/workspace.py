"""The workspace: the one directory whose files flows may touch.

Rules:
1. The host chooses the outer root. A run's variable `workspace_root` can only narrow it, and
   `workspace_ignored_paths` takes paths away.
2. A path is resolved, symbolic links included, and then must lie below the root; what lies
   outside is refused, whether `..`, a link or an absolute path leads there.
3. Reading is free; writing needs the grant `file:write`.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from abstractruntime._files import write_atomic
from abstractruntime._json import JsonObject, JsonValue
from abstractruntime.errors import StoreIOError
from abstractruntime.nodes.base import NodeError
from abstractruntime.nodes.services import FileListing

_ROOT, _IGNORED = "workspace_root", "workspace_ignored_paths"
_NEW_FILE = 0o666  # less what the umask takes away
_ESCAPE_HINT = "name a file inside the workspace, relative to it"


def here() -> Workspace:
    """Give the current directory as a workspace that may be written to."""
    return Workspace(Path.cwd())


@dataclass(frozen=True, slots=True)
class Workspace:
    """A directory, and what may be done in it; a path of a flow never leaves it."""

    root: Path
    may_write: bool = True
    ignored: tuple[Path, ...] = ()

    def for_run(self, variables: JsonObject) -> Workspace:
        """Give the part of the workspace that the run's variables leave.

        Raises:
            NodeError: `workspace_root` lies outside.
        """
        inner = self.narrowed(variables.get(_ROOT))
        named = _paths(variables.get(_IGNORED))
        return replace(inner, ignored=(*self.ignored, *(inner.resolve(path) for path in named)))

    def narrowed(self, root: JsonValue) -> Workspace:
        """Give the part below `root`; a blank one changes nothing."""
        text = root.strip() if isinstance(root, str) else ""
        return replace(self, root=self.resolve(text)) if text else self

    # -- paths ---------------------------------------------------------------------------

    def resolve(self, path: str) -> Path:
        """Give the real, absolute path, which lies in the workspace.

        Raises:
            NodeError: it does not, or is taken out of it.
        """
        root = Path(os.path.realpath(self.root))
        try:
            given = Path(path.strip().removeprefix("@")).expanduser()
            found = Path(os.path.realpath(root / given))
        except (ValueError, OSError, RuntimeError) as cause:
            raise NodeError(f"'{path}' is not a path: {cause}") from cause
        if not found.is_relative_to(root):
            raise NodeError(f"Path escapes workspace_root: '{path}'; {_ESCAPE_HINT}")
        if any(found.is_relative_to(taken) for taken in self.ignored):
            raise NodeError(f"'{path}' is listed in workspace_ignored_paths")
        return found

    # -- files ---------------------------------------------------------------------------

    def read(self, path: str, *, limit: int) -> bytes:
        """Give the content of a file; see `Files`."""
        found = self.resolve(path)
        try:
            # Hazard: a link may appear after the check, and opening a pipe would wait for ever.
            flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
            with os.fdopen(os.open(found, flags), "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise NodeError(f"Not a file: {path}")
                data = file.read(limit + 1)
        except (FileNotFoundError, NotADirectoryError):
            raise NodeError(f"File not found: {path}") from None
        except IsADirectoryError:
            raise NodeError(f"Not a file: {path}") from None
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
        found = self.resolve(path)
        if found.is_dir():
            raise NodeError(f"Not a file: {path}")
        try:
            found.parent.mkdir(parents=True, exist_ok=True)
            mode = stat.S_IMODE(found.stat().st_mode) if found.exists() else _NEW_FILE
            write_atomic(found, data, mode=mode)
        except StoreIOError as cause:
            raise NodeError(cause.message) from cause
        except OSError as cause:
            raise NodeError(f"Cannot write '{path}': {cause.strerror}") from cause
        return str(found)

    def list_files(self, folder: str, *, pattern: str, recursive: bool, limit: int) -> FileListing:
        """Give the files of a folder; see `Files`."""
        found = self.resolve(folder)
        if not found.is_dir():
            raise NodeError(f"Folder not found: {folder}")
        root = Path(os.path.realpath(self.root))
        names: list[str] = []
        for path in self._walk(found, recursive=recursive):
            if fnmatchcase(path.name, pattern):
                names.append(path.relative_to(root).as_posix())
            if len(names) > limit:
                break
        return FileListing(tuple(names[:limit]), len(names) > limit)

    def _walk(self, folder: Path, *, recursive: bool) -> Iterator[Path]:
        """Give the files below a folder in order; links and ignored paths are passed over."""
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as cause:
            raise NodeError(f"Cannot list '{folder.name}': {cause.strerror}") from cause
        for entry in entries:
            path = Path(entry.path)
            if entry.is_symlink() or any(path.is_relative_to(taken) for taken in self.ignored):
                continue
            if entry.is_file():
                yield path
            elif recursive and entry.is_dir():
                yield from self._walk(path, recursive=True)


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
