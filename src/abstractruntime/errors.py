"""Every error a user can meet, as one tree.

    AbstractRuntimeError               exit  carries
    +- UsageError                         2  argument
    +- FlowError                          1  findings
    +- RunFailed / RunCancelled         1/5  run_id, record
    +- NotFound                          66  kind, id, near matches
    +- Refused                            3
    |  +- Untrusted                          digest, signers, rule
    |  +- ConsentNeeded                      missing capabilities
    |  +- UnsupportedFormat                  found, supported
    |  +- Quarantined                        deaths
    +- IntegrityError                     1
    |  +- ChainBroken                        record, byte offset, expected, found
    |  +- HeadMismatch                       signed size, present size
    |  +- ArchiveInvalid                     rule, member
    +- StoreError                        74
    |  +- StoreFull, StoreIOError, WriterPoisoned, LedgerForked
    +- Busy                              75  holder pid, host, since

An error knows its exit code, its next step (`hint`) and its facts (`details`),
so the command line presents every one of them the same way.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, ClassVar


class ExitCode(IntEnum):
    """What a process exit status means, for the whole tool."""

    OK = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    WAITING = 4
    CANCELLED = 5
    NOT_FOUND = 66
    INTERNAL = 70
    IO = 74
    BUSY = 75
    INTERRUPTED = 130
    TERMINATED = 143

    @property
    def meaning(self) -> str:
        return _MEANINGS[self]


_MEANINGS: dict[ExitCode, str] = {
    ExitCode.OK: "completed, verified, or nothing to do",
    ExitCode.FAILED: "the thing asked about is bad: run failed, ledger invalid, check found errors",
    ExitCode.USAGE: "wrong flags or arguments",
    ExitCode.REFUSED: "policy said no: unsigned or untrusted bundle, missing consent, newer format",
    ExitCode.WAITING: "the run is parked on an answer, an event or a timer, or rests at a limit",
    ExitCode.CANCELLED: "the run was cancelled",
    ExitCode.NOT_FOUND: "no such run, bundle or file",
    ExitCode.INTERNAL: "a defect of ours; the text says how to report it",
    ExitCode.IO: "disk full, permission denied, failed sync",
    ExitCode.BUSY: "another process owns the run; safe to repeat later",
    ExitCode.INTERRUPTED: "stopped by SIGINT at a record boundary",
    ExitCode.TERMINATED: "stopped by SIGTERM at a record boundary",
}


class AbstractRuntimeError(Exception):
    """Base of every expected failure.

    Args:
        message: Lower case, no full stop, values quoted; names the thing and the expectation.
        hint: The next step for the person who reads it, as an imperative or a command.
        details: JSON-safe facts, shown in JSON mode and used by tests.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED
    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, hint: str | None = None, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details

    def __str__(self) -> str:
        # KeyError would quote its argument; every class here prints its message plainly.
        return self.message

    def to_dict(self) -> dict[str, Any]:
        """Give the JSON form: `{code, message, hint, exit_code, details}`."""
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "exit_code": int(self.exit_code),
            "details": self.details,
        }


class UsageError(AbstractRuntimeError, ValueError):
    """An argument is wrong."""

    exit_code = ExitCode.USAGE
    code = "usage"


class InvalidValue(AbstractRuntimeError, ValueError):
    """A value cannot be stored as JSON; `details` holds its `path`."""

    code = "invalid_value"


class FlowError(AbstractRuntimeError, ValueError):
    """A flow document does not compile; `findings` says why, all problems at once."""

    code = "flow_invalid"

    def __init__(
        self,
        message: str,
        *,
        findings: tuple[Any, ...] = (),
        hint: str | None = None,
        **details: Any,
    ) -> None:
        super().__init__(message, hint=hint, **details)
        self.findings = findings


class RunFailed(AbstractRuntimeError):
    """A run ended as failed."""

    code = "run_failed"


class RunCancelled(AbstractRuntimeError):
    """A run ended as cancelled."""

    exit_code = ExitCode.CANCELLED
    code = "run_cancelled"


class WaitMismatch(UsageError):
    """An answer does not fit the open wait of its run."""

    code = "wait_mismatch"


class NotFound(AbstractRuntimeError, KeyError, FileNotFoundError):
    """Nothing has this name.

    Compat: 0.4.x raised KeyError for runs and FileNotFoundError for files; both still catch it.
    """

    exit_code = ExitCode.NOT_FOUND
    code = "not_found"


class Refused(AbstractRuntimeError):
    """Policy says no."""

    exit_code = ExitCode.REFUSED
    code = "refused"


class Untrusted(Refused):
    """No trusted signature covers the bundle or ledger."""

    code = "untrusted"


class ConsentNeeded(Refused):
    """A flow needs capabilities that nobody granted."""

    code = "consent_needed"


class UnsupportedFormat(Refused):
    """Written by something newer than this version reads."""

    code = "unsupported_format"


class Quarantined(Refused):
    """The processes that drove the run died, and it got no further; it is set aside."""

    code = "quarantined"


class IntegrityError(AbstractRuntimeError):
    """Stored bytes contradict each other."""

    code = "integrity"


class ChainBroken(IntegrityError):
    """A ledger record does not follow from the one before it."""

    code = "chain_broken"


class HeadMismatch(IntegrityError):
    """The ledger is shorter than, or different from, a head that was signed or checkpointed."""

    code = "head_mismatch"


class ArchiveInvalid(IntegrityError, ValueError):
    """An archive breaks a container rule."""

    code = "archive_invalid"


class StoreError(AbstractRuntimeError, OSError):
    """The store could not be read or written."""

    exit_code = ExitCode.IO
    code = "store"


class StoreFull(StoreError):
    """No space left; the file was cut back to its previous length."""

    code = "store_full"


class StoreIOError(StoreError):
    """The operating system refused a read, write or sync."""

    code = "store_io"


class WriterPoisoned(StoreError):
    """An earlier sync failed; open the ledger again."""

    code = "writer_poisoned"


class LedgerForked(StoreError):
    """Someone else extended the ledger since it was opened."""

    code = "ledger_forked"


class Busy(AbstractRuntimeError):
    """Another process owns the run; `details` names pid, host and since."""

    exit_code = ExitCode.BUSY
    code = "busy"
