"""Landlock: the process gives up files, TCP and signals for good (Linux 5.13 and later).

A ruleset that handles every access right and grants none. The worker loads this file by
path, so it imports the standard library only.
"""

from __future__ import annotations

import ctypes
import os

_CREATE_RULESET = 444
_RESTRICT_SELF = 446
_QUERY_ABI = 1
_SET_NO_NEW_PRIVS = 38

# Access rights grew with the ABI: number of file rights, then network and scope bit masks.
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
_FILE_RIGHTS_NOW = 16
_NET_BITS, _NET_SINCE = 0b11, 4
_SCOPE_BITS, _SCOPE_SINCE = 0b11, 6


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


_libc = ctypes.CDLL(None, use_errno=True)


def set_no_new_privs() -> bool:
    """Forbid this process and its children to gain privileges; False when the system refuses."""
    return bool(_libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)


def landlock_abi() -> int:
    """Give the Landlock version of the kernel; 0 when it has none."""
    return max(0, int(_libc.syscall(_CREATE_RULESET, None, 0, _QUERY_ABI)))


def restrict_self() -> tuple[int, list[str]]:
    """Deny everything this kernel's Landlock can deny; give its ABI and the active layers."""
    abi = landlock_abi()
    if abi == 0 or not _restrict(_ruleset(abi), _size(abi)):
        return 0, []
    layers = ["landlock-fs"]
    if abi >= _NET_SINCE:
        layers.append("landlock-net")
    if abi >= _SCOPE_SINCE:
        layers.append("landlock-scope")
    return abi, layers


def _ruleset(abi: int) -> _Ruleset:
    return _Ruleset(
        fs=(1 << _FILE_RIGHTS.get(abi, _FILE_RIGHTS_NOW)) - 1,
        net=_NET_BITS if abi >= _NET_SINCE else 0,
        scoped=_SCOPE_BITS if abi >= _SCOPE_SINCE else 0,
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
