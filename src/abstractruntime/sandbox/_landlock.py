"""Landlock: the process gives up files, TCP and signals for good (Linux 5.13 and later).

A ruleset that handles every access right and grants none. The worker loads this file by
path, so it imports the standard library only.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Collection

_CREATE_RULESET = 444
_RESTRICT_SELF = 446
_QUERY_ABI = 1

# Access rights grew with the ABI: number of file rights, then network and scope bit masks.
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
_FILE_RIGHTS_NOW = 16
_NET_BITS, _NET_SINCE = 0b11, 4
_SCOPE_BITS, _SCOPE_SINCE = 0b11, 6


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


_libc = ctypes.CDLL(None, use_errno=True)


def landlock_abi() -> int:
    """Give the Landlock version of the kernel; 0 when it has none."""
    return max(0, int(_libc.syscall(_CREATE_RULESET, None, 0, _QUERY_ABI)))


def restrict_self(without: Collection[str] = ()) -> tuple[int, list[str]]:
    """Deny everything this kernel's Landlock can deny; give its ABI and the active layers.

    Args:
        without: Names of layers to leave out.
    """
    abi = landlock_abi()
    rules, size = _ruleset(abi, without), _size(abi)
    if abi == 0 or not _restrict(rules, size):
        return 0, []
    denied = {"landlock-fs": rules.fs, "landlock-net": rules.net, "landlock-scope": rules.scoped}
    return abi, [name for name, rights in denied.items() if rights]


def _ruleset(abi: int, without: Collection[str]) -> _Ruleset:
    rights = (1 << _FILE_RIGHTS.get(abi, _FILE_RIGHTS_NOW)) - 1
    return _Ruleset(
        fs=0 if "landlock-fs" in without else rights,
        net=_NET_BITS if abi >= _NET_SINCE and "landlock-net" not in without else 0,
        scoped=_SCOPE_BITS if abi >= _SCOPE_SINCE and "landlock-scope" not in without else 0,
    )


def _size(abi: int) -> int:
    # Older kernels refuse a structure that is longer than the one they know.
    return 24 if abi >= _SCOPE_SINCE else 16 if abi >= _NET_SINCE else 8


def _restrict(rules: _Ruleset, size: int) -> bool:
    fd = int(_libc.syscall(_CREATE_RULESET, ctypes.byref(rules), size, 0))
    if fd < 0:
        return False
    try:
        return bool(_libc.syscall(_RESTRICT_SELF, fd, 0) == 0)
    finally:
        os.close(fd)
