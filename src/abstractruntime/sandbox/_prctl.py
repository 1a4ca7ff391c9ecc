"""What a process may say about itself to Linux: no new rights, no looking inside, no keys.

The worker loads this file by path, so it imports the standard library only.
"""

from __future__ import annotations

import ctypes
import os

_SET_DUMPABLE, _GET_DUMPABLE = 4, 3
_SET_NO_NEW_PRIVS, _GET_NO_NEW_PRIVS = 38, 39
_JOIN_SESSION_KEYRING = 1
_KEYCTL = {"x86_64": 250, "aarch64": 219}

_libc = ctypes.CDLL(None, use_errno=True)
# Other systems than Linux have no such call.
_prctl = _libc.prctl


def set_no_new_privs() -> bool:
    """Forbid this process and its children to gain privileges; False when the system refuses."""
    _prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return bool(_prctl(_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)


def hide_process() -> bool:
    """Forbid processes of the same user to trace this one, and to see its memory and descriptors."""
    _prctl(_SET_DUMPABLE, 0, 0, 0, 0)
    return bool(_prctl(_GET_DUMPABLE, 0, 0, 0, 0) == 0)


def join_empty_keyring() -> bool:
    """Leave the session keyring of whoever started this process for an empty one."""
    number = _KEYCTL.get(os.uname().machine)
    return number is not None and _libc.syscall(number, _JOIN_SESSION_KEYRING, None) > 0
