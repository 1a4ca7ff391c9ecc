"""Removal of authority from the worker process, layer by layer.

Rules:
1. Each layer is applied, then reported by what was observed, never by what was attempted.
2. Hard limits, so that code in the worker cannot raise them again; as root the worker first
   becomes an unprivileged user, because root is exempt from several limits.
3. With a descriptor limit of zero, no file, socket, pipe or other object with a descriptor
   can be opened any more, while the two protocol pipes keep working.
4. The list of system calls comes last, as the other layers need calls that are not on it.

The worker loads this file by path, so it imports the standard library only.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from collections.abc import Callable, Collection, Mapping
from types import ModuleType
from typing import Any, TypedDict

_NOBODY = 65534


class Report(TypedDict):
    """Which layers stand between author code and the host.

    `abi` is that of Landlock; `filter` is the version and architecture of the list of system
    calls. They are 0 and None where the layer is missing.
    """

    backend: str
    layers: list[str]
    missing: list[str]
    abi: int
    filter: str | None


class Parts(TypedDict):
    """The modules that apply layers; None where the system lacks what they need."""

    lifeline: ModuleType | None
    process: ModuleType | None
    landlock: ModuleType | None
    seccomp: ModuleType | None


def confine(order: Mapping[str, Any], parts: Parts) -> Report:
    """Give up everything the worker does not need, and tell what was achieved.

    Args:
        order: `limits`; `lifeline`, a descriptor; `namespaces` of the parent, if the worker was
            put into others; `without`, names of layers to do without, as on a system that
            lacks them.
        parts: The modules that apply layers.
    """
    confinement = _Confinement(order, parts)
    layers = confinement.layers()
    active = [name for name, apply in layers.items() if name not in order["without"] and apply()]
    return {
        "backend": "bwrap" if "namespaces" in active else "process",
        "layers": active,
        "missing": [name for name in layers if name not in active],
        "abi": confinement.abi,
        "filter": confinement.filter,
    }


class _Confinement:
    """The layers by name, each a function that applies it and tells whether it holds."""

    def __init__(self, order: Mapping[str, Any], parts: Parts) -> None:
        self._order, self._parts = order, parts
        self._denied: Collection[str] = ()
        self.abi = 0
        self.filter: str | None = None

    def layers(self) -> dict[str, Callable[[], bool]]:
        """Give them in the order in which they are applied."""
        spaces = self._order["namespaces"]
        return {
            "clean-env": lambda: True,
            **({"namespaces": lambda: _are_left(spaces)} if spaces else {}),
            "lifeline": self._hold_lifeline,
            "rlimits": lambda: _limit_resources(self._order["limits"]),
            "unprivileged": _is_unprivileged,
            "empty-keyring": lambda: self._ask("join_empty_keyring"),
            "no-new-privs": lambda: self._ask("set_no_new_privs"),
            "not-dumpable": lambda: self._ask("hide_process"),
            "landlock-fs": lambda: self._is_denied("landlock-fs"),
            "landlock-net": lambda: self._is_denied("landlock-net"),
            "landlock-scope": lambda: self._is_denied("landlock-scope"),
            "no-descriptors": _forbid_descriptors,
            "seccomp": self._list_calls,
        }

    def _hold_lifeline(self) -> bool:
        part = self._parts["lifeline"]
        by_signal = "lifeline-signal" not in self._order["without"]
        return part is not None and part.hold(self._order["lifeline"], by_signal=by_signal)

    def _ask(self, name: str) -> bool:
        part = self._parts["process"]
        return part is not None and getattr(part, name)()

    def _is_denied(self, name: str) -> bool:
        # One ruleset denies all of it, when the first of them is asked for.
        part = self._parts["landlock"]
        if part is not None and not self.abi:
            self.abi, self._denied = part.restrict_self(self._order["without"])
        return name in self._denied

    def _list_calls(self) -> bool:
        part = self._parts["seccomp"]
        self.filter = None if part is None else part.restrict_self()
        return self.filter is not None


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


def own_namespace(kind: str) -> str:
    """Give the name of a namespace of this process, such as `pid:[4026531836]`."""
    return os.readlink(f"/proc/self/ns/{kind}")  # noqa: PTH115 - the worker loads no pathlib


def _are_left(spaces: Mapping[str, str]) -> bool:
    """Tell whether this process is in other namespaces than these."""
    with contextlib.suppress(OSError):
        return all(own_namespace(kind) != name for kind, name in spaces.items())
    return False


def _limit_resources(limits: Mapping[str, float]) -> bool:
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
