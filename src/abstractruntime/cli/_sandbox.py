"""Where the code of a run is executed, and whether that is as strict as somebody asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from abstractruntime.errors import Refused

if TYPE_CHECKING:
    from abstractruntime._json import JsonObject
    from abstractruntime.cli._session import Session
    from abstractruntime.nodes.services import CodePool, CodeRunner
    from abstractruntime.sandbox.pool import WorkerPool

_DOC = "see docs/explanation/sandbox.md"


@dataclass(frozen=True, slots=True)
class Workers:
    """The code workers of this program; nothing of the sandbox loads before one is asked for."""

    bwrap: str | None = None

    def pool(self) -> WorkerPool:
        from abstractruntime.sandbox.pool import program_pool

        return program_pool(self.bwrap)

    def runner(self, tree: str, bundle: str) -> CodeRunner:
        """Give whoever runs the code of one bundle in one tree of runs."""
        return self.pool().runner(tree, bundle)


def code_home(sandbox: str) -> CodeRunner | Workers:
    """Give what runs code in this home.

    Raises:
        Refused: this system does not have it.
    """
    if sandbox == "in-process":
        from abstractruntime.sandbox import InProcessRunner

        return InProcessRunner()
    return Workers(_bwrap() if sandbox == "bwrap" else None)


def _bwrap() -> str:
    from abstractruntime.sandbox.pool import find_bwrap

    program = find_bwrap()
    if program is None:
        raise Refused(
            "code is to run inside bubblewrap, and there is no program 'bwrap'",
            hint="install bubblewrap, or choose --sandbox worker",
            sandbox="bwrap",
        )
    return program


def report_of(home: CodeRunner | CodePool | None) -> JsonObject:
    """Give what stands between code in its home and this machine; may start a worker."""
    from abstractruntime.sandbox.pool import sandbox_report

    return sandbox_report(home.pool() if isinstance(home, Workers) else home)


def confined(session: Session, home: CodeRunner | CodePool | None) -> JsonObject:
    """Give what stands between code in its home and this machine; may start a worker.

    Raises:
        Refused: it is less than `sandbox_minimum`.
    """
    from abstractruntime.sandbox.runner import lacks

    report = report_of(home)
    minimum = session.config.get("sandbox_minimum")
    if missing := lacks(report, minimum):
        raise Refused(
            f"code would run without {missing}, and sandbox_minimum is {minimum!r}",
            hint=f"run it where art doctor shows them, or lower sandbox_minimum; {_DOC}",
            sandbox=report,
        )
    return report


def require_confined(session: Session, home: CodeRunner | CodePool | None) -> None:
    """Refuse a home that is less strict than somebody asked for; nothing is started if nobody did.

    Raises:
        Refused
    """
    if session.config.get("sandbox_minimum") != "none":
        confined(session, home)
