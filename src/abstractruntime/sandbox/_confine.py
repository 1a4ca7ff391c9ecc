"""Removal of authority from the worker process, layer by layer.

Rules:
1. Each layer is applied, then reported by what was observed, never by what was attempted.
2. Hard limits, so that code in the worker cannot raise them again; as root the worker first
   becomes an unprivileged user, because root is exempt from several limits.
3. The descriptor limit comes last: with zero, no file, socket, pipe or other object with a
   descriptor can be opened any more, while the two protocol pipes keep working.

The worker loads this file by path, so it imports the standard library only.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from collections.abc import Callable
from types import ModuleType
from typing import TypedDict

_NOBODY = 65534
_LAYERS = (
    "clean-env",
    "rlimits",
    "unprivileged",
    "no-new-privs",
    "landlock-fs",
    "landlock-net",
    "landlock-scope",
    "no-descriptors",
    "seccomp",
)


class Report(TypedDict):
    """Which layers stand between author code and the host."""

    backend: str
    layers: list[str]
    missing: list[str]
    abi: int


def confine(limits: dict[str, float], landlock: ModuleType | None) -> Report:
    """Give up everything the worker does not need, and tell what was achieved."""
    active = ["clean-env"]
    if _limit_resources(limits):
        active.append("rlimits")
    if _is_unprivileged():
        active.append("unprivileged")
    abi = 0
    if landlock is not None:
        if landlock.set_no_new_privs():
            active.append("no-new-privs")
        abi, denied = landlock.restrict_self()
        active += denied
    if _forbid_descriptors():
        active.append("no-descriptors")
    missing = [name for name in _LAYERS if name not in active]
    return {"backend": "process", "layers": active, "missing": missing, "abi": abi}


def allow_cpu(seconds: float) -> None:
    """Let this process use `seconds` more of processor time, rounded up to whole seconds."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    soft = int(usage.ru_utime + usage.ru_stime + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (min(soft, hard) if hard >= 0 else soft, hard))


def seal_imports() -> None:
    """Leave only what is already loaded or compiled in; nothing could be read anyway."""
    sys.path.clear()
    sys.path_importer_cache.clear()
    sys.meta_path[:] = sys.meta_path[:2]


def _limit_resources(limits: dict[str, float]) -> bool:
    cpu_total = int(limits["cpu_s"] * (limits["calls"] + 1)) + 1
    wanted = {
        resource.RLIMIT_CPU: cpu_total,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_AS: int(limits["memory_bytes"]),
    }
    return all([_lower(kind, value) for kind, value in wanted.items()])  # noqa: C419 - apply every one


def _lower(kind: int, value: int) -> bool:
    try:
        resource.setrlimit(kind, (value, value))
    except (OSError, ValueError):
        return False
    return resource.getrlimit(kind) == (value, value)


def _is_unprivileged() -> bool:
    if os.geteuid() == 0:
        _become_nobody()
    return os.geteuid() != 0 and os.getuid() != 0


def _become_nobody() -> None:
    steps: tuple[Callable[[], None], ...] = (
        lambda: os.setgroups([]),
        lambda: os.setgid(_NOBODY),
        lambda: os.setuid(_NOBODY),
    )
    for step in steps:
        # A container may forbid or not know the identity; the report then says so.
        with contextlib.suppress(OSError):
            step()


def _forbid_descriptors() -> bool:
    if not _lower(resource.RLIMIT_NOFILE, 0):
        return False
    try:
        os.close(os.dup(0))
    except OSError:
        return True
    return False
