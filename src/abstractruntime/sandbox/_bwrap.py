"""Code workers inside bubblewrap: namespaces of their own around the same inner layers.

The worker sees a read-only root with the interpreter, the system's libraries and this package,
and nothing else: no home, no store, no network device, no other process.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from abstractruntime.sandbox._confine import own_namespace

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

_KINDS = ("mnt", "pid", "net", "ipc", "uts")
_LIBRARIES = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64")
_LOADER_CACHE = "/etc/ld.so.cache"

_lasting: ThreadPoolExecutor | None = None


def find_bwrap() -> str | None:
    """Give the path of bubblewrap; None where it is not installed."""
    return shutil.which("bwrap")


def own_namespaces() -> dict[str, str]:
    """Name the namespaces of this process, of which the worker is to have none."""
    return {kind: own_namespace(kind) for kind in _KINDS}


def wrapped(bwrap: str, program: Path, arguments: list[str]) -> list[str]:
    """Give the command that runs a Python program in namespaces of its own."""
    # Hazard: the interpreter of a virtual environment looks for its configuration outside.
    python = os.path.realpath(sys.executable)
    return [
        bwrap,
        *_namespace_options(),
        "--die-with-parent",
        "--new-session",
        "--proc", "/proc",
        *_root_options(python, program.parent),
        "--chdir", "/",
        "--", python, *arguments, str(program),
    ]  # fmt: skip


def _namespace_options() -> Iterator[str]:
    yield from ("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts")
    yield "--unshare-cgroup-try"
    if os.geteuid() == 0:
        # Root needs no user namespace, in which it would stay root for the system; the worker
        # becomes an unprivileged user itself.
        yield from ("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID")
    else:
        yield "--unshare-user"


def _root_options(python: str, package: Path) -> Iterator[str]:
    for place in _LIBRARIES:
        if Path(place).is_symlink():
            yield from ("--symlink", str(Path(place).readlink()), place)
        else:
            yield from ("--ro-bind-try", place, place)
    yield from ("--ro-bind-try", _LOADER_CACHE, _LOADER_CACHE)
    for prefix in dict.fromkeys((sys.base_prefix, sys.base_exec_prefix)):
        yield from ("--ro-bind-try", f"{prefix}/lib", f"{prefix}/lib")
    yield from ("--ro-bind", python, python)
    # The worker and the modules that it loads by path.
    for ours in (package, package.parent / "_json_size.py"):
        yield from ("--ro-bind", str(ours), str(ours))


def from_lasting_thread(
    start: Callable[[], subprocess.Popen[bytes]],
) -> subprocess.Popen[bytes]:
    """Start a process from a thread that ends with this process.

    Hazard: `--die-with-parent` means the thread that started it, not the process.
    """
    global _lasting  # noqa: PLW0603 - one thread per process
    if _lasting is None:
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - only bubblewrap needs it

        _lasting = ThreadPoolExecutor(1, thread_name_prefix="bwrap")
    return _lasting.submit(start).result()


def _forget() -> None:
    global _lasting  # noqa: PLW0603 - as above
    _lasting = None


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_forget)
