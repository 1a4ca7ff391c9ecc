"""The system calls that a sealed worker may make; every other one fails with EPERM.

Rules:
1. An allow-list: what it does not name is refused, also what later kernels add.
2. Nothing that names a path, opens, closes, sends, maps a file, starts or reaches another process.
3. Reading is from the protocol's input, writing to its output; signals and limits concern the
   worker alone.
4. A call of another architecture ends the process.

The worker loads this file by path, so it imports the standard library only.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from dataclasses import dataclass

VERSION = 1

_LOAD, _RETURN = 0x20, 0x06
_EQUAL, _ANY_BIT = 0x15, 0x45
_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050000 | errno.EPERM
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16
_SET_FILTER = 1

_PROT_EXEC, _MAP_ANONYMOUS = 0x4, 0x20
_RLIMIT_CPU = 0


@dataclass(frozen=True)
class Table:
    """The calls of one architecture: its audit number, and the number of each call."""

    audit: int
    seccomp: int
    numbers: dict[str, int]


TABLES = {
    "x86_64": Table(
        audit=0xC000003E,
        seccomp=317,
        numbers={
            "read": 0, "write": 1, "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12,
            "rt_sigreturn": 15, "mremap": 25, "madvise": 28, "getpid": 39, "exit": 60, "kill": 62,
            "gettimeofday": 96, "getrusage": 98, "gettid": 186, "futex": 202, "restart_syscall": 219,
            "clock_gettime": 228, "clock_getres": 229, "exit_group": 231, "tgkill": 234,
            "prlimit64": 302, "getrandom": 318,
        },
    ),
    "aarch64": Table(
        audit=0xC00000B7,
        seccomp=277,
        numbers={
            "read": 63, "write": 64, "exit": 93, "exit_group": 94, "futex": 98, "clock_gettime": 113,
            "clock_getres": 114, "restart_syscall": 128, "kill": 129, "tgkill": 131,
            "rt_sigreturn": 139, "getrusage": 165, "gettimeofday": 169, "getpid": 172, "gettid": 178,
            "brk": 214, "munmap": 215, "mremap": 216, "mmap": 222, "mprotect": 226, "madvise": 233,
            "prlimit64": 261, "getrandom": 278,
        },
    ),
}  # fmt: skip

Instruction = tuple[int, int, int, int]


@dataclass(frozen=True)
class Check:
    """What an argument must be: equal to `value`, or without, or with, one of its bits.

    Invariant: only the lower half is compared; the arguments checked are ints to the kernel.
    """

    argument: int
    kind: str
    value: int

    def code(self, to_refusal: int) -> list[Instruction]:
        """Give the instructions; a failed check jumps over `to_refusal` instructions."""
        load = (_LOAD, 0, 0, _ARGUMENTS_AT + 8 * self.argument)
        jump = _EQUAL if self.kind == "is" else _ANY_BIT
        fails_when_true = self.kind == "lacks"
        targets = (to_refusal, 0) if fails_when_true else (0, to_refusal)
        return [load, (jump, *targets, self.value)]


def rules(pid: int) -> dict[str, tuple[Check, ...]]:
    """Give the calls that process `pid` may make, the frequent ones first."""
    myself = Check(0, "is", pid)
    free = (
        "futex", "munmap", "mremap", "brk", "madvise", "getrusage", "clock_gettime", "clock_getres",
        "gettimeofday", "getrandom", "getpid", "gettid", "rt_sigreturn", "restart_syscall", "exit",
        "exit_group",
    )  # fmt: skip
    return {
        "read": (Check(0, "is", 0),),
        "write": (Check(0, "is", 1),),
        "mmap": (Check(2, "lacks", _PROT_EXEC), Check(3, "has", _MAP_ANONYMOUS)),
        **dict.fromkeys(free, ()),
        "mprotect": (Check(2, "lacks", _PROT_EXEC),),
        # The limit of processor time moves with each call.
        "prlimit64": (Check(0, "is", 0), Check(1, "is", _RLIMIT_CPU)),
        "kill": (myself,),
        "tgkill": (myself,),
    }


def program(table: Table, pid: int) -> list[Instruction]:
    """Give the filter: architecture, then one block for each call that is allowed."""
    code: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_EQUAL, 1, 0, table.audit),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    for name, checks in rules(pid).items():
        block = _block(checks)
        code += [(_EQUAL, 0, len(block), table.numbers[name]), *block]
    return [*code, (_RETURN, 0, 0, _REFUSE)]


def _block(checks: tuple[Check, ...]) -> list[Instruction]:
    code: list[Instruction] = [(_RETURN, 0, 0, _ALLOW)]
    if checks:
        code.append((_RETURN, 0, 0, _REFUSE))
    for check in reversed(checks):
        code = check.code(len(code) - 1) + code
    return code


def restrict_self() -> str | None:
    """Refuse all other calls from now on; give version and architecture of the list, or None."""
    machine = os.uname().machine
    table = TABLES.get(machine)
    if table is None or struct.calcsize("P") != 8:
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(table.seccomp, _SET_FILTER, 0, ctypes.byref(_packed(table))) != 0:
        return None
    # Observed: a harmless call that is not on the list.
    return f"{VERSION}/{machine}" if libc.getppid() == -1 else None


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def _packed(table: Table) -> _Program:
    code = program(table, os.getpid())
    return _Program(len(code), b"".join(struct.pack("=HBBI", *step) for step in code))
